"""Centring and length normalisation of embeddings, and the check that they can be scored at all."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import ShapeError, SvError, name_some

BLOCK_ROWS = 4096

Floats = NDArray[np.floating]


def blocks(num_rows: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Give slices of at most `size` rows that cover `num_rows`, so that copies stay in cache."""
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def mean_vector(matrix: Floats) -> NDArray[np.float64]:
    """Mean of all rows, accumulated in float64.

    Parameters
    ----------
    matrix : (num_embeddings, embedding_dim)

    Returns
    -------
    mean : (embedding_dim,) float64
    """
    if len(matrix) == 0:
        raise ShapeError("there are no embeddings to average")
    return np.asarray(np.mean(matrix, axis=0, dtype=np.float64))


def subtract_mean(matrix: NDArray[np.float32], mean: Floats) -> NDArray[np.float32]:
    """Subtract a mean vector from every row in place and return the matrix.

    In place, because a second copy of the embeddings is most of the memory of a scoring job.

    Raises
    ------
    ShapeError
        When the dimensions differ.
    """
    if matrix.shape[1] != mean.shape[-1]:
        raise ShapeError(
            f"the embeddings have dimension {matrix.shape[1]}, the mean has {mean.shape[-1]}"
        )
    for rows in blocks(len(matrix)):
        matrix[rows] -= mean  # the difference is taken in the wider of the two types
    return matrix


def magnitudes(matrix: Floats) -> NDArray[np.float64]:
    """Euclidean length of every row, float64."""
    lengths = np.empty(len(matrix))
    for rows in blocks(len(matrix)):
        block = matrix[rows].astype(np.float64)
        lengths[rows] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return lengths


def check_vectors(lengths: Floats, ids: Sequence[str], *, what: str = "embeddings") -> None:
    """Raise when a row is zero, NaN or infinite, naming the first offenders.

    Parameters
    ----------
    lengths : (num_embeddings,)
        Euclidean lengths; NaN or infinite where the row holds such a value.
    ids : sequence of str
        The utterance of each row.

    Raises
    ------
    SvError
        With the first five keys and the count.
    """
    broken = np.flatnonzero(~np.isfinite(lengths))
    if len(broken):
        names = name_some([ids[row] for row in broken.tolist()])
        raise SvError(
            f"{len(broken)} of {len(lengths)} {what} hold NaN or infinite values: {names}",
            hint="extract them again; they have no score",
        )
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        names = name_some([ids[row] for row in zero.tolist()])
        raise SvError(
            f"{len(zero)} of {len(lengths)} {what} are zero vectors: {names}",
            hint="a zero vector has no direction; extract them again or take them out",
        )


def normalize_length(
    matrix: NDArray[np.float32],
    ids: Sequence[str],
    *,
    scaleup: bool = False,
    what: str = "embeddings",
) -> NDArray[np.float32]:
    """Scale every row in place to length 1, or to sqrt(dim) with `scaleup` (Kaldi's default).

    Parameters
    ----------
    matrix : (num_embeddings, embedding_dim) float32
        Changed in place.
    ids : sequence of str
        The utterance of each row, for messages.

    Raises
    ------
    SvError
        When a row is zero, NaN or infinite.

    Source
    ------
    Kaldi ivector-normalize-length.
    """
    lengths = magnitudes(matrix)
    check_vectors(lengths, ids, what=what)
    target = np.sqrt(matrix.shape[1]) if scaleup else 1.0
    for rows in blocks(len(matrix)):
        matrix[rows] *= (target / lengths[rows])[:, None]
    return matrix
