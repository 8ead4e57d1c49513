"""The rows of the embeddings that the pairs of a list stand for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.sides import Side, Sides
from sv_cli.errors import TableError, name_some
from sv_cli.tables.pair_stream import ById, PairChunk, PairIds
from sv_cli.tables.pairs import Interner

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Located:
    """Pairs with embeddings on both sides.

    Attributes
    ----------
    chunk : PairChunk
        Without the pairs that lack one.
    enroll, test : (num_pairs,) int32
        Rows of the enrolment and of the test matrix.
    """

    chunk: PairChunk
    enroll: Rows
    test: Rows


class PairRows:
    """Finds the embeddings of pairs, by key; each key is looked up once.

    Parameters
    ----------
    allow_missing : bool
        Leave out pairs without embeddings; else they are an error.
    """

    def __init__(self, sides: Sides, ids: PairIds, *, allow_missing: bool = False) -> None:
        self._enroll = _EmbeddedIds(ids.enroll, sides.enroll, "enrolment")
        self._test = _EmbeddedIds(ids.test, sides.test, "test")
        self._allow_missing = allow_missing

    @property
    def complete(self) -> bool:
        """Whether every key so far has an embedding."""
        return self._enroll.complete and self._test.complete

    def find(self, chunk: PairChunk) -> Located:
        """Return where the embeddings of some pairs stand.

        Raises
        ------
        TableError
            Names the first keys without an embedding, and how many there are so far.
        """
        enroll = self._enroll.rows(chunk.enroll, allow_missing=self._allow_missing)
        test = self._test.rows(chunk.test, allow_missing=self._allow_missing)
        if self.complete:
            return Located(chunk, enroll, test)
        kept = np.asarray((enroll >= 0) & (test >= 0), dtype=np.bool_)
        return Located(chunk.rows(kept), enroll[kept], test[kept])


class _EmbeddedIds:
    """The embedding of each id of one side, -1 where there is none."""

    def __init__(self, ids: Interner, side: Side, what: str) -> None:
        self._by_id = ById(ids, side.rows)
        self._ids = ids
        self._what = what
        self.complete = True

    def rows(self, numbers: Rows, *, allow_missing: bool) -> Rows:
        num_seen = len(self._by_id.values)
        rows = self._by_id.grow()
        if (rows[num_seen:] < 0).any():
            self.complete = False
        if not self.complete and not allow_missing:
            ids = self._ids.ids()
            missing = [ids[at] for at in np.flatnonzero(rows < 0).tolist()]
            raise TableError(
                f"{len(missing)} {self._what} keys of the trials have no embedding: "
                f"{name_some(missing)}",
                hint="extract them, or leave such trials out with `--allow-missing`",
            )
        return rows[numbers]
