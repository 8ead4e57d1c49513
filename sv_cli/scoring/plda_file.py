"""PLDA models in Kaldi's file format, binary and text."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli.atomic import atomic_open
from sv_cli.backend.plda import Plda
from sv_cli.errors import ShapeError, TableError

Matrix = NDArray[np.float64]
_OPEN, _CLOSE = b"<Plda>", b"</Plda>"


def read_plda(path: str | Path) -> Plda:
    """Read a model that `plda train` or Kaldi wrote.

    Raises
    ------
    TableError
        When the file is missing, cut, or not a PLDA.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TableError(f"cannot read `{path}`: {error.strerror}") from error
    return parse_plda(content, name=str(path))


def parse_plda(content: bytes, *, name: str = "plda") -> Plda:
    """Return the model in the bytes of a file; `name` is for messages."""
    try:
        if content.startswith(b"\0B"):
            mean, transform, psi = _parse_binary(content[2:])
        else:
            mean, transform, psi = _parse_text(content)
        plda = Plda(mean, transform, psi)
    except (ValueError, struct.error, ShapeError) as error:
        raise TableError(
            f"`{name}` is not a whole PLDA model: {error}",
            hint="make one with `svtool plda train`, or Kaldi's ivector-compute-plda",
        ) from error
    finite = all(np.isfinite(part).all() for part in (mean, transform, psi))
    if not finite or psi.min() < 0:
        raise TableError(f"`{name}` holds a PLDA with NaN, infinite or negative variances")
    return plda


def format_plda(plda: Plda, *, text: bool = False) -> bytes:
    """Return the bytes of a PLDA file; float64 in binary, 17 digits in text."""
    if text:
        rows = "\n".join("  " + _numbers(row) for row in plda.transform)
        body = (
            f"<Plda>  [ {_numbers(plda.mean)} ]\n [\n{rows} ]\n [ {_numbers(plda.psi)} ]\n</Plda> "
        )
        return body.encode("ascii")
    parts = [b"\0B", _OPEN, b" ", _vector(plda.mean), _matrix(plda.transform), _vector(plda.psi)]
    return b"".join([*parts, _CLOSE, b" "])


def write_plda(path: str | Path, plda: Plda, *, text: bool = False) -> None:
    """Write a model, whole or not at all."""
    with atomic_open(path, "wb") as stream:
        stream.write(format_plda(plda, text=text))


def _numbers(values: Matrix) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def _vector(values: Matrix) -> bytes:
    return b"DV \4" + struct.pack("<i", len(values)) + values.astype("<f8").tobytes()


def _matrix(values: Matrix) -> bytes:
    rows, columns = values.shape
    header = b"DM \4" + struct.pack("<i", rows) + b"\4" + struct.pack("<i", columns)
    return header + values.astype("<f8").tobytes()


class _Bytes:
    """Reads Kaldi's binary objects one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def take(self, count: int) -> bytes:
        taken = self._content[self._place : self._place + count]
        if len(taken) < count:
            raise ValueError("the file is cut")
        self._place += count
        return taken

    def token(self, expected: bytes) -> None:
        if self.take(len(expected)) != expected:
            raise ValueError(f"`{expected.decode().strip()}` is missing")

    def size(self) -> int:
        self.token(b"\4")
        return int(struct.unpack("<i", self.take(4))[0])

    def array(self, kind: bytes) -> Matrix:
        precision = self.take(1)
        if precision not in (b"D", b"F"):
            raise ValueError("neither a float nor a double array")
        self.token(kind + b" ")
        shape = [self.size() for _ in range(1 if kind == b"V" else 2)]
        dtype = np.dtype("<f8" if precision == b"D" else "<f4")
        count = int(np.prod(shape))
        if count < 1:
            raise ValueError("an array is empty")
        values = np.frombuffer(self.take(count * dtype.itemsize), dtype=dtype)
        return values.reshape(shape).astype(np.float64)


def _parse_binary(content: bytes) -> tuple[Matrix, Matrix, Matrix]:
    stream = _Bytes(content)
    stream.token(_OPEN + b" ")
    mean, transform, psi = stream.array(b"V"), stream.array(b"M"), stream.array(b"V")
    stream.token(_CLOSE)
    return mean, transform, psi


def _parse_text(content: bytes) -> tuple[Matrix, Matrix, Matrix]:
    words = content.split(b"[")
    closed = content.rstrip().endswith(_CLOSE)
    if len(words) != 4 or words[0].strip() != _OPEN or not closed:
        raise ValueError("expected `<Plda>`, three arrays in brackets, and `</Plda>`")
    mean, transform, psi = (_parse_array(word) for word in words[1:])
    return mean[0], transform, psi[0]


def _parse_array(text: bytes) -> Matrix:
    body, bracket, _ = text.partition(b"]")
    if not bracket:
        raise ValueError("a bracket is not closed")
    rows = [line.split() for line in body.splitlines() if line.strip()]
    if not rows:
        raise ValueError("an array is empty")
    return np.array([[float(word) for word in row] for row in rows])
