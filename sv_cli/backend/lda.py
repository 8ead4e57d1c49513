"""LDA and whitening of embeddings: an affine map, kept as Kaldi keeps it.

A transform is (dim, embedding_dim + 1): the last column is the offset. One of (dim,
embedding_dim) has none.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import blocks
from sv_cli.errors import ShapeError

Matrix = NDArray[np.float64]
COVARIANCE_FLOOR = 1e-6  # of the largest eigenvalue, as in ivector-compute-lda


def fit_lda(
    matrix: NDArray[np.floating],
    groups: Sequence[NDArray[np.integer]],
    *,
    lda_dim: int,
    total_covariance_factor: float = 0.0,
) -> Matrix:
    """Linear discriminant analysis that makes the within-speaker covariance unit.

    Parameters
    ----------
    matrix : (num_utts, embedding_dim)
    groups : sequence of (num_utts_of_speaker,) int
        Rows of each speaker.
    lda_dim : int
        Directions kept, those of largest between-speaker covariance.
    total_covariance_factor : float
        The covariance made unit is this part of the total and the rest of the within-speaker one.

    Returns
    -------
    transform : (lda_dim, embedding_dim + 1) float64
        Rows are defined up to sign; the last column is minus the projected mean.

    Source
    ------
    Kaldi ivector-compute-lda. Between is total less within, all divided by the number of
    utterances.
    """
    _check_dim(lda_dim, matrix.shape[1], len(groups))
    rows = np.concatenate(list(groups))
    mean = matrix[rows].mean(axis=0, dtype=np.float64)
    total = second_moment(matrix, rows, mean) / len(rows)
    means = np.stack([matrix[group].mean(axis=0, dtype=np.float64) for group in groups]) - mean
    counts = np.array([len(group) for group in groups], dtype=np.float64)
    between = (means * (counts / len(rows))[:, None]).T @ means
    within = total - between
    factor = total_covariance_factor
    unit = normalizing_transform(factor * total + (1 - factor) * within)
    _, directions = sorted_eigenvectors(unit @ between @ unit.T)
    linear = directions[:, :lda_dim].T @ unit
    return with_offset(linear, mean)


def fit_whitening(matrix: NDArray[np.floating]) -> Matrix:
    """Affine map that makes the total covariance unit and the mean zero.

    Returns
    -------
    transform : (embedding_dim, embedding_dim + 1) float64
    """
    if len(matrix) <= matrix.shape[1]:
        raise ShapeError(
            f"whitening {matrix.shape[1]} dimensions needs more than {len(matrix)} embeddings"
        )
    mean = matrix.mean(axis=0, dtype=np.float64)
    total = second_moment(matrix, np.arange(len(matrix)), mean) / len(matrix)
    return with_offset(normalizing_transform(total), mean)


def apply_affine(transform: Matrix, matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    """Map every row by a transform with or without an offset column.

    Parameters
    ----------
    transform : (dim, embedding_dim) or (dim, embedding_dim + 1)
    matrix : (num_utts, embedding_dim)

    Returns
    -------
    mapped : (num_utts, dim) float32

    Raises
    ------
    ShapeError
        When the transform is for another dimension.
    """
    dim = matrix.shape[1]
    if transform.ndim != 2 or transform.shape[1] - dim not in (0, 1):
        raise ShapeError(
            f"a transform of {' x '.join(map(str, transform.shape))} does not fit "
            f"embeddings of dimension {dim}"
        )
    mapped = np.empty((len(matrix), len(transform)), dtype=np.float32)
    linear = np.ascontiguousarray(transform[:, :dim].T, dtype=np.float64)
    offset = transform[:, dim] if transform.shape[1] > dim else 0.0
    for rows in blocks(len(matrix)):
        mapped[rows] = matrix[rows].astype(np.float64) @ linear + offset
    return mapped


def second_moment(matrix: NDArray[np.floating], rows: NDArray[np.integer], mean: Matrix) -> Matrix:
    """Sum of (x - mean)(x - mean)^T over the chosen rows, accumulated in float64."""
    total = np.zeros((matrix.shape[1], matrix.shape[1]))
    for part in blocks(len(rows)):
        centred = matrix[rows[part]] - mean
        total += centred.T @ centred
    return total


def normalizing_transform(covariance: Matrix) -> Matrix:
    """Projection that makes `covariance` unit; small eigenvalues are floored."""
    values, directions = sorted_eigenvectors(covariance)
    values = np.maximum(values, values[0] * COVARIANCE_FLOOR)
    if values[-1] <= 0:
        raise ShapeError("the covariance of the embeddings is zero; are they all the same?")
    return np.asarray(directions.T / np.sqrt(values)[:, None])


def sorted_eigenvectors(symmetric: Matrix) -> tuple[Matrix, Matrix]:
    """Eigenvalues, largest first, and the eigenvectors as columns in the same order."""
    values, directions = np.linalg.eigh(0.5 * (symmetric + symmetric.T))
    return values[::-1], directions[:, ::-1]


def with_offset(linear: Matrix, mean: Matrix) -> Matrix:
    """Append the offset column -linear @ mean to a linear map."""
    return np.hstack([linear, -(linear @ mean)[:, None]])


def _check_dim(lda_dim: int, dim: int, num_speakers: int) -> None:
    if num_speakers < 2:
        raise ShapeError(f"LDA needs at least 2 speakers, got {num_speakers}")
    if not 1 <= lda_dim <= dim:
        raise ShapeError(f"LDA to {lda_dim} dimensions is not possible from {dim}")
    if lda_dim >= num_speakers:
        raise ShapeError(
            f"LDA to {lda_dim} dimensions needs more than {lda_dim} speakers, got {num_speakers}",
            hint=f"at most {num_speakers - 1} directions separate {num_speakers} speakers",
        )
