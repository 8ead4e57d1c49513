"""Lists of (enroll, test) pairs with more columns, parsed in blocks; ids become numbers."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError, name_some
from sv_cli.tables.text import check_fields, count_fields, decode, read_blocks

Ids = NDArray[np.int32]


class Interner:
    """Numbers for ids, in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: defaultdict[bytes, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._ids: list[str] = []

    def __contains__(self, token: bytes) -> bool:
        return token in self._numbers

    def number(self, tokens: list[bytes]) -> Ids:
        """Return the number of each id."""
        return np.fromiter(map(self._numbers.__getitem__, tokens), np.int32, len(tokens))

    def ids(self) -> list[str]:
        """Return the ids by number; the list grows as more are met."""
        self._ids.extend(map(decode, islice(self._numbers, len(self._ids), None)))
        return self._ids


@dataclass(frozen=True)
class Block:
    """Some lines of a list: one list of raw fields a column."""

    columns: list[list[bytes]]
    first_line: int


def read_column_blocks(source: str, *, allowed: set[int], what: str) -> Iterator[Block]:
    """Yield the columns of a list in blocks; every line has as many fields as the first.

    Raises
    ------
    TableError
        Names `file:line` of a blank line, a wrong number of fields, or when there is no line.
    """
    fields = 0
    for raw, first_line in read_blocks(source, what):
        if not fields:
            head = raw[: raw.index(b"\n") + 1]
            check_fields(head, source, first_line, allowed, what)
            fields = int(count_fields(head)[0])
        yield Block(_columns(raw, source, first_line, fields, what), first_line)
    if not fields:
        raise TableError(f"`{source}`: {what} is empty")


def _columns(raw: bytes, source: str, first_line: int, fields: int, what: str) -> list[list[bytes]]:
    """Split a block in one pass; a mark at each line end (no text holds NUL) proves the counts."""
    tokens = raw.replace(b"\n", b" \0 ").split()
    marks = tokens[fields :: fields + 1]
    if len(marks) * (fields + 1) != len(tokens) or marks.count(b"\0") != raw.count(b"\n"):
        check_fields(raw, source, first_line, {fields}, what)
    return [tokens[i :: fields + 1] for i in range(fields)]


def pair_codes(enroll: Ids, test: Ids, num_test: int) -> NDArray[np.int64]:
    """Return one number for each (enroll, test) pair."""
    return enroll.astype(np.int64) * max(num_test, 1) + test


def name_pairs(codes: NDArray[np.int64], enroll_ids: list[str], test_ids: list[str]) -> str:
    """Return the first five pairs in words, and how many more there are."""
    size = max(len(test_ids), 1)
    shown = [f"{enroll_ids[c // size]} {test_ids[c % size]}" for c in codes[:5].tolist()]
    more = len(codes) - len(shown)
    return name_some(shown) + (f" and {more} more" if more else "")
