"""The quick way to read embeddings: plain float32 vectors of one size in archives on disk.

That is what `extract` and Kaldi write. The archive is read and its vectors are copied in one pass,
about ten times as fast as object by object. It is not mapped: a file that is truncated meanwhile
would end the process by SIGBUS. Anything else - a pipe, text, double, a range, a
damaged archive - is left to the general reader, which also knows what to say about it.
"""

import os
import re
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sv_cli.tables.kaldi.entries import check_archive_key
from sv_cli.tables.kaldi.scp import read_scp
from sv_cli.tables.kaldi.specifier import ReadSpec, strip_offset
from sv_cli.tables.text import decode, encode

_HEAD = b"\0BFV \4"  # binary mark, token, size of the size
_BLANKS = re.compile(rb"[\t\n\r\v\f]")  # a blank other than those that join the keys
_HEAD_BYTES = len(_HEAD) + 4

_MANY_BYTES = 1 << 24
_READ_WHOLE = 8  # an archive is read whole unless it is this many times what is wanted

PlainVectors = tuple[list[str], NDArray[np.float32]]


def read_plain_vectors(spec: ReadSpec, *, check_keys: bool = False) -> PlainVectors | None:
    """Return ids and the (num_vectors, dim) float32 matrix, or None to leave it to others.

    With `check_keys` the archive must hold the key of each scp entry.
    """
    path = spec.path
    if path is None or not path.is_file() or strip_offset(spec.rx) != spec.rx or spec.permissive:
        return None
    return _read_ark(path) if spec.kind == "ark" else _read_scp(spec.rx, check_keys)


def _read_ark(path: Path) -> PlainVectors | None:
    with path.open("rb") as stream:
        content = stream.read()
    ids, places = _walk(content)
    if len(set(ids)) != len(ids) or _BLANKS.search(b" ".join(ids)):
        return None
    matrix = _gather(content, places)
    return None if matrix is None else ([decode(key) for key in ids], matrix)


def _walk(content: bytes) -> tuple[list[bytes], list[int]]:
    """Keys and places of the objects, as if all had the size of the first."""
    ids, places, at = [], [], 0
    blank = content.find(b" ")
    size = _HEAD_BYTES + 4 * int.from_bytes(content[blank + 7 : blank + 11], "little")
    while at < len(content):
        blank = content.find(b" ", at, at + 4096)
        if blank <= at:
            return [], []
        ids.append(content[at:blank])
        places.append(blank + 1)
        at = blank + 1 + size
    return ids, places


def _read_scp(path: str, check_keys: bool) -> PlainVectors | None:
    table = read_scp(path)
    parts = [value.rpartition(":") for value in table.values()]
    names = {name for name, _, _ in parts}
    if len(names) != 1 or not all(place.isdecimal() for _, _, place in parts):
        return None
    ark = Path(names.pop())
    if not ark.is_file():
        return None
    places = [int(place) for _, _, place in parts]
    with ark.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not places or max(places) >= size:
            return None
        if size > _MANY_BYTES and size > _READ_WHOLE * len(places) * _first_size(stream, places):
            return None  # a few of many: read sequentially
        content = stream.read()
    matrix = _gather(content, places)
    if matrix is not None and check_keys:
        for key, place in zip(table, places, strict=True):
            before = content[max(0, place - len(encode(key)) - 1) : place]
            check_archive_key(key, before, str(ark))
    return None if matrix is None else (list(table), matrix)


def _first_size(stream: IO[bytes], places: list[int]) -> int:
    """Return the bytes of the vector at the first place, as its head says."""
    head = os.pread(stream.fileno(), _HEAD_BYTES, places[0])
    return _HEAD_BYTES + 4 * int.from_bytes(head[-4:], "little")


def _gather(content: bytes, places: list[int]) -> NDArray[np.float32] | None:
    """Copy the vectors that begin at `places`, or None where one is no plain vector."""
    if not places or max(places) + _HEAD_BYTES > len(content):
        return None
    head = content[places[0] : places[0] + _HEAD_BYTES]
    dim = int.from_bytes(head[-4:], "little", signed=True)
    if not head.startswith(_HEAD) or dim < 1 or max(places) + len(head) + 4 * dim > len(content):
        return None
    # every head must be that of the first: same kind, same size
    if any(content[place : place + _HEAD_BYTES] != head for place in places):
        return None
    size = 4 * dim
    with memoryview(content) as view:
        joined = bytearray().join(
            [view[place : place + size] for place in (place + _HEAD_BYTES for place in places)]
        )
    return np.frombuffer(joined, dtype="<f4").reshape(-1, dim)
