"""Scores of a list of trials, worked off in chunks and written in its order."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.sides import Sides
from sv_cli.errors import TableError, name_some
from sv_cli.tables.specifier import open_output
from sv_cli.tables.text import encode
from sv_cli.tables.trial_rows import TrialRows, iterate_trial_rows

Rows = NDArray[np.integer]
Scorer = Callable[[Rows, Rows], NDArray[np.floating]]
LINES_A_WRITE = 1 << 16


def score_list(
    trials: str, sides: Sides, scorer: Scorer, target: str, *, allow_missing: bool = False
) -> tuple[int, int]:
    """Score every trial of a list; the memory does not grow with it.

    Parameters
    ----------
    trials : str
        Table of trials.
    scorer : function
        Scores of pairs of rows of the two sides.
    target : str
        Table of scores; a file appears when all is done.

    Returns
    -------
    num_done, num_skipped : int

    Raises
    ------
    TableError
        Names the first keys without an embedding.
    """
    num_done = num_skipped = 0
    chunks = iterate_trial_rows(trials, sides.enroll.index, sides.test.index)
    first = _checked(next(chunks), allow_missing)  # nothing is opened for a list that is refused
    with open_output(target) as stream:
        for chunk in _chain(first, chunks):
            enroll, test = _checked(chunk, allow_missing).enroll, chunk.test
            kept = (enroll >= 0) & (test >= 0)
            if not kept.all():
                enroll, test = enroll[kept], test[kept]
            for text in format_scores(sides, enroll, test, scorer(enroll, test)):
                stream.write(text)
            num_done += len(enroll)
            num_skipped += len(kept) - len(enroll)
        if num_done == 0:
            raise TableError("no trial has embeddings on both sides; are these the right tables?")
    return num_done, num_skipped


def format_scores(
    sides: Sides, enroll: Rows, test: Rows, scores: NDArray[np.floating]
) -> Iterator[bytes]:
    """Give `enroll test score` lines with 9 significant digits, some thousand at a time."""
    enroll_ids, test_ids = sides.enroll.ids, sides.test.ids
    for start in range(0, len(scores), LINES_A_WRITE):
        part = slice(start, start + LINES_A_WRITE)
        left = map(enroll_ids.__getitem__, enroll[part].tolist())
        right = map(test_ids.__getitem__, test[part].tolist())
        rows = zip(left, right, scores[part].tolist(), strict=True)
        yield encode("".join(["%s %s %.9g\n" % row for row in rows]))  # noqa: UP031


def _checked(chunk: TrialRows, allow_missing: bool) -> TrialRows:
    for what, missing in (("enrolment", chunk.missing_enroll), ("test", chunk.missing_test)):
        if missing and not allow_missing:
            raise TableError(
                f"{len(missing)} {what} keys of the trials have no embedding: {name_some(missing)}",
                hint="extract them, or leave such trials out with `--allow-missing`",
            )
    return chunk


def _chain(first: TrialRows, rest: Iterator[TrialRows]) -> Iterator[TrialRows]:
    yield first
    yield from rest
