"""Inner products: of listed pairs, and of a whole enrol x test rectangle, in blocks.

Of rows of unit length (`center.normalize_length`) they are cosines.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import blocks, magnitudes
from sv_cli.errors import ShapeError

PAIR_BLOCK = 2048  # 2 x 2048 x 256 float32 gathered rows stay in the second-level cache
RECTANGLE_CELLS = 1 << 22  # 16 MiB of float32 scores at a time
BEST_COLUMNS = 8192  # with 512 test rows a product that runs at full speed
GROUP_COLUMNS = 32

Rows = NDArray[np.integer]


def _multiply(
    left: NDArray[np.float32], right: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    np.matmul(left, right.T, out=out)


@dataclass(frozen=True)
class Gemm:
    """The product that a rectangle is made of.

    Attributes
    ----------
    multiply : callable
        (left (m, dim) float32, right (n, dim) float32, out (m, n) float32): left x right' into out.
    rounding : float
        More than what its cosines and those of `dot_pairs` differ by.
    """

    multiply: Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], None]
    rounding: float


IN_NUMPY = Gemm(_multiply, 2e-5)


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
    enroll: NDArray[np.float32], test: NDArray[np.float32], *, gemm: Gemm = IN_NUMPY
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
        gemm.multiply(test[rows], enroll, scores)
        yield rows, scores


@dataclass(frozen=True)
class Selected:
    """Scores kept from a rectangle.

    Attributes
    ----------
    enroll, test : (num_kept,) int
        Columns and rows of the rectangle, in order of test row, then falling score; of equal
        scores the first of the enrolment table is first.
    score : (num_kept,) float32
    """

    enroll: Rows
    test: Rows
    score: NDArray[np.float32]


def select_dense(
    enroll: NDArray[np.float32],
    test: NDArray[np.float32],
    *,
    top_k: int | None = None,
    threshold: float | None = None,
    gemm: Gemm = IN_NUMPY,
) -> Iterator[Selected]:
    """Give the `top_k` highest scores of each test row, those not below `threshold`, or both.

    The products only propose pairs. What is given is the score that `dot_pairs` has for them, so
    that equal embeddings tie exactly, at any place in a block.

    Parameters
    ----------
    enroll : (num_enroll, embedding_dim) float32
    test : (num_test, embedding_dim) float32

    Yields
    ------
    kept : Selected
        Of some test rows.

    Examples
    --------
    >>> both = np.eye(2, 3, dtype=np.float32)
    >>> [kept.enroll.tolist() for kept in select_dense(both, both, top_k=1)]
    [[0, 1]]
    """
    check_dims(enroll, test)
    span = len(enroll) if top_k is None else max(BEST_COLUMNS, 4 * top_k)
    span = max(1, min(span, len(enroll)))
    # the rounding is given for rows of length 1
    scale = max(1.0, float(magnitudes(enroll).max(initial=0) * magnitudes(test).max(initial=0)))
    wanted = _Wanted(top_k, threshold, Gemm(gemm.multiply, scale * gemm.rounding))
    for rows in blocks(len(test), max(1, RECTANGLE_CELLS // span)):
        proposed = _propose(enroll, test[rows], span, wanted)
        test_rows, enroll_rows = proposed[0] + rows.start, proposed[1]
        scores = dot_pairs(enroll, test, enroll_rows=enroll_rows, test_rows=test_rows)
        yield _rank(Selected(enroll_rows, test_rows, scores), top_k=top_k, threshold=threshold)


@dataclass(frozen=True)
class _Wanted:
    top_k: int | None
    threshold: float | None
    gemm: Gemm


def _propose(
    enroll: NDArray[np.float32], test: NDArray[np.float32], span: int, wanted: _Wanted
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return test and enrolment rows of all pairs that may be wanted, and of few others.

    A block of scores is looked at by the maxima of groups of columns: as many as `top_k` groups
    reach the `top_k`-th highest maximum, so no wanted score is below it.
    """
    top_k, threshold, rounding = wanted.top_k, wanted.threshold, wanted.gemm.rounding
    width = 1 if top_k is None else max(1, min(GROUP_COLUMNS, span // (4 * top_k)))
    num_groups = -(-span // width)
    buffer = np.empty((len(test), num_groups * width), dtype=np.float32)
    floor = np.full(len(test), -np.inf if threshold is None else threshold - rounding, np.float32)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for columns in blocks(len(enroll), span):
        num_columns = columns.stop - columns.start
        wanted.gemm.multiply(test, enroll[columns], buffer[:, :num_columns])
        buffer[:, num_columns:] = -np.inf
        grouped = buffer.reshape(len(test), width, num_groups)  # a group is a column of these
        highest = grouped.max(axis=1)
        if top_k is not None and top_k <= num_groups:
            last = num_groups - top_k
            bound = np.partition(highest, last, axis=1)[:, last] - np.float32(rounding)
            floor = np.maximum(floor, bound)
        rows, groups = np.nonzero(highest >= floor[:, None])
        place, member = np.nonzero(grouped[rows, :, groups] >= floor[rows, None])
        chosen = member * num_groups + groups[place]
        real = chosen < num_columns
        found.append((rows[place][real], chosen[real] + columns.start))
    test_rows, enroll_rows = zip(*found, strict=True)
    return np.concatenate(test_rows), np.concatenate(enroll_rows)


def _rank(kept: Selected, *, top_k: int | None, threshold: float | None) -> Selected:
    order = np.lexsort((kept.enroll, -kept.score, kept.test))
    if threshold is not None:
        order = order[kept.score[order].astype(np.float64) >= threshold]
    if top_k is not None:
        ranked = kept.test[order]
        place = np.arange(len(order)) - np.searchsorted(ranked, ranked)
        order = order[place < top_k]
    return Selected(kept.enroll[order], kept.test[order], kept.score[order])


def check_dims(enroll: NDArray[np.floating], test: NDArray[np.floating]) -> None:
    """Raise when the two sides have embeddings of different dimension."""
    if enroll.shape[1] != test.shape[1]:
        raise ShapeError(
            f"enrolment embeddings have dimension {enroll.shape[1]}, "
            f"test embeddings {test.shape[1]}"
        )
