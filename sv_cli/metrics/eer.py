"""Equal error rate: interpolated on the sweep, and as Kaldi's step function.

The rule: walk the operating points from accepting all trials to rejecting all; between the last
point with P_miss < P_fa and the first with P_miss >= P_fa draw a straight line; the EER is where
the line meets P_miss = P_fa.
"""

import numpy as np
from numpy.typing import ArrayLike

from sv_cli.metrics.sweep import Sweep, check_trials


def eer(sweep: Sweep) -> tuple[float, float]:
    """Return the equal error rate (0 to 1) and the threshold of the operating point nearest to it.

    Examples
    --------
    >>> from sv_cli.metrics.sweep import error_rates
    >>> eer(error_rates([0.1, 0.4, 0.6, 0.9], [False, True, False, True]))
    (0.5, 0.5)
    """
    p_miss, p_fa = sweep.p_miss, sweep.p_fa
    after = int(np.argmax(p_miss >= p_fa))
    gaps = np.abs(p_miss[after - 1 : after + 1] - p_fa[after - 1 : after + 1])
    nearest = after if gaps[1] <= gaps[0] else after - 1
    return interpolated_eer(p_miss, p_fa), sweep.threshold(nearest)


def interpolated_eer(p_miss: np.ndarray, p_fa: np.ndarray) -> float:
    """Return the equal error rate of operating points that go from (0, 1) to (1, 0)."""
    after = int(np.argmax(p_miss >= p_fa))
    before = after - 1
    above = p_fa[before] - p_miss[before]
    below = p_miss[after] - p_fa[after]
    share = above / (above + below)
    return float(p_miss[before] + share * (p_miss[after] - p_miss[before]))


def kaldi_eer(scores: ArrayLike, target: ArrayLike) -> tuple[float, float]:
    """Return the equal error rate and threshold as Kaldi's `compute-eer` defines them.

    A step function of 1 / num_target: the share of targets below the lowest target score that
    exceeds the nontarget score at the same rank from the top. It is biased upwards on small lists.

    Source: Kaldi 5.5, src/ivectorbin/compute-eer.cc.
    """
    values, is_target = check_trials(scores, target)
    targets, nontargets = np.sort(values[is_target]), np.sort(values[~is_target])
    position = np.arange(len(targets))
    # the same order of operations as Kaldi's: product first, then the quotient, then truncation
    accepted = (len(nontargets) * position * 1.0 / len(targets)).astype(np.int64)
    rival = nontargets[np.maximum(len(nontargets) - 1 - accepted, 0)]
    above = rival < targets
    above[-1] = True
    first = int(np.argmax(above))
    return first / len(targets), float(targets[first])
