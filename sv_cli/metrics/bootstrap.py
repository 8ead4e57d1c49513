"""Confidence intervals from resampling speakers, not trials.

Trials of one speaker are alike, so an interval over trials is far too narrow. Here speakers are
drawn with replacement; a nontarget trial counts as often as both its speakers were drawn
(product), a target trial as often as its speaker was.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sv_cli.errors import SettingsError
from sv_cli.metrics.sweep import Bools, Floats, Sweep, check_trials, last_of_equal

Indices = NDArray[np.int64]
Statistic = Callable[["Replicate"], float]


@dataclass(frozen=True)
class TrialSpeakers:
    """Speaker number of each side of each trial, shape (num_trials,), and how many there are."""

    enroll: Indices
    test: Indices
    num_speakers: int


@dataclass(frozen=True)
class Replicate:
    """One resampled list: its sweep, and the weighted trials that the sweep was made of."""

    sweep: Sweep
    scores: Floats
    target: Bools
    weights: Floats


def confidence_intervals(
    scores: ArrayLike,
    target: ArrayLike,
    speakers: TrialSpeakers,
    statistics: dict[str, Statistic],
    *,
    num_replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of each statistic over resampled speakers.

    Raises
    ------
    SettingsError
        When fewer than two speakers are there to be drawn.
    """
    if speakers.num_speakers < 2:
        raise SettingsError("`--bootstrap` needs at least two speakers")
    drawn = {name: np.empty(num_replicates) for name in statistics}
    replicates = _replicates(*check_trials(scores, target), speakers, seed=seed)
    for index, replicate in zip(range(num_replicates), replicates, strict=False):
        for name, statistic in statistics.items():
            drawn[name][index] = statistic(replicate)
    tails = [50 * (1 - level), 50 * (1 + level)]
    bounds = {name: np.percentile(values, tails) for name, values in drawn.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def _replicates(
    scores: Floats, target: Bools, speakers: TrialSpeakers, *, seed: int
) -> Iterator[Replicate]:
    """Yield resampled lists for ever; a draw that leaves one class empty is drawn again."""
    order = np.argsort(scores)
    scores, target = scores[order], target[order]
    enroll, test = speakers.enroll[order], speakers.test[order]
    ends = last_of_equal(scores)
    generator = np.random.default_rng(seed)
    while True:
        picked = generator.integers(speakers.num_speakers, size=speakers.num_speakers)
        counts = np.bincount(picked, minlength=speakers.num_speakers).astype(np.float64)
        weights = counts[enroll]
        weights *= np.where(target, 1.0, counts[test])
        misses = np.concatenate([[0.0], np.cumsum(weights * target)[ends]])
        accepted = np.concatenate([[0.0], np.cumsum(weights * ~target)[ends]])
        if misses[-1] == 0 or accepted[-1] == 0:
            continue
        yield Replicate(
            Sweep(scores[ends], misses, accepted[-1] - accepted), scores, target, weights
        )


def weighted_cllr(replicate: Replicate) -> float:
    """Return Cllr (bits) of a resampled list."""
    signs = np.where(replicate.target, -1.0, 1.0)
    costs = np.logaddexp(0.0, signs * replicate.scores) * replicate.weights
    mean_miss = costs[replicate.target].sum() / replicate.sweep.num_target
    mean_false_alarm = costs[~replicate.target].sum() / replicate.sweep.num_nontarget
    return float(0.5 * (mean_miss + mean_false_alarm) / math.log(2))


def speakers_of_target_trials(enroll: Indices, test: Indices, target: Bools) -> tuple[Indices, int]:
    """Return a speaker number for each id: ids that target trials join are one speaker.

    Parameters
    ----------
    enroll, test : ndarray of int, shape (num_trials,)
        Numbers of the ids on both sides, drawn from one numbering 0, 1, ...
    target : ndarray of bool, shape (num_trials,)

    Returns
    -------
    ndarray of int64, shape (num_ids,), and the number of speakers
    """
    num_ids = int(max(enroll.max(), test.max())) + 1
    label = np.arange(num_ids)
    left, right = enroll[target], test[target]
    while True:
        before = label.copy()
        lowest = np.minimum(label[left], label[right])
        np.minimum.at(label, left, lowest)
        np.minimum.at(label, right, lowest)
        label = label[label]  # jump over chains
        if np.array_equal(label, before):
            break
    _, speaker = np.unique(label, return_inverse=True)
    return speaker.astype(np.int64), int(speaker.max()) + 1
