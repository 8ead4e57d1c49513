"""What scp lines point to: objects at offsets of files, whole files, commands; with ranges."""

import os
import re
from collections import OrderedDict
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any

from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.tables.kaldi.cursor import Cursor
from sv_cli.tables.kaldi.objects import Array, read_object
from sv_cli.tables.kaldi.specifier import check_input, is_pipe, open_file, open_input
from sv_cli.tables.text import encode

_OPEN_FILES = 32


class EntryReader:
    """Reads the arrays that scp entries name, keeping the last few archives open.

    With `check_keys` the key in the archive must be that of the entry.

    It may be copied to other processes by fork or pickle: each opens the files for itself, since
    shared file positions would mix up the reads.
    """

    def __init__(self, *, check_keys: bool = False) -> None:
        self._check_keys = check_keys
        self._open: OrderedDict[str, tuple[IO[bytes], Cursor]] = OrderedDict()
        self._process = os.getpid()

    def __enter__(self) -> "EntryReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"check_keys": self._check_keys}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._check_keys = state["check_keys"]
        self._open = OrderedDict()
        self._process = os.getpid()

    def close(self) -> None:
        """Close the files."""
        with ExitStack() as stack:
            for stream, _ in self._open.values():
                stack.callback(stream.close)
            self._open = OrderedDict()

    def read(self, key: str, rx: str) -> Array:
        """Return the array of an entry; it may be a read-only view of a block.

        Raises
        ------
        TableError
            When it cannot be read: names the key and the file.
        """
        what = f"`{key}`"
        name, cut = split_range(rx)
        if name == "-" or is_pipe(name):
            with open_input(name) as stream:
                array = read_object(Cursor(stream, name), what)
        else:
            path, colon, offset = name.rpartition(":")
            if not colon or not (offset.isascii() and offset.isdigit()):
                path, offset = name, "0"
            try:
                cursor = self._cursor(path)
            except TableError as error:
                raise TableError(f"{what}: {error.message}", hint=error.hint) from error
            start = int(offset)
            if self._check_keys and start:
                length = min(start, len(encode(key)) + 1)
                cursor.seek(start - length)
                check_archive_key(key, cursor.take(length, what), path)
            cursor.seek(start)
            if cursor.at_end():
                raise TableError(f"{what}: `{path}` ends before byte {offset}")
            array = read_object(cursor, what)
        return array if cut is None else cut_range(array, cut, what)

    def _cursor(self, path: str) -> Cursor:
        if self._process != os.getpid():
            self.close()
            self._process = os.getpid()
        found = self._open.get(path)
        if found is None:
            check_input(path, path)
            stream = open_file(path)
            found = self._open[path] = stream, Cursor(stream, path)
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1][0].close()
        else:
            self._open.move_to_end(path)
        return found[1]


_SUFFIX = re.compile(r"(?s)(.*)\[([0-9:,]*)\]\Z")
_SPAN = re.compile(r"(\d+):(\d+)\Z")
_ROWS_PAST_END = 3


def split_range(rx: str) -> tuple[str, str | None]:
    """Return the file of an scp entry and the text of its range, if it has one.

    Examples
    --------
    >>> split_range("x.ark:12[0:3]")
    ('x.ark:12', '0:3')
    """
    match = _SUFFIX.fullmatch(rx) if rx.endswith("]") else None
    return (match.group(1), match.group(2)) if match else (rx, None)


def cut_range(array: NDArray[Any], text: str, what: str) -> NDArray[Any]:
    """Return the rows and columns that a range names.

    Up to 3 rows past the end are cut with a warning, as in Kaldi (frame counts of one recording
    may differ by that between front-ends); anything further is an error.

    Raises
    ------
    TableError
        When the range is no range or is outside the array.
    """
    parts = text.split(",")
    if len(parts) > max(array.ndim, 1) or "" in parts:
        raise TableError(f"{what}: `[{text}]` is no range of {array.ndim} dimensions")
    first, last = _span(parts[0], len(array), text, what)
    if last >= len(array):
        if last >= len(array) + _ROWS_PAST_END or first >= len(array):
            raise TableError(f"{what}: range `[{text}]` ends beyond its {len(array)} rows")
        logs.warn(f"{what}: range `[{text}]` is cut to its {len(array)} rows")
    array = array[first : last + 1]
    if len(parts) == 2:
        first, last = _span(parts[1], array.shape[1], text, what)
        if last >= array.shape[1]:
            raise TableError(f"{what}: range `[{text}]` ends beyond {array.shape[1]} columns")
        array = array[:, first : last + 1]
    return array


def _span(part: str, size: int, text: str, what: str) -> tuple[int, int]:
    if part == ":":
        return 0, size - 1
    match = _SPAN.match(part)
    if not match or int(match.group(1)) > int(match.group(2)):
        raise TableError(
            f"{what}: `[{text}]` is no range", hint="ranges are `[first:last]`, last included"
        )
    return int(match.group(1)), int(match.group(2))


def check_archive_key(key: str, before: bytes, archive: str) -> None:
    """Refuse an entry whose archive has another key at its offset.

    Parameters
    ----------
    before : bytes
        The bytes of the archive before the offset, at least as many as the key has and one more.

    Raises
    ------
    TableError
        Names the key and the archive.
    """
    if not before.endswith(encode(key) + b" "):
        raise TableError(
            f"`{archive}` does not hold `{key}` at the byte that the scp names",
            hint="the archive was replaced, or the keys of the scp were renamed; write both again",
        )
