"""Two-covariance PLDA: estimate, smoothing, adaptation, projection.

Symbols: D embedding_dim, K num_speakers, W within-speaker and B between-speaker covariance,
psi the diagonal of B in the space where W is unit. Everything is float64, as in Kaldi.

Source: Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006, in the form of Kaldi's
ivector/plda.h.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import blocks
from sv_cli.backend.lda import sorted_eigenvectors
from sv_cli.errors import ShapeError, SvError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Plda:
    """A PLDA model in the space where W is unit and B diagonal.

    Attributes
    ----------
    mean : (D,) float64
    transform : (D, D) float64
        Rows are defined up to sign.
    psi : (D,) float64
        Between-speaker variances, largest first.
    """

    mean: Matrix
    transform: Matrix
    psi: Matrix

    def __post_init__(self) -> None:
        dim = len(self.mean)
        if self.transform.shape != (dim, dim) or self.psi.shape != (dim,):
            raise ShapeError(
                f"a PLDA of dimension {dim} cannot have a transform of "
                f"{self.transform.shape} and {self.psi.shape} variances"
            )

    @property
    def dim(self) -> int:
        """Dimension of the embeddings that the model takes."""
        return len(self.mean)

    def covariances(self) -> tuple[Matrix, Matrix]:
        """W and B in the space of the embeddings, (D, D) each."""
        inverse = np.linalg.inv(self.transform)
        return inverse @ inverse.T, (inverse * self.psi) @ inverse.T


@dataclass(frozen=True)
class PldaStats:
    """What the estimate needs of the training embeddings.

    Attributes
    ----------
    means : (K, D) float64
        Mean of each speaker.
    counts : (K,) int64
        Embeddings of each speaker.
    scatter : (D, D) float64
        Sum of (x - speaker mean)(x - speaker mean)^T over all embeddings.
    """

    means: Matrix
    counts: NDArray[np.int64]
    scatter: Matrix


def collect_stats(matrix: NDArray[np.floating], groups: Sequence[NDArray[np.integer]]) -> PldaStats:
    """Statistics of embeddings grouped by speaker.

    Parameters
    ----------
    matrix : (num_utts, D)
    groups : sequence of (num_utts_of_speaker,) int
        Rows of each speaker.
    """
    dim = matrix.shape[1]
    means = np.empty((len(groups), dim))
    scatter = np.zeros((dim, dim))
    pending: list[Matrix] = []
    num_pending = 0
    for speaker, rows in enumerate(groups):
        own = matrix[rows].astype(np.float64)
        means[speaker] = own.mean(axis=0)
        pending.append(own - means[speaker])
        num_pending += len(own)
        if num_pending >= 4096:  # one large product instead of many small ones
            scatter += _square(pending)
            pending, num_pending = [], 0
    if pending:
        scatter += _square(pending)
    counts = np.array([len(rows) for rows in groups], dtype=np.int64)
    return PldaStats(means, counts, scatter)


def _square(parts: list[Matrix]) -> Matrix:
    rows = np.concatenate(parts)
    return np.asarray(rows.T @ rows)


def fit_plda(stats: PldaStats, *, num_iters: int = 10) -> Plda:
    """Estimate a PLDA by expectation-maximisation, as ivector-compute-plda does.

    The centre is the unweighted mean of the speaker means; W and B start as identity.

    Raises
    ------
    SvError
        When there are too few speakers, no speaker has two embeddings, or there are fewer
        embeddings than dimensions.
    """
    num_speakers, dim = stats.means.shape
    if num_speakers < 2:
        raise SvError(f"PLDA needs at least 2 speakers, got {num_speakers}")
    if stats.counts.max() < 2:
        raise SvError(
            "PLDA needs speakers with two or more embeddings; every speaker has one",
            hint="is spk2utt the table of speakers, not of utterances?",
        )
    num_embeddings = int(stats.counts.sum())
    if num_embeddings < dim:
        raise SvError(
            f"PLDA of {dim} dimensions needs at least {dim} embeddings, got {num_embeddings} of "
            f"{num_speakers} speakers",
            hint="give more embeddings, or reduce the dimensions with `--lda-dim`",
        )
    mean = stats.means.mean(axis=0)
    within, between = np.eye(dim), np.eye(dim)
    for _ in range(num_iters):
        within, between = _iterate(stats, mean, within, between)
    return diagonalize(mean, within, between)


def _iterate(
    stats: PldaStats, mean: Matrix, within: Matrix, between: Matrix
) -> tuple[Matrix, Matrix]:
    """One step of expectation-maximisation; gives the new W and B.

    In the space of `diagonalize` the posterior covariance (B^-1 + n W^-1)^-1 of a speaker with n
    embeddings is diag(psi / (1 + n psi)): no matrix is inverted for each n, and a B of lower rank
    does no harm.
    """
    space = diagonalize(mean, within, between)
    counts = stats.counts.astype(np.float64)[:, None]  # (K, 1)
    offsets = (stats.means - mean) @ space.transform.T  # (K, D)
    posterior = space.psi / (1 + counts * space.psi)  # (K, D)
    speaker = counts * posterior * offsets  # (K, D) posterior mean of the speaker
    residual = offsets - speaker
    between_stats = speaker.T @ speaker + np.diag(posterior.sum(axis=0))
    within_stats = (residual * counts).T @ residual + np.diag((counts * posterior).sum(axis=0))
    back = np.linalg.inv(space.transform)
    # offset scatter weighs N - K, the speaker means K: N in all
    new_within = (stats.scatter + back @ within_stats @ back.T) / stats.counts.sum()
    return new_within, back @ between_stats @ back.T / len(stats.counts)


def diagonalize(mean: Matrix, within: Matrix, between: Matrix) -> Plda:
    """Bring W to unit and B to diag(psi), psi falling: transform = U^T chol(W)^-1.

    Raises
    ------
    SvError
        When W is not positive definite.
    """
    try:
        lower = np.linalg.cholesky(0.5 * (within + within.T))
    except np.linalg.LinAlgError as error:
        raise SvError(
            "the within-speaker covariance is not positive definite",
            hint="give more embeddings, or fewer dimensions with `--lda-dim`",
        ) from error
    if not np.isfinite(lower).all():
        raise SvError("the embeddings hold NaN or infinite values")
    unit = np.linalg.inv(lower)
    psi, directions = sorted_eigenvectors(unit @ between @ unit.T)
    return Plda(mean, directions.T @ unit, np.maximum(psi, 0.0))


def smooth_plda(plda: Plda, factor: float) -> Plda:
    """Add `factor` times the between- to the within-speaker covariance.

    Source
    ------
    Kaldi ivector-copy-plda --smoothing.
    """
    if not 0 <= factor <= 1:
        raise ShapeError(f"the smoothing factor {factor} is not within 0 and 1")
    within = 1 + _as_option(factor) * plda.psi
    return Plda(plda.mean, plda.transform / np.sqrt(within)[:, None], plda.psi / within)


@dataclass(frozen=True)
class Adaptation:
    """Shares of the unexplained variance, as in Kaldi's ivector-adapt-plda."""

    within_scale: float = 0.3
    between_scale: float = 0.7
    mean_diff_scale: float = 1.0


def adapt_plda(plda: Plda, matrix: NDArray[np.floating], options: Adaptation) -> Plda:
    """Adapt to embeddings of another domain without speaker labels.

    Where the new data vary more than W + B says, the excess is shared out to W and B. The mean
    becomes that of the new data.

    Parameters
    ----------
    matrix : (num_utts, D)

    Source
    ------
    Kaldi ivector-adapt-plda.
    """
    if matrix.shape[1] != plda.dim:
        raise ShapeError(
            f"the embeddings have dimension {matrix.shape[1]}, the PLDA has {plda.dim}"
        )
    if len(matrix) < 2:
        raise ShapeError(f"adaptation needs embeddings, got {len(matrix)}")
    mean = matrix.mean(axis=0, dtype=np.float64)
    variance = _covariance(matrix, mean)
    difference = mean - plda.mean
    variance += _as_option(options.mean_diff_scale) * np.outer(difference, difference)

    total = plda.transform / np.sqrt(1 + plda.psi)[:, None]  # makes W + B unit
    values, directions = sorted_eigenvectors(total @ variance @ total.T)
    back = np.linalg.inv(directions.T @ total)
    excess = np.maximum(values - 1, 0)
    extra = (back * excess) @ back.T
    within, between = plda.covariances()
    return diagonalize(
        mean,
        within + _as_option(options.within_scale) * extra,
        between + _as_option(options.between_scale) * extra,
    )


def _as_option(value: float) -> float:
    """Round as Kaldi does, whose options are float32: 0.3 is 0.300000012 there."""
    return float(np.float32(value))


def _covariance(matrix: NDArray[np.floating], mean: Matrix) -> Matrix:
    total = np.zeros((len(mean), len(mean)))
    for rows in blocks(len(matrix)):
        centred = matrix[rows] - mean
        total += centred.T @ centred
    return total / len(matrix)


def project_plda(plda: Plda, linear: Matrix) -> Plda:
    """The model of linearly mapped embeddings.

    Parameters
    ----------
    linear : (new_dim, D)
        new_dim <= D.
    """
    within, between = plda.covariances()
    return diagonalize(linear @ plda.mean, linear @ within @ linear.T, linear @ between @ linear.T)
