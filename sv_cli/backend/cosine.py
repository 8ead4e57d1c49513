"""Cosine scores: of listed pairs, and of a whole enrol x test rectangle, in blocks.

Both take rows of unit length (`center.normalize_length`), so a score is one dot product.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import blocks
from sv_cli.errors import ShapeError

PAIR_BLOCK = 2048  # 2 x 2048 x 256 float32 gathered rows stay in the second-level cache
RECTANGLE_CELLS = 1 << 22  # 16 MiB of float32 scores at a time

Rows = NDArray[np.integer]


def dot_pairs(
    enroll: NDArray[np.float32],
    test: NDArray[np.float32],
    *,
    enroll_rows: Rows,
    test_rows: Rows,
) -> NDArray[np.float32]:
    """Dot product of each listed pair of rows; the cosine when the rows have length 1.

    Parameters
    ----------
    enroll : (num_enroll, embedding_dim) float32
    test : (num_test, embedding_dim) float32
    enroll_rows, test_rows : (num_trials,) int
        The pair of each trial.

    Returns
    -------
    scores : (num_trials,) float32
    """
    check_dims(enroll, test)
    scores = np.empty(len(enroll_rows), dtype=np.float32)
    for part in blocks(len(scores), PAIR_BLOCK):
        left, right = enroll[enroll_rows[part]], test[test_rows[part]]
        np.einsum("ij,ij->i", left, right, out=scores[part])
    return scores


def iterate_dense(
    enroll: NDArray[np.float32], test: NDArray[np.float32]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Give blocks of the rectangle of dot products, some test rows at a time.

    Parameters
    ----------
    enroll : (num_enroll, embedding_dim) float32
    test : (num_test, embedding_dim) float32

    Yields
    ------
    rows : slice
        The test rows of this block.
    scores : (rows, num_enroll) float32
        Overwritten by the next block: copy what is to be kept.
    """
    check_dims(enroll, test)
    size = max(1, min(len(test), RECTANGLE_CELLS // max(len(enroll), 1)))
    buffer = np.empty((size, len(enroll)), dtype=np.float32)
    for rows in blocks(len(test), size):
        scores = buffer[: rows.stop - rows.start]
        np.matmul(test[rows], enroll.T, out=scores)
        yield rows, scores


@dataclass(frozen=True)
class Selected:
    """Scores kept from a rectangle.

    Attributes
    ----------
    enroll, test : (num_kept,) int
        Columns and rows of the rectangle, in order of test row, then falling score.
    score : (num_kept,) float32
    """

    enroll: Rows
    test: Rows
    score: NDArray[np.float32]


def select_scores(
    scores: NDArray[np.float32], *, top_k: int | None = None, threshold: float | None = None
) -> Selected:
    """Keep the `top_k` highest scores of each row, those not below `threshold`, or both.

    Parameters
    ----------
    scores : (num_test, num_enroll) float32

    Examples
    --------
    >>> kept = select_scores(np.array([[0.1, 0.9, 0.5]], dtype=np.float32), top_k=2)
    >>> kept.enroll.tolist()
    [1, 2]
    """
    num_test, num_enroll = scores.shape
    floor = np.full((num_test, 1), -np.inf if threshold is None else threshold, dtype=np.float32)
    if top_k is not None and top_k < num_enroll:
        last = num_enroll - top_k
        floor = np.maximum(floor, np.partition(scores, last, axis=1)[:, last, None])
    test, enroll = np.divmod(np.flatnonzero(scores >= floor), num_enroll)
    kept = scores[test, enroll]
    order = np.lexsort((enroll, -kept, test))
    if top_k is not None:
        # of equal scores at the edge, the first of the enrolment table stay
        ranked = test[order]
        place = np.arange(len(order)) - np.searchsorted(ranked, ranked)
        order = order[place < top_k]
    return Selected(enroll[order], test[order], kept[order])


def check_dims(enroll: NDArray[np.floating], test: NDArray[np.floating]) -> None:
    """Raise when the two sides have embeddings of different dimension."""
    if enroll.shape[1] != test.shape[1]:
        raise ShapeError(
            f"enrolment embeddings have dimension {enroll.shape[1]}, "
            f"test embeddings {test.shape[1]}"
        )
