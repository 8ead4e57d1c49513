"""Row and column ranges of scp entries: `x.ark:12[0:99,20:39]`, both ends included, as in Kaldi."""

import re
from typing import Any

from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError

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
        When the range is no range or lies outside of the array.
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
