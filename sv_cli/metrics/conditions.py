"""Trials by condition: gender, duration, or any other column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sv_cli.metrics.sweep import Bools


@dataclass(frozen=True)
class Condition:
    """One value of a condition and the trials it is measured on.

    `completed` says that the value occurs with one class only (as `nontarget-cross-gender`) and
    that all trials of the other class were taken.
    """

    name: str
    trials: Bools
    completed: bool


def split_by_condition(labels: Sequence[str], target: Bools) -> Iterator[Condition]:
    """Yield each value that selects a part of the trials, in order of its name.

    Parameters
    ----------
    labels : sequence of str, length num_trials
    target : ndarray of bool, shape (num_trials,)
    """
    names, which = np.unique(np.asarray(labels), return_inverse=True)
    for number, name in enumerate(names):
        chosen = which == number
        num_target = int(np.count_nonzero(target & chosen))
        completed = num_target in (0, int(np.count_nonzero(chosen)))
        if completed:
            chosen = chosen | (target if num_target == 0 else ~target)
        if not chosen.all():
            yield Condition(str(name), chosen, completed)
