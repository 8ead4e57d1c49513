"""Objects of archives as pieces of bytes, put together to another archive in any order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sv_cli.errors import TableError
from sv_cli.tables.text import encode

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Piece:
    """Bytes of an archive: from the key of an object to the end of the object."""

    path: Path
    start: int
    stop: int


def pieces_of(path: Path, offsets: Mapping[str, int], size: int) -> dict[str, Piece]:
    """Return the piece of each key.

    Parameters
    ----------
    path : Path
        Archive of `size` bytes.
    offsets : mapping of key to int
        Where the objects start after their keys, in the order of the archive.
    """
    starts = [offset - len(head(key)) for key, offset in offsets.items()]
    stops = [*starts, size][1:]
    bounds = zip(offsets, starts, stops, strict=True)
    return {key: Piece(path, start, stop) for key, start, stop in bounds}


def copy_pieces(pieces: Iterable[Piece], output: IO[bytes]) -> None:
    """Write pieces one after the other; neighbours of one archive are read at once.

    Raises
    ------
    TableError
        When an archive is shorter than its pieces.
    """
    for piece in _joined(pieces):
        with piece.path.open("rb") as stream:
            stream.seek(piece.start)
            for start in range(piece.start, piece.stop, _BLOCK):
                block = stream.read(min(_BLOCK, piece.stop - start))
                if start + len(block) < min(start + _BLOCK, piece.stop):
                    raise TableError(f"`{piece.path}` breaks off before byte {piece.stop}")
                output.write(block)


def offsets_of(pieces: Mapping[str, Piece]) -> dict[str, int]:
    """Return where the objects start after their keys with the pieces in this order."""
    offsets, start = {}, 0
    for key, piece in pieces.items():
        offsets[key] = start + len(head(key))
        start += piece.stop - piece.start
    return offsets


def head(key: str) -> bytes:
    """Return the bytes before an object."""
    return encode(key) + b" "


def _joined(pieces: Iterable[Piece]) -> Iterable[Piece]:
    last: Piece | None = None
    for piece in pieces:
        if last is not None and (last.path, last.stop) == (piece.path, piece.start):
            last = Piece(last.path, last.start, piece.stop)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last
