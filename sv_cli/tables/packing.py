"""Arrays as the bytes of Kaldi's objects, binary or text."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sv_cli.errors import TableError

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
