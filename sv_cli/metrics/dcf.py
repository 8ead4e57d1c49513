"""Detection cost: its minimum over thresholds, and its value at the Bayes threshold."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sv_cli.errors import SettingsError
from sv_cli.metrics.sweep import Sweep, check_trials
from sv_cli.settings.model import nearest


@dataclass(frozen=True)
class OperatingPoint:
    """What a miss and a false alarm cost, and how frequent targets are."""

    p_target: float
    c_miss: float = 1.0
    c_fa: float = 1.0

    @property
    def name(self) -> str:
        """`0.01`, or `0.01:10:1` where the costs are not 1."""
        if self.c_miss == self.c_fa == 1.0:
            return f"{self.p_target:g}"
        return f"{self.p_target:g}:{self.c_miss:g}:{self.c_fa:g}"

    @property
    def bayes_threshold(self) -> float:
        """The log-likelihood ratio (nats) from which accepting is the cheaper decision."""
        return math.log(self.c_fa * (1 - self.p_target) / (self.c_miss * self.p_target))

    @property
    def default_cost(self) -> float:
        """The cost of the better of accepting all and rejecting all; 1 after normalisation."""
        return min(self.c_miss * self.p_target, self.c_fa * (1 - self.p_target))


@dataclass(frozen=True)
class PointSet:
    """The operating points of one evaluation, and whether its primary cost is their mean."""

    points: tuple[OperatingPoint, ...]
    primary_is_mean: bool = False
    source: str = ""


POINTS: dict[str, PointSet] = {
    "voxceleb": PointSet(
        (OperatingPoint(0.01), OperatingPoint(0.05)), source="papers on VoxCeleb1-O/E/H"
    ),
    "sre08": PointSet((OperatingPoint(0.01, 10.0, 1.0),), source="NIST SRE 2008 plan"),
    "sre16": PointSet(
        (OperatingPoint(0.01), OperatingPoint(0.005)),
        primary_is_mean=True,
        source="NIST SRE 2016 plan; not equalised over partitions",
    ),
    "voxsrc": PointSet((OperatingPoint(0.05),), source="VoxSRC 2019 to 2023"),
    "cnsrc": PointSet((OperatingPoint(0.01),), source="CNSRC 2022 plan"),
}


def parse_points(text: str) -> PointSet:
    """Return the point set of a name in `POINTS` or of `P_TARGET[:C_MISS:C_FA],...`.

    Raises
    ------
    SettingsError
        For an unknown name, a prior outside (0, 1) or a cost that is not positive.
    """
    if text in POINTS:
        return POINTS[text]
    return PointSet(tuple(_parse_point(part) for part in text.split(",")))


def _parse_point(text: str) -> OperatingPoint:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        known = ", ".join(f"`{name}`" for name in POINTS)
        raise SettingsError(
            f"`--points {text}` is no operating point{nearest(text, POINTS)}",
            hint=f"name one of {known}, or give `P_TARGET[:C_MISS:C_FA],...` such as `0.01,0.05`",
        )
    if not 0 < numbers[0] < 1 or any(cost <= 0 or math.isinf(cost) for cost in numbers[1:]):
        raise SettingsError(f"`--points {text}`: the prior is in (0, 1), the costs are positive")
    return OperatingPoint(*numbers)


def costs(sweep: Sweep, point: OperatingPoint) -> np.ndarray:
    """Return the normalised cost at each point of the sweep, shape (num_distinct + 1,)."""
    miss = point.c_miss * point.p_target / point.default_cost
    false_alarm = point.c_fa * (1 - point.p_target) / point.default_cost
    result = miss * sweep.p_miss
    result += false_alarm * sweep.p_fa
    return result


def min_dcf(sweep: Sweep, point: OperatingPoint) -> tuple[float, float]:
    """Return the least normalised detection cost and its threshold.

    C = c_miss p_target P_miss + c_fa (1 - p_target) P_fa, divided by the cost of the better of
    accepting all and rejecting all, so that 1 is the value of a system that says nothing.
    """
    cost = costs(sweep, point)
    best = int(np.argmin(cost))
    return float(cost[best]), sweep.threshold(best)


def act_dcf(scores: ArrayLike, target: ArrayLike, point: OperatingPoint) -> float:
    """Return the normalised cost of deciding log-likelihood ratios (nats) at the Bayes threshold.

    Above 1 the system does worse than one that says nothing: its scores are not calibrated.
    """
    values, is_target = check_trials(scores, target)
    accepted = values >= point.bayes_threshold
    p_miss = 1.0 - np.count_nonzero(accepted & is_target) / np.count_nonzero(is_target)
    p_fa = np.count_nonzero(accepted & ~is_target) / np.count_nonzero(~is_target)
    cost = point.c_miss * point.p_target * p_miss + point.c_fa * (1 - point.p_target) * p_fa
    return float(cost / point.default_cost)
