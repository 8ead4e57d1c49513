"""Lists of the same pairs joined by key: side by side where their order agrees, else in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.tables.pairs import stream as pair_stream
from sv_cli.tables.pairs.scores import Scores, check_labels, join
from sv_cli.tables.pairs.stream import PairChunk, PairStream, concatenate
from sv_cli.tables.pairs.trials import Trials

MOST_ROWS_IN_MEMORY = 1 << 26  # 67 million, about 9 GB

Floats = NDArray[np.float64]


def iterate_joined(
    first: PairStream, others: Sequence[PairStream], *, allow_missing: bool = False
) -> Iterator[tuple[PairChunk, list[Floats]]]:
    """Yield rows of `first` with the score that each of the others gives them.

    As long as all list the same pairs in the same order, one chunk of each is in memory. From the
    first difference on, the rest of them is read and joined in memory, which is said.

    Parameters
    ----------
    first : PairStream
        Trials or scores; they set the order.
    others : sequence of PairStream
        Scores. All streams number their ids alike (one `PairIds`).
    allow_missing : bool
        Whether pairs that another list lacks get NaN.

    Yields
    ------
    chunk : PairChunk
    scores : list of (num_rows,) float64, one of each other list

    Raises
    ------
    TableError
        When a list lacks pairs, has others, or has labels that differ from those of `first`: names
        it, the first five, and the count.
    """
    num_done = 0
    while True:
        chunk = first.take(pair_stream.CHUNK_ROWS)
        parts = [other.take(max(len(chunk), 1)) for other in others]
        if not all(part.has_pairs_of(chunk) for part in parts):
            break
        if not len(chunk):
            return
        num_done += len(chunk)
        for other, part in zip(others, parts, strict=True):
            if part.target is not None:
                with _naming(other.source):
                    check_labels(Trials.of_chunk(first.ids, chunk), part.target)
        yield chunk, [part.scores for part in parts]
    named = ", ".join(f"`{other.source}`" for other in others)
    logs.info(
        f"`{first.source}` and {named} differ after line {num_done}: what follows is joined in "
        "memory"
    )
    chunk = _rest(first, chunk)
    rests = [_rest(other, part) for other, part in zip(others, parts, strict=True)]
    trials = Trials.of_chunk(first.ids, chunk)
    columns = [
        _join(trials, Scores.of_chunk(first.ids, rest), other.source, allow_missing)
        for other, rest in zip(others, rests, strict=True)
    ]
    yield chunk, columns


def _rest(stream: PairStream, taken: PairChunk) -> PairChunk:
    """Return the rows taken and all that follow."""
    chunks, num_rows = [taken], len(taken)
    for chunk in stream:
        chunks.append(chunk)
        num_rows += len(chunk)
        if num_rows > MOST_ROWS_IN_MEMORY:
            raise TableError(
                f"`{stream.source}` has another order than the list that it belongs to, and more "
                f"than {MOST_ROWS_IN_MEMORY} lines to be joined in memory",
                hint="bring both into one order: `LC_ALL=C sort`",
            )
    return concatenate(chunks)


def _join(trials: Trials, scores: Scores, source: str, allow_missing: bool) -> Floats:
    with _naming(source):
        return join(trials, scores, allow_missing=allow_missing)


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Put the name of the table, one of several, before the message of an error."""
    try:
        yield
    except TableError as error:
        raise TableError(f"`{source}`: {error.message}", hint=error.hint) from error
