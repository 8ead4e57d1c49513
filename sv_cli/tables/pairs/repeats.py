"""Numbers that occur twice among any number of them, found exactly in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError

Codes = NDArray[np.int64]

MOST_CODES = 1 << 23
_BLOCK_CODES = 1 << 18
_SHOWN = 5
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio scatters neighbours


@dataclass(frozen=True)
class Repeated:
    """Numbers that occur more than once.

    Attributes
    ----------
    count : int
        Number of occurrences after the first of each number.
    places : list of (later, earlier, code)
        The first five of them: places counted from 0, and the number.
    """

    count: int
    places: list[tuple[int, int, int]]


class Repeats:
    """Numbers in the order in which they are met, and those of them that repeat.

    Up to `MOST_CODES` (8 million, 64 MiB) stay in memory. More go to a file without a name in the
    folder for temporary files, 8 bytes each; it is read once for each share of `MOST_CODES`.
    """

    def __init__(self) -> None:
        self._codes: list[Codes] = []
        self._file: IO[bytes] | None = None
        self._count = 0

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, codes: Codes) -> None:
        """Take note of some more numbers.

        Raises
        ------
        TableError
            When the temporary file cannot be written.
        """
        self._codes.append(codes)
        self._count += len(codes)
        if self._count > MOST_CODES:
            self._spill()

    def find(self) -> Repeated:
        """Return the repeats among all numbers so far."""
        num_shares = 1
        while self._count > num_shares * MOST_CODES:
            num_shares *= 2
        found = [self._find_in(share, num_shares) for share in range(num_shares)]
        places = sorted(place for one in found for place in one.places)
        return Repeated(sum(one.count for one in found), places[:_SHOWN])

    def _spill(self) -> None:
        from tempfile import TemporaryFile

        try:
            if self._file is None:
                self._file = TemporaryFile(prefix="svtool-")  # noqa: SIM115 - closed with this object
            for codes in self._codes:
                self._file.write(np.ascontiguousarray(codes).data)
        except OSError as error:
            raise TableError(
                f"cannot keep the pairs in a temporary file: {error.strerror or error}",
                hint="8 bytes a line are needed; TMPDIR names another folder",
            ) from error
        self._codes = []

    def _blocks(self) -> Iterator[Codes]:
        """Yield all numbers in order."""
        if self._file is None:
            yield from self._codes
            return
        self._file.seek(0)
        while raw := self._file.read(8 * _BLOCK_CODES):
            yield np.frombuffer(raw, dtype=np.int64)

    def _find_in(self, share: int, num_shares: int) -> Repeated:
        parts = [codes[_in_share(codes, share, num_shares)] for codes in self._blocks()]
        ordered = _concatenate(parts)
        ordered.sort()
        count = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
        return Repeated(count, self._places(share, num_shares) if count else [])

    def _places(self, share: int, num_shares: int) -> list[tuple[int, int, int]]:
        kept, rows, start = [], [], 0
        for codes in self._blocks():
            mine = np.flatnonzero(_in_share(codes, share, num_shares))
            kept.append(codes[mine])
            rows.append(start + mine)
            start += len(codes)
        codes, row = _concatenate(kept), _concatenate(rows)
        order = np.argsort(codes, kind="stable")
        at = np.flatnonzero(codes[order[1:]] == codes[order[:-1]])
        first = at[np.argsort(order[at + 1])[:_SHOWN]]
        later, earlier = order[first + 1], order[first]
        columns = row[later].tolist(), row[earlier].tolist(), codes[later].tolist()
        return list(zip(*columns, strict=True))


def _in_share(codes: Codes, share: int, num_shares: int) -> NDArray[np.bool_]:
    if num_shares == 1:
        return np.ones(len(codes), dtype=np.bool_)
    bits = np.uint64(65 - num_shares.bit_length())
    return np.asarray((codes.view(np.uint64) * _FACTOR) >> bits == share, dtype=np.bool_)


def _concatenate(parts: list[Codes]) -> Codes:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
