"""Kaldi's objects as arrays: float and compressed matrices, vectors, integers, binary or text.

float kinds give float32 or float64 as stored, integers int32; text in brackets gives float32, as
it does in Kaldi, for any digits. An empty matrix is (0, 0). A bare number is a
0-dimensional array.
"""

import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sv_cli.errors import TableError
from sv_cli.tables.kaldi.cursor import Cursor
from sv_cli.tables.text import decode, parse_number

Array = NDArray[Any]

_SIZE = struct.Struct("<i")
_HEADER = rb"\0B([FD])([VM]) \x04(.{4})(?:(?<=M \x04.{4})\x04(.{4}))?"
_OBJECT = re.compile(_HEADER, re.S)
_RECORD = re.compile(rb"(\S+)[ \t]" + _HEADER, re.S)
_NOT_BLANK = re.compile(rb"\S")
_BLANK = re.compile(rb"\s")
_LINE_END = re.compile(rb"\n")
_CLOSING = re.compile(rb"\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REAL: dict[bytes, np.dtype[Any]] = {b"F": np.dtype("<f4"), b"D": np.dtype("<f8")}
_AUDIO = (b"RIFF", b"RIFX", b"fLaC", b"OggS", b"ID3", b"NIST", b"AUDIO")


def iterate_records(cursor: Cursor) -> Iterator[tuple[str, int, Array]]:
    """Yield (key, offset of the object, array) of an archive.

    The arrays may be read-only views of the block that was read, not aligned: copy to keep.

    Raises
    ------
    TableError
        When the archive is cut off or damaged; the message names key and byte.
    """
    while True:
        match = _RECORD.match(cursor.buffer, cursor.position)
        record = _view_record(cursor, match) if match else None
        if record is None:
            key = read_key(cursor)
            if key is None:
                return
            offset = cursor.offset
            record = key, offset, read_object(cursor, f"`{key}`")
        yield record


def read_key(cursor: Cursor) -> str | None:
    """Return the key at the position, or None at the end; the blank after it is consumed.

    Raises
    ------
    TableError
        When nothing follows the key: an archive that breaks off there has lost data.
    """
    start = cursor.find(_NOT_BLANK)
    if start is None:
        cursor.position = len(cursor.buffer)
        return None
    cursor.position = start.start()
    end = cursor.find(_BLANK)
    if end is None:
        key = _key(cursor, cursor.buffer[cursor.position :])
        raise TableError(f"`{cursor.name}`: cut off after key `{key}`")
    key = _key(cursor, cursor.buffer[cursor.position : end.start()])
    cursor.position = end.start()
    if end.group() not in (b" ", b"\t"):
        raise TableError(f"`{cursor.name}`: key `{key}` has no value at byte {cursor.offset}")
    cursor.position = end.end()
    return key


def read_object(cursor: Cursor, what: str, *, dtype: DTypeLike = np.float32) -> Array:
    """Return the matrix, vector or number at the position.

    Parameters
    ----------
    cursor : Cursor
        Positioned at the object; afterwards after it.
    what : str
        Name of the object in messages.
    dtype : numpy type
        Type of numbers in a text object.
    """
    match = _OBJECT.match(cursor.buffer, cursor.position)
    if match:
        values = _view(cursor, match.groups(), match.end())
        if values is not None:
            return values
    cursor.have(8)
    head = cursor.buffer[cursor.position : cursor.position + 8]
    if head.startswith(b"\0B"):
        cursor.position += 2
        return _read_binary(cursor, what)
    if head.startswith(_AUDIO):
        raise TableError(f"`{cursor.name}`: {what} is audio, not an array")
    _refuse_compressed(cursor, head)
    return _read_text(cursor, what, dtype)


def _view_record(cursor: Cursor, match: "re.Match[bytes]") -> tuple[str, int, Array] | None:
    """Return the record of a float matrix or vector that is whole in the buffer."""
    raw = match.group(1)
    offset = cursor.offset + len(raw) + 1
    values = _view(cursor, match.groups()[1:], match.end())
    return None if values is None else (_key(cursor, raw), offset, values)


def _view(cursor: Cursor, header: tuple[bytes, ...], start: int) -> Array | None:
    """Return the float matrix or vector whose data begin at `start`, if the buffer holds it."""
    precision, kind, first, second = header
    (rows,) = _SIZE.unpack(first)
    real = _REAL[precision]
    if kind == b"V":
        end = start + rows * real.itemsize
        if rows < 0 or end > len(cursor.buffer):
            return None
        cursor.position = end
        return np.frombuffer(cursor.buffer, real, rows, start)
    if second is None:
        return None
    (cols,) = _SIZE.unpack(second)
    end = start + rows * cols * real.itemsize
    if rows < 0 or cols < 0 or end > len(cursor.buffer):
        return None
    cursor.position = end
    return np.frombuffer(cursor.buffer, real, rows * cols, start).reshape(rows, cols)


def _key(cursor: Cursor, raw: bytes) -> str:
    key = decode(raw)
    if not key.isprintable() and (_CONTROL.search(key) or key.startswith("\ufeff")):
        _refuse_compressed(cursor, raw)
        if key.startswith("\ufeff"):
            raise TableError(
                f"`{cursor.name}`: a key starts with a byte order mark",
                hint="save it as UTF-8 without BOM: `sed -i 's/^\\xEF\\xBB\\xBF//' FILE`",
            )
        raise TableError(
            f"`{cursor.name}`: no key at byte {cursor.offset}",
            hint="the archive is damaged, or is not a Kaldi archive",
        )
    return key


def _refuse_compressed(cursor: Cursor, head: bytes) -> None:
    if head.startswith(b"\x1f\x8b"):
        raise TableError(
            f"`{cursor.name}` is compressed", hint=f"read it as `ark:gunzip -c {cursor.name} |`"
        )


def _read_binary(cursor: Cursor, what: str) -> Array:
    if not cursor.have(1):
        raise TableError(f"`{cursor.name}`: {what} is cut off at byte {cursor.offset}")
    if cursor.buffer[cursor.position] == 4:
        return _read_integers(cursor, what)
    cursor.have(8)
    head = cursor.buffer[cursor.position : cursor.position + 8]
    token, blank, _ = head.partition(b" ")
    kind = token.decode("latin-1")
    if not blank or kind not in ("FM", "DM", "FV", "DV", "CM", "CM2", "CM3"):
        raise TableError(
            f"`{cursor.name}`: {what} is no matrix or vector (begins {head!r})"
            if len(head) > 3
            else f"`{cursor.name}`: {what} is cut off at byte {cursor.offset}"
        )
    cursor.position += len(token) + 1
    if kind.startswith("CM"):
        return _read_compressed(cursor, kind, what)
    shape = tuple(_read_size(cursor, what) for _ in range(2 if kind[1] == "M" else 1))
    real = _REAL[token[:1]]
    count = shape[0] * (shape[1] if len(shape) == 2 else 1)
    data = cursor.take(count * real.itemsize, what)
    return np.frombuffer(data, real).reshape(shape)


def _read_compressed(cursor: Cursor, kind: str, what: str) -> Array:
    header = cursor.take(HEADER_BYTES, what)
    rows, cols = struct.unpack_from("<ii", header, 8)
    if rows < 0 or cols < 0:
        raise TableError(f"`{cursor.name}`: {what} claims a size of {rows} x {cols}")
    if rows * cols == 0:
        return np.zeros((0, 0), np.float32)
    return expand(kind, header, cursor.take(compressed_size(kind, rows, cols), what))


def _read_size(cursor: Cursor, what: str) -> int:
    field = cursor.take(5, what)
    (size,) = _SIZE.unpack(field[1:])
    if field[0] != 4 or size < 0:
        raise TableError(f"`{cursor.name}`: {what} has a damaged header at byte {cursor.offset}")
    return int(size)


def _read_integers(cursor: Cursor, what: str) -> Array:
    """Read one int32, or a count followed by as many: each has its own size byte."""
    (first,) = _SIZE.unpack(cursor.take(5, what)[1:])
    if first <= 0 or not cursor.have(1) or cursor.buffer[cursor.position] != 4:
        return np.array(first, np.int32)
    fields = np.frombuffer(cursor.take(5 * first, what), np.uint8).reshape(first, 5)
    if (fields[:, 0] != 4).any():
        raise TableError(f"`{cursor.name}`: {what} is a damaged vector of integers")
    return np.ascontiguousarray(fields[:, 1:]).view("<i4").reshape(first)


def _read_text(cursor: Cursor, what: str, dtype: DTypeLike) -> Array:
    start = cursor.find(_NOT_BLANK)
    line_end = cursor.find(_LINE_END)
    if start is None or (line_end and line_end.start() < start.start()):
        raise TableError(f"`{cursor.name}`: {what} has no value at byte {cursor.offset}")
    if start.group() == b"[":
        cursor.position = start.start() + 1
        return _read_brackets(cursor, what, dtype)
    end = line_end.start() if line_end else len(cursor.buffer)
    tokens = cursor.buffer[cursor.position : end].split()
    cursor.position = min(end + 1, len(cursor.buffer))
    return _bare_numbers(cursor, tokens, what)


def _read_brackets(cursor: Cursor, what: str, dtype: DTypeLike) -> Array:
    closing = cursor.find(_CLOSING)
    if closing is None:
        raise TableError(f"`{cursor.name}`: {what} has no closing `]`")
    body = cursor.buffer[cursor.position : closing.start()]
    cursor.position = closing.end()
    if b"[" in body or b"\0" in body:
        raise TableError(f"`{cursor.name}`: {what} has no closing `]`")
    lines = body.replace(b";", b"\n").split(b"\n")
    rows = [row for line in lines if (row := line.split())]
    if not rows:
        return np.zeros((0, 0), dtype)
    if len({len(row) for row in rows}) != 1:
        raise TableError(f"`{cursor.name}`: rows of {what} have different lengths")
    values = [_numbers(cursor, row, what) for row in rows]
    with np.errstate(over="ignore"):
        matrix = np.array(values, np.float64).astype(dtype)
    return matrix if len(lines) > 1 else matrix[0]


def _bare_numbers(cursor: Cursor, tokens: list[bytes], what: str) -> Array:
    numbers = _numbers(cursor, tokens, what)
    whole = all(token.lstrip(b"-").isdigit() for token in tokens)
    if whole and not all(-(2**31) <= number < 2**31 for number in numbers):
        raise TableError(f"`{cursor.name}`: {what} holds an integer beyond 32 bits")
    array = np.array(numbers, np.int32 if whole else np.float64)
    return array if len(numbers) > 1 else array.reshape(())


def _numbers(cursor: Cursor, tokens: list[bytes], what: str) -> list[float]:
    try:
        numbers = list(map(float, tokens))
    except ValueError:
        bad = next(token for token in tokens if parse_number(token) is None)
        raise TableError(
            f"`{cursor.name}`: {what} holds `{decode(bad)}`, which is not a number"
        ) from None
    if any(b"_" in token for token in tokens):
        raise TableError(f"`{cursor.name}`: {what} holds a number with `_`")
    return numbers


_EXACT_INTEGER = 1 << 24  # larger ones do not all fit into float32


def as_kaldi_array(array: ArrayLike, what: str) -> NDArray[Any]:
    """Return a contiguous float32, float64 or (0-dimensional) int32 array that Kaldi can hold.

    Other types are taken where no digit is lost: float16, bool and integers up to 2^24 become
    float32 (Kaldi's VAD decisions are float vectors of 0 and 1). An empty matrix becomes (0, 0).

    Raises
    ------
    TableError
        When the array has more than two dimensions or a type that would lose digits.
    """
    values = np.asarray(array)
    if values.ndim > 2:
        raise TableError(f"{what} has {values.ndim} dimensions; a table holds at most 2")
    if values.ndim == 0:
        return _number(values, what)
    if values.size == 0:
        return np.zeros((0, 0) if values.ndim == 2 else 0, np.float32)
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        wanted = "<f8" if values.dtype.itemsize == 8 else "<f4"
    elif values.dtype.kind in "biu":
        wanted = "<f4"
        if values.dtype.itemsize > 2 and np.abs(values.astype(np.float64)).max() > _EXACT_INTEGER:
            raise TableError(f"{what} holds integers beyond 2^24, which float32 cannot hold")
    else:
        raise TableError(f"{what} has type {values.dtype}; a table holds float32 or float64")
    return np.ascontiguousarray(values, dtype=wanted)


def pack_binary(array: NDArray[Any]) -> bytes:
    """Return the binary object of an array from `as_kaldi_array`, with its mark."""
    if array.ndim == 0:
        if array.dtype.kind == "f":
            raise TableError("a number with a fraction has no binary form; use `ark,t:`")
        return b"\0B\x04" + int(array).to_bytes(4, "little", signed=True)
    kind = b"D" if array.dtype.itemsize == 8 else b"F"
    size: bytes = len(array).to_bytes(4, "little")
    data: bytes = array.tobytes()
    if array.ndim == 1:
        return b"\0B" + kind + b"V \x04" + size + data
    cols: bytes = int(array.shape[1]).to_bytes(4, "little")
    return b"\0B" + kind + b"M \x04" + size + b"\x04" + cols + data


def pack_text(array: NDArray[Any]) -> bytes:
    """Return the text object: 9 significant digits of float32, 17 of float64, which read back."""
    if array.ndim == 0:
        return b"%d\n" % int(array) if array.dtype.kind == "i" else b"%.17g\n" % float(array)
    form = "%.17g" if array.dtype.itemsize == 8 else "%.9g"
    if array.size == 0:
        return b" [ ]\n"
    if array.ndim == 1:
        return (" [ " + " ".join([form] * len(array)) % tuple(array.tolist()) + " ]\n").encode()
    line = "\n  " + " ".join([form] * array.shape[1]) + " "
    return (" [" + "".join([line % tuple(row) for row in array.tolist()]) + "]\n").encode()


def _number(values: NDArray[Any], what: str) -> NDArray[Any]:
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    if values.dtype.kind in "biu" and abs(int(values)) < 2**31:
        return values.astype(np.int32)
    raise TableError(f"{what} is no number that a table can hold")


HEADER_BYTES = 16
_COLUMN_BYTES = 8


def compressed_size(kind: str, rows: int, cols: int) -> int:
    """Return the bytes that follow the global header of a compressed matrix."""
    if kind == "CM":
        return cols * _COLUMN_BYTES + rows * cols
    return rows * cols * (2 if kind == "CM2" else 1)


def expand(kind: str, header: bytes, data: bytes) -> NDArray[np.float32]:
    """Return the (rows, cols) matrix of a compressed one.

    Parameters
    ----------
    kind : str
        "CM" (one byte a value, four percentiles a column), "CM2" (two bytes) or "CM3" (one byte).
    header : bytes
        Minimum and range (float32), rows and cols (int32).
    data : bytes
        What follows the header, `compressed_size` bytes.

    Source
    ------
    Kaldi src/matrix/compressed-matrix.cc; arithmetic in float32 as there.
    """
    low, span = np.frombuffer(header, "<f4", 2)
    rows, cols = (int(n) for n in np.frombuffer(header, "<i4", 2, 8))
    if kind == "CM":
        return _expand_columns(low, span, data, (rows, cols))
    levels = np.frombuffer(data, "<u2" if kind == "CM2" else "u1").reshape(rows, cols)
    step = span * np.float32(1.0 / (65535.0 if kind == "CM2" else 255.0))
    values: NDArray[np.float32] = low + levels.astype(np.float32) * step
    return values


def _expand_columns(
    low: np.float32, span: np.float32, data: bytes, shape: tuple[int, int]
) -> NDArray[np.float32]:
    rows, cols = shape
    levels = np.frombuffer(data, "<u2", 4 * cols).reshape(cols, 4).astype(np.float32)
    percentiles = low + span * np.float32(1.52590218966964e-05) * levels
    p0, p25, p75, p100 = (percentiles[:, [i]] for i in range(4))
    codes = np.frombuffer(data, np.uint8, rows * cols, cols * _COLUMN_BYTES)
    code = codes.reshape(cols, rows).astype(np.float32)  # (cols, rows), as stored
    values = np.where(
        code <= 64,
        p0 + (p25 - p0) * code * np.float32(1 / 64.0),
        np.where(
            code <= 192,
            p25 + (p75 - p25) * (code - 64) * np.float32(1 / 128.0),
            p75 + (p100 - p75) * (code - 192) * np.float32(1 / 63.0),
        ),
    )
    return np.ascontiguousarray(values.T, dtype=np.float32)
