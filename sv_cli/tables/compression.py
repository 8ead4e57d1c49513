"""Kaldi's compressed matrices (CM, CM2, CM3) expanded to float32."""

import numpy as np
from numpy.typing import NDArray

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
