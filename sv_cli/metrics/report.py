"""Every number for one score set, with the counts of its trials."""

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sv_cli.metrics.cllr import cllr, min_cllr
from sv_cli.metrics.dcf import OperatingPoint, PointSet, act_dcf, min_dcf
from sv_cli.metrics.eer import eer, kaldi_eer
from sv_cli.metrics.sweep import Sweep, error_rates

Interval = tuple[float, float]


@dataclass(frozen=True)
class Threshold:
    """A threshold, what it is for, and the error rates it has on these trials."""

    at: str
    threshold: float
    p_miss: float
    p_fa: float


@dataclass(frozen=True)
class Cost:
    """Least and actual normalised detection cost at one operating point."""

    point: OperatingPoint
    min_dcf: float
    act_dcf: float


@dataclass(frozen=True)
class Report:
    """What `eval` says of one score set; rates are fractions, Cllr is in bits."""

    name: str
    num_target: int
    num_nontarget: int
    eer: float
    costs: tuple[Cost, ...]
    cllr: float
    min_cllr: float
    thresholds: tuple[Threshold, ...]
    kaldi_eer: float | None = None
    primary_min_dcf: float | None = None
    primary_act_dcf: float | None = None
    condition: str | None = None
    completed: bool = False
    intervals: dict[str, Interval] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain types: infinite thresholds become null, points carry their name."""
        record = asdict(self)
        for cost, made in zip(self.costs, record["costs"], strict=True):
            made["point"] = {"name": cost.point.name, **made["point"]}
        for made in record["thresholds"]:
            if not isfinite(made["threshold"]):
                made["threshold"] = None
        return record


def report(
    scores: ArrayLike,
    target: ArrayLike,
    points: PointSet,
    *,
    name: str = "scores",
    false_alarm_rates: tuple[float, ...] = (),
    with_kaldi_eer: bool = False,
) -> Report:
    """Return every number for one score set.

    Parameters
    ----------
    scores : array_like of float, shape (num_trials,)
    target : array_like of bool, shape (num_trials,)
    points : PointSet
        Operating points of the detection cost.
    false_alarm_rates : tuple of float
        Rates to find thresholds for.

    Raises
    ------
    TableError
        When a score is not finite, or the trials are all of one class.
    """
    sweep = error_rates(scores, target)
    equal, _ = eer(sweep)
    costs = tuple(
        Cost(point, min_dcf(sweep, point)[0], act_dcf(scores, target, point))
        for point in points.points
    )
    mean = points.primary_is_mean
    return Report(
        name=name,
        num_target=int(sweep.num_target),
        num_nontarget=int(sweep.num_nontarget),
        eer=equal,
        costs=costs,
        cllr=cllr(scores, target),
        min_cllr=min_cllr(sweep),
        thresholds=tuple(_thresholds(sweep, points, false_alarm_rates)),
        kaldi_eer=kaldi_eer(scores, target)[0] if with_kaldi_eer else None,
        primary_min_dcf=float(np.mean([cost.min_dcf for cost in costs])) if mean else None,
        primary_act_dcf=float(np.mean([cost.act_dcf for cost in costs])) if mean else None,
    )


def _thresholds(
    sweep: Sweep, points: PointSet, false_alarm_rates: tuple[float, ...]
) -> list[Threshold]:
    made = [threshold_at(sweep, "EER", eer(sweep)[1])]
    for point in points.points:
        made.append(threshold_at(sweep, f"minDCF {point.name}", min_dcf(sweep, point)[1]))
    for rate in false_alarm_rates:
        made.append(threshold_at(sweep, f"P_fa {rate:g}", threshold_for_p_fa(sweep, rate)))
    return made


def threshold_at(sweep: Sweep, at: str, threshold: float) -> Threshold:
    """Return `threshold` with the error rates that it has on the trials of the sweep."""
    point = int(np.searchsorted(sweep.values, threshold, side="left"))
    return Threshold(at, threshold, float(sweep.p_miss[point]), float(sweep.p_fa[point]))


def threshold_for_p_fa(sweep: Sweep, rate: float) -> float:
    """Return the lowest threshold whose false-alarm rate is at most `rate`."""
    first = int(np.argmax(sweep.p_fa <= rate))
    return sweep.threshold(first)


def threshold_for_p_miss(sweep: Sweep, rate: float) -> float:
    """Return the highest threshold whose miss rate is at most `rate`."""
    above = int(np.argmax(sweep.p_miss > rate))
    return sweep.threshold(above - 1)
