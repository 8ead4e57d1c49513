"""Lists of (enroll, test) pairs, trials or scores, some rows at a time.

A list of 10^8 pairs does not fit into a laptop; the ids in it do. They are numbered once for the
whole list, and for several lists alike where these are to be joined.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError, name_some
from sv_cli.tables.pairs.columns import Ids, Interner
from sv_cli.tables.pairs.repeats import Repeats

CHUNK_ROWS = 1 << 20

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PairIds:
    """The ids of both sides, numbered in the order in which they are met."""

    enroll: Interner = field(default_factory=Interner)
    test: Interner = field(default_factory=Interner)


@dataclass(frozen=True)
class Columns:
    """Some lines of a list: raw ids and the other columns."""

    enroll: list[bytes]
    test: list[bytes]
    score: Floats | None = None
    target: Bools | None = None


@dataclass(frozen=True)
class PairChunk:
    """Some rows of a list, in its order.

    Attributes
    ----------
    enroll, test : (num_rows,) int32
        Numbers of the ids.
    score : (num_rows,) float64 or None
    target : (num_rows,) bool or None
    """

    enroll: Ids
    test: Ids
    score: Floats | None = None
    target: Bools | None = None

    def __len__(self) -> int:
        return len(self.enroll)

    @property
    def scores(self) -> Floats:
        """The scores of a list that has them."""
        assert self.score is not None
        return self.score

    def rows(self, chosen: slice | Bools) -> "PairChunk":
        """Return some of the rows."""
        score = None if self.score is None else self.score[chosen]
        target = None if self.target is None else self.target[chosen]
        return PairChunk(self.enroll[chosen], self.test[chosen], score, target)

    def codes(self) -> NDArray[np.int64]:
        """Return one number for each pair, the same in every chunk."""
        return (self.enroll.astype(np.int64) << 32) | self.test

    def has_pairs_of(self, other: "PairChunk") -> bool:
        """Return whether two chunks contain the same pairs in the same order."""
        return np.array_equal(self.enroll, other.enroll) and np.array_equal(self.test, other.test)


def concatenate(chunks: Sequence[PairChunk]) -> PairChunk:
    """Return one chunk of all rows."""
    if not chunks:
        return PairChunk(np.empty(0, np.int32), np.empty(0, np.int32))
    if len(chunks) == 1:
        return chunks[0]
    scores = [chunk.score for chunk in chunks if chunk.score is not None]
    targets = [chunk.target for chunk in chunks if chunk.target is not None]
    return PairChunk(
        np.concatenate([chunk.enroll for chunk in chunks]),
        np.concatenate([chunk.test for chunk in chunks]),
        np.concatenate(scores) if scores else None,
        np.concatenate(targets) if targets else None,
    )


class PairStream:
    """A list of pairs that is read as its rows are taken; each pair may occur once.

    Parameters
    ----------
    source : str
        Name of the list, for messages.
    blocks : iterator of Columns
        Its lines.
    ids : PairIds or None
        Numbers that other lists use, too.
    finite : bool
        Whether infinite scores are refused.
    """

    def __init__(
        self,
        source: str,
        blocks: Iterator[Columns],
        ids: PairIds | None = None,
        *,
        finite: bool = False,
    ) -> None:
        self.source = source
        self.ids = ids or PairIds()
        self._blocks = blocks
        self._finite = finite
        self._pending: deque[PairChunk] = deque()
        self._num_pending = 0
        self._ended = False
        self._repeats = Repeats()

    def __iter__(self) -> Iterator[PairChunk]:
        while len(chunk := self.take(CHUNK_ROWS)):
            yield chunk

    def take(self, num_rows: int) -> PairChunk:
        """Return the next rows, fewer than `num_rows` only at the end of the list.

        Raises
        ------
        TableError
            About bad lines; when the list ends, about repeated pairs: names the first
            five with their lines, and the count.
        """
        while self._num_pending <= num_rows and not self._ended:
            self._read_block()
        parts: list[PairChunk] = []
        wanted = num_rows
        while wanted and self._pending:
            part = self._pending.popleft()
            if len(part) > wanted:
                self._pending.appendleft(part.rows(slice(wanted, None)))
                part = part.rows(slice(wanted))
            parts.append(part)
            wanted -= len(part)
        self._num_pending -= num_rows - wanted
        chunk = concatenate(parts)
        if self._finite:
            self._check_finite(chunk)
        return chunk

    def _read_block(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            self._ended = True
            self._refuse_repeats()
            return
        enroll, test = self.ids.enroll.number(block.enroll), self.ids.test.number(block.test)
        chunk = PairChunk(enroll, test, block.score, block.target)
        self._repeats.add(chunk.codes())
        self._pending.append(chunk)
        self._num_pending += len(chunk)

    def _refuse_repeats(self) -> None:
        found = self._repeats.find()
        self._repeats = Repeats()
        if not found.count:
            return
        named = []
        for later, earlier, code in found.places:
            pair = self.name(code >> 32, code & 0xFFFFFFFF)
            named.append(f"`{pair}` (lines {earlier + 1} and {later + 1})")
        more = f" and {found.count - len(named)} more" if found.count > len(named) else ""
        raise TableError(
            f"`{self.source}` holds {found.count} repeated pairs: {', '.join(named)}{more}",
            hint="each pair may occur once",
        )

    def _check_finite(self, chunk: PairChunk) -> None:
        wrong = np.flatnonzero(~np.isfinite(chunk.scores)).tolist() if len(chunk) else []
        if wrong:
            named = name_some(
                self.name(int(chunk.enroll[row]), int(chunk.test[row])) for row in wrong
            )
            raise TableError(
                f"`{self.source}`: {len(wrong)} of {len(chunk)} scores are not finite: {named}"
            )

    def name(self, enroll: int, test: int) -> str:
        """Return a pair in words."""
        return f"{self.ids.enroll.ids()[enroll]} {self.ids.test.ids()[test]}"


class ById:
    """Something that each id has, looked up once for each id and given for its numbers.

    Parameters
    ----------
    ids : Interner
    find : function
        Values of some ids, one each.
    """

    def __init__(self, ids: Interner, find: Callable[[Sequence[str]], NDArray[Any]]) -> None:
        self._ids = ids
        self._find = find
        self.values = find([])

    def grow(self) -> NDArray[Any]:
        """Return the values of all ids met so far."""
        ids = self._ids.ids()
        if len(ids) > len(self.values):
            found = self._find(ids[len(self.values) :])
            self.values = np.concatenate([self.values, found])
        return self.values
