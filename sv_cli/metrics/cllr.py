"""Cost of log-likelihood ratios: as they are, and after the best monotone calibration.

Source: N. Brummer and J. du Preez, "Application-independent evaluation of speaker detection",
Computer Speech and Language 20, 2006.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from sv_cli.metrics.pav import pool
from sv_cli.metrics.sweep import Sweep, check_trials


def cllr(scores: ArrayLike, target: ArrayLike) -> float:
    """Return Cllr (bits) of log-likelihood ratios (nats); 1 is the value of a ratio of 1 for all.

    Cllr = 1/2 [mean over targets of log2(1 + e^-llr) + mean over nontargets of log2(1 + e^llr)]

    Examples
    --------
    >>> cllr([0.0, 0.0], [True, False])
    1.0
    """
    values, is_target = check_trials(scores, target)
    miss_cost = float(np.logaddexp(0.0, -values[is_target]).mean())
    false_alarm_cost = float(np.logaddexp(0.0, values[~is_target]).mean())
    return 0.5 * (miss_cost + false_alarm_cost) / math.log(2)


def min_cllr(sweep: Sweep) -> float:
    """Return the least Cllr (bits) that a monotone map of the scores can reach (PAV)."""
    blocks = pool(sweep)
    llr = blocks.llr
    has_target, has_nontarget = blocks.num_target > 0, blocks.num_nontarget > 0
    miss_cost = blocks.num_target[has_target] @ np.logaddexp(0.0, -llr[has_target])
    false_alarm_cost = blocks.num_nontarget[has_nontarget] @ np.logaddexp(0.0, llr[has_nontarget])
    mean = miss_cost / sweep.num_target + false_alarm_cost / sweep.num_nontarget
    return float(0.5 * mean / math.log(2))
