"""The whole chain in one go: mean, LDA or whitening, length norm, PLDA."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import mean_vector, subtract_mean
from sv_cli.backend.lda import fit_lda, fit_whitening
from sv_cli.backend.plda import Plda, collect_stats, fit_plda
from sv_cli.backend.plda_front import Front
from sv_cli.backend.plda_settings import PldaSettings
from sv_cli.errors import SettingsError

Matrix = NDArray[np.float64]
Groups = Sequence[NDArray[np.integer]]


@dataclass(frozen=True)
class Given:
    """Parts of the front that were made before; None where they are to be estimated or left out."""

    mean: Matrix | None = None
    transform: Matrix | None = None


def fit_front(
    matrix: NDArray[np.float32], groups: Groups, settings: PldaSettings, given: Given
) -> Front:
    """Estimate what stands in front of the PLDA; `matrix` is centred in place.

    Raises
    ------
    SettingsError
        When a transform is both given and asked for.
    """
    wanted = [
        name
        for name, is_wanted in (
            ("--lda-dim", settings.lda_dim is not None),
            ("--whiten", settings.whiten),
            ("a given transform", given.transform is not None),
        )
        if is_wanted
    ]
    if len(wanted) > 1:
        raise SettingsError(f"{' and '.join(wanted)}: one transform stands in front of a PLDA")
    mean = given.mean
    if mean is None and settings.center:
        mean = mean_vector(matrix)
    if mean is not None:
        subtract_mean(matrix, mean)
    transform = given.transform
    if settings.lda_dim is not None:
        factor = settings.total_covariance_factor
        transform = fit_lda(
            matrix, groups, lda_dim=settings.lda_dim, total_covariance_factor=factor
        )
    elif settings.whiten:
        transform = fit_whitening(matrix)
    return Front(mean, transform, settings.length_norm)


def train_plda(
    matrix: NDArray[np.float32],
    ids: Sequence[str],
    groups: Groups,
    *,
    settings: PldaSettings,
    given: Given,
) -> tuple[Plda, Front]:
    """Estimate the front and the PLDA behind it.

    Parameters
    ----------
    matrix : (num_utts, embedding_dim) float32
        Changed in place.
    ids : sequence of str
        The utterance of each row, for messages.
    groups : sequence of (num_utts_of_speaker,) int
        Rows of each speaker.
    """
    front = fit_front(matrix, groups, settings, given)
    centred = Front(None, front.transform, front.length_norm).apply(matrix, ids)
    return fit_plda(collect_stats(centred, groups), num_iters=settings.num_iters), front
