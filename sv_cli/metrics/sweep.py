"""The one sorted threshold sweep that every metric is read from.

A trial is accepted when its score is at or above the threshold. Scores that are equal are decided
together, so a threshold is only between two distinct scores; accepting all trials and rejecting
all trials are points of the sweep too.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sv_cli.errors import ShapeError, TableError, name_some

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Sweep:
    """Errors at every threshold, from accepting all trials to rejecting all.

    Attributes
    ----------
    values : ndarray of float64, shape (num_distinct,)
        The distinct scores, ascending.
    misses : ndarray of float64, shape (num_distinct + 1,)
        Targets rejected when the `index` lowest distinct scores are rejected; ascending from 0.
    false_alarms : ndarray of float64, shape (num_distinct + 1,)
        Nontargets accepted at the same points; descending to 0.
    """

    values: Floats
    misses: Floats
    false_alarms: Floats

    @property
    def num_target(self) -> float:
        """Number (or total weight) of target trials."""
        return float(self.misses[-1])

    @property
    def num_nontarget(self) -> float:
        """Number (or total weight) of nontarget trials."""
        return float(self.false_alarms[0])

    @cached_property
    def p_miss(self) -> Floats:
        """Miss rate at each point, shape (num_distinct + 1,)."""
        return self.misses / self.num_target

    @cached_property
    def p_fa(self) -> Floats:
        """False-alarm rate at each point, shape (num_distinct + 1,)."""
        return self.false_alarms / self.num_nontarget

    @cached_property
    def thresholds(self) -> Floats:
        """A threshold for each point: halfway between neighbours, -inf and inf at the ends."""
        inner = _between(self.values[:-1], self.values[1:])
        return np.concatenate([[-np.inf], inner, [np.inf]])

    def threshold(self, point: int) -> float:
        """Return the threshold at one point; of 10^8 trials, all would take a gigabyte."""
        if point in (0, len(self.values)):
            return float(np.inf if point else -np.inf)
        return float(_between(self.values[point - 1], self.values[point]))


def _between(low: Floats, high: Floats) -> Floats:
    middle = 0.5 * low + 0.5 * high
    return np.where(middle > low, middle, high)  # neighbouring floats have no middle


def error_rates(scores: ArrayLike, target: ArrayLike) -> Sweep:
    """Return the threshold sweep of scored trials.

    Parameters
    ----------
    scores : array_like of float, shape (num_trials,)
        Higher means more alike.
    target : array_like of bool, shape (num_trials,)
        Whether the two sides are of one speaker.

    Raises
    ------
    ShapeError
        When the two have not the same length.
    TableError
        When a score is not finite, or the trials are all of one class.

    Examples
    --------
    >>> sweep = error_rates([0.1, 0.4, 0.4, 0.9], [False, False, True, True])
    >>> sweep.p_miss.tolist(), sweep.p_fa.tolist()
    ([0.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0])
    """
    values, is_target = check_trials(scores, target)
    order = np.argsort(values)
    values, is_target = values[order], is_target[order]
    del order
    ends = last_of_equal(values)
    values = values[ends]
    rejected_targets = np.cumsum(is_target, dtype=np.int64)[ends]
    ends += 1
    return sweep_of_counts(values, ends, rejected_targets)


def sweep_of_counts(
    values: Floats, rejected: NDArray[np.int64], rejected_targets: NDArray[np.int64]
) -> Sweep:
    """Return the sweep from the trials and targets at or below each distinct score."""
    rejected_nontargets = rejected - rejected_targets
    misses = np.concatenate([[0.0], rejected_targets])
    false_alarms = np.concatenate([[0.0], rejected_nontargets])
    np.subtract(false_alarms[-1], false_alarms, out=false_alarms)
    return Sweep(values, misses, false_alarms)


def last_of_equal(ascending: Floats) -> NDArray[np.int64]:
    """Return the index of the last member of each run of equal values."""
    differs = ascending[1:] != ascending[:-1]
    return np.append(np.flatnonzero(differs), len(ascending) - 1)


def check_trials(scores: ArrayLike, target: ArrayLike) -> tuple[Floats, Bools]:
    """Return scores as float64 and labels as bool, checked for what no metric is defined on."""
    values = np.asarray(scores, dtype=np.float64)
    is_target = np.asarray(target, dtype=np.bool_)
    if values.ndim != 1 or values.shape != is_target.shape:
        raise ShapeError(f"scores {values.shape} and labels {is_target.shape} do not match")
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        named = name_some([f"{index}: {values[index]}" for index in wrong[:5]])
        raise TableError(f"{len(wrong)} of {len(values)} scores are not finite: {named}")
    num_target = int(np.count_nonzero(is_target))
    if num_target in (0, len(values)):
        kind = "nontarget" if num_target == 0 else "target"
        raise TableError(
            f"all {len(values)} trials are {kind} trials",
            hint="error rates need target and nontarget trials",
        )
    return values, is_target
