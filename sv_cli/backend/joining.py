"""Trials or scores joined with embeddings by key."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.sides import Sides
from sv_cli.errors import SvError, TableError, name_some
from sv_cli.tables.scores import Scores
from sv_cli.tables.trials import Trials

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Pairs:
    """Rows of the embeddings of each trial.

    Attributes
    ----------
    enroll_rows, test_rows : (num_pairs,) int32
        Into the enrolment and the test matrix.
    kept : (num_trials,) bool or None
        The trials that these are; None for all.
    """

    enroll_rows: Rows
    test_rows: Rows
    kept: NDArray[np.bool_] | None = None

    @property
    def num_skipped(self) -> int:
        """Trials without an embedding on one side or both."""
        return 0 if self.kept is None else int(np.count_nonzero(~self.kept))

    def as_scores(self, trials: Trials | Scores, scores: NDArray[np.floating]) -> Scores:
        """Put scores to the keys of the trials that were kept."""
        kept = slice(None) if self.kept is None else self.kept
        return Scores(
            trials.enroll_ids,
            trials.test_ids,
            trials.enroll[kept],
            trials.test[kept],
            scores.astype(np.float64, copy=False),
        )


def join_pairs(
    sides: Sides,
    enroll_ids: Sequence[str],
    test_ids: Sequence[str],
    *,
    enroll: Rows,
    test: Rows,
    allow_missing: bool = False,
) -> Pairs:
    """Find the embeddings of each trial.

    Parameters
    ----------
    enroll_ids, test_ids : sequence of str
        Distinct keys of the trials.
    enroll, test : (num_trials,) int32
        Each trial's place in them.
    allow_missing : bool
        Leave out trials without embeddings; else they are an error.

    Raises
    ------
    TableError
        Names the first keys without an embedding, and how many there are.
    """
    if len(enroll) == 0:
        raise SvError("there are no trials")
    left, right = sides.enroll.rows(enroll_ids), sides.test.rows(test_ids)
    if not allow_missing:
        check_found(left, enroll_ids, what="enrolment")
        check_found(right, test_ids, what="test")
    enroll_rows, test_rows = left[enroll], right[test]
    if left.min() >= 0 and right.min() >= 0:
        return Pairs(enroll_rows, test_rows)
    kept = (enroll_rows >= 0) & (test_rows >= 0)
    if not kept.any():
        raise TableError("no trial has embeddings on both sides; do the tables belong together?")
    return Pairs(enroll_rows[kept], test_rows[kept], kept)


def check_found(rows: Rows, ids: Sequence[str], *, what: str) -> None:
    """Raise when keys of the trials have no embedding, naming the first."""
    missing = [ids[row] for row in np.flatnonzero(rows < 0).tolist()]
    if missing:
        raise TableError(
            f"{len(missing)} of {len(ids)} {what} keys of the trials have no embedding: "
            f"{name_some(missing)}",
            hint="extract them, or leave such trials out with `--allow-missing`",
        )
