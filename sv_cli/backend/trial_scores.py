"""Scores of a list of pairs, worked off in chunks and written in its order."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.joining import PairRows
from sv_cli.backend.sides import Sides
from sv_cli.errors import TableError
from sv_cli.tables.pair_stream import PairChunk, PairStream
from sv_cli.tables.scores import write_chunks
from sv_cli.tables.trials import iterate_trials

Rows = NDArray[np.integer]
Scorer = Callable[[Rows, Rows], NDArray[np.floating]]
ChunkScorer = Callable[[PairChunk], PairChunk]


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
    stream = iterate_trials(trials)
    pairs = PairRows(sides, stream.ids, allow_missing=allow_missing)

    def score(chunk: PairChunk) -> PairChunk:
        found = pairs.find(chunk)
        return replace(
            found.chunk, score=scorer(found.enroll, found.test).astype(np.float64, copy=False)
        )

    return score_stream(stream, score, target)


def score_stream(stream: PairStream, scorer: ChunkScorer, target: str) -> tuple[int, int]:
    """Write new scores of a list, a chunk at a time.

    Parameters
    ----------
    scorer : function
        Takes a chunk and returns it with scores, without the pairs that have none.
    target : str
        Table of scores; a file appears when all is done.

    Returns
    -------
    num_done, num_skipped : int

    Raises
    ------
    TableError
        When no pair has a score.
    """
    num_done = num_rows = 0

    def scored() -> Iterator[PairChunk]:
        nonlocal num_done, num_rows
        for chunk in stream:
            made = scorer(chunk)
            num_done += len(made)
            num_rows += len(chunk)
            yield made
        if num_done == 0:
            raise TableError("no trial has embeddings on both sides; are these the right tables?")

    write_chunks(target, stream.ids, scored())
    return num_done, num_rows - num_done
