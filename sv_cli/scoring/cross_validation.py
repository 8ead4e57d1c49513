"""Cross-validation by speaker: a trial is scored by a fit that heard neither of its speakers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.logistic import Bools, Floats, fit_logistic
from sv_cli.errors import SettingsError
from sv_cli.metrics.bootstrap import TrialSpeakers
from sv_cli.metrics.cllr import cllr
from sv_cli.metrics.eer import eer
from sv_cli.metrics.sweep import error_rates
from sv_cli.scoring.labelled_scores import ScoredTrials, trial_speakers
from sv_cli.tables.pairs.scores import Scores, write_scores

LEAST_FOLDS = 3  # a trial between two folds is left to a fit on a third


@dataclass(frozen=True)
class CrossValidation:
    """How a fit is tried on speakers that it was not made on; no folds for not at all.

    Attributes
    ----------
    num_folds : int
        Parts that the speakers are drawn into.
    seed : int
    utt2spk : tuple of str
        Tables of the speakers; without one, what target trials join is one speaker.
    scores : str or None
        Where the held-out scores are written.
    """

    num_folds: int = 0
    seed: int = 0
    utt2spk: tuple[str, ...] = ()
    scores: str | None = None


def cross_validate(
    features: Floats,
    target: Bools,
    speakers: TrialSpeakers,
    *,
    num_folds: int = 5,
    seed: int = 0,
    p_target: float = 0.5,
    ridge: float = 1e-6,
) -> Floats:
    """Return a log-likelihood ratio of each trial by a fit on trials of other speakers only.

    A trial within a fold is scored by the fit on the trials without that fold; one between two
    folds by the fit on the trials that touch neither.

    Parameters
    ----------
    features : ndarray of float64, shape (num_trials, num_features)
    target : ndarray of bool, shape (num_trials,)

    Returns
    -------
    scores : ndarray of float64, shape (num_trials,)

    Raises
    ------
    SettingsError
        When there are fewer speakers than folds, or a fold leaves a fit with one class.
    """
    if not LEAST_FOLDS <= num_folds <= speakers.num_speakers:
        raise SettingsError(
            f"`--cv-folds {num_folds}` is not within {LEAST_FOLDS} and the "
            f"{speakers.num_speakers} speakers"
        )
    scores = np.empty(len(target))
    for inside, outside in _folds(speakers, num_folds, seed=seed):
        if not target[outside].any() or target[outside].all():
            raise SettingsError(f"`--cv-folds {num_folds}` leaves a fold without one class")
        fit = fit_logistic(features[outside], target[outside], p_target=p_target, ridge=ridge)
        scores[inside] = fit.apply(features[inside])
    return scores


def tell_held_out(
    features: Floats,
    scored: ScoredTrials,
    validation: CrossValidation,
    *,
    p_target: float,
    ridge: float = 1e-6,
) -> float:
    """Cross-validate, report the error rates next to each system's, and return the Cllr.

    The held-out scores are written where `validation` asks for them, in the order of the trials.
    """
    held_out = cross_validate(
        features,
        scored.target,
        trial_speakers(scored.trials, validation.utt2spk),
        num_folds=validation.num_folds,
        seed=validation.seed,
        p_target=p_target,
        ridge=ridge,
    )
    if validation.scores is not None:
        write_scores(validation.scores, Scores.of_trials(scored.trials, held_out))
    value = cllr(held_out, scored.target)
    columns = zip((*scored.names, "held out"), (*scored.scores, held_out), strict=True)
    rates = [
        f"{name} {100 * eer(error_rates(column, scored.target))[0]:.3f} %"
        for name, column in columns
    ]
    logs.info(f"held-out speakers: Cllr {value:.4f}, EER {', '.join(rates)}")
    return value


def _folds(
    speakers: TrialSpeakers, num_folds: int, *, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the trials of each one or two folds, and those that touch neither."""
    shuffled = np.random.default_rng(seed).permutation(speakers.num_speakers)
    fold_of = np.empty(speakers.num_speakers, dtype=np.int64)
    fold_of[shuffled] = np.arange(speakers.num_speakers) % num_folds
    enroll, test = fold_of[speakers.enroll], fold_of[speakers.test]
    low, high = np.minimum(enroll, test), np.maximum(enroll, test)
    for one, other in combinations_with_replacement(range(num_folds), 2):
        inside = np.flatnonzero((low == one) & (high == other))
        touched = (low == one) | (low == other) | (high == one) | (high == other)
        if len(inside):
            yield inside, np.flatnonzero(~touched)
