"""Scores to log-likelihood ratios (nats), and thresholds with the errors to expect of them."""

import math
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, FiniteFloat

from sv_cli.backend.logistic import Bools, Floats, fit_logistic
from sv_cli.backend.score_model import ScoreModel
from sv_cli.errors import SettingsError, TableError
from sv_cli.metrics.cllr import cllr, min_cllr
from sv_cli.metrics.dcf import OperatingPoint, min_dcf
from sv_cli.metrics.eer import eer
from sv_cli.metrics.pav import pool
from sv_cli.metrics.report import threshold_at, threshold_for_p_fa, threshold_for_p_miss
from sv_cli.metrics.sweep import Sweep, check_trials, error_rates

Method = Literal["logistic", "pav"]


class Calibration(ScoreModel):
    """A map from scores to log-likelihood ratios.

    `logistic` is scale * score + offset; `pav` is linear between the `knots` (score, llr).
    """

    kind_name: ClassVar[str] = "calibration"

    kind: Literal["calibration"] = "calibration"
    method: Method = "logistic"
    scale: FiniteFloat = 1.0
    offset: FiniteFloat = 0.0
    knots: tuple[tuple[FiniteFloat, FiniteFloat], ...] = ()
    p_target: float = Field(default=0.5, gt=0, lt=1)
    cllr_before: FiniteFloat
    cllr_after: FiniteFloat
    min_cllr: FiniteFloat

    def apply(self, scores: ArrayLike) -> Floats:
        """Return the log-likelihood ratio (nats) of each score, shape (num_trials,)."""
        values = np.asarray(scores, dtype=np.float64)
        if self.method == "logistic":
            return np.asarray(self.scale * values + self.offset)
        at, llr = np.array(self.knots).T
        return np.asarray(np.interp(values, at, llr))


def fit_calibration(
    scores: ArrayLike, target: ArrayLike, *, method: Method = "logistic", p_target: float = 0.5
) -> Calibration:
    """Return the calibration that minimises the prior-weighted cost on these trials.

    Parameters
    ----------
    scores : array_like of float, shape (num_trials,)
    target : array_like of bool, shape (num_trials,)
    method : {"logistic", "pav"}
        `pav` needs many trials: it bends as it likes where the logistic has two parameters.
    p_target : float
        Target prior that the logistic fit is made for; PAV has no prior.

    Raises
    ------
    TableError
        When a score is not finite, all scores are equal, or the trials are all of one class.
    SettingsError
        When targets have the lower scores.
    """
    values, is_target = check_trials(scores, target)
    if values.min() == values.max():
        raise TableError(
            f"all {len(values)} scores are {values[0]:g}: there is nothing to calibrate",
            hint="were the embeddings of one recording scored, or another column read?",
        )
    sweep = error_rates(values, is_target)
    before = cllr(values, is_target)
    made = Calibration(
        method=method,
        p_target=p_target,
        num_target=int(sweep.num_target),
        num_nontarget=int(sweep.num_nontarget),
        cllr_before=before,
        cllr_after=before,
        min_cllr=min_cllr(sweep),
    )
    if method == "logistic":
        scale, offset = _scale_and_offset(values, is_target, p_target)
        made = made.model_copy(update={"scale": scale, "offset": offset})
    else:
        made = made.model_copy(update={"knots": pav_knots(values, is_target)})
    return made.model_copy(update={"cllr_after": cllr(made.apply(values), is_target)})


def _scale_and_offset(scores: Floats, target: Bools, p_target: float) -> tuple[float, float]:
    fit = fit_logistic(scores[:, None], target, p_target=p_target)
    if fit.weights[0] <= 0:
        raise SettingsError(
            "targets score lower than nontargets", hint="are these distances, not scores?"
        )
    return float(fit.weights[0]), fit.offset


def pav_knots(scores: Floats, target: Bools) -> tuple[tuple[float, float], ...]:
    """Return (score, llr) at both ends of each pooled block, ascending in both.

    One target and one nontarget are added below and above all scores, so that no block is
    one-sided and every ratio is finite (Laplace's rule of succession).
    """
    low, high = float(scores.min()) - 1.0, float(scores.max()) + 1.0
    padded = np.concatenate([scores, [low, low, high, high]])
    labels = np.concatenate([target, [True, False, True, False]])
    sweep = error_rates(padded, labels)
    blocks = pool(sweep)
    prior = math.log(np.count_nonzero(target) / np.count_nonzero(~target))
    llr = np.log(blocks.num_target) - np.log(blocks.num_nontarget) - prior
    first, last = sweep.values[blocks.corners[:-1]], sweep.values[blocks.corners[1:] - 1]
    knots: list[tuple[float, float]] = []
    for start, end, height in zip(first.tolist(), last.tolist(), llr.tolist(), strict=True):
        knots += [(start, height)] if start == end else [(start, height), (end, height)]
    return tuple(knots)


class DecisionThreshold(ScoreModel):
    """A threshold, what it was chosen for, and the error rates to expect of it.

    Accept when the score is at or above `threshold`. The rates are those on the trials that the
    threshold was chosen on; `upper` is the end of their 95 % interval over trials.
    """

    kind_name: ClassVar[str] = "threshold"

    kind: Literal["threshold"] = "threshold"
    at: str
    threshold: FiniteFloat
    false_accept_rate: float = Field(ge=0, le=1)
    false_reject_rate: float = Field(ge=0, le=1)
    false_accept_upper: float = Field(ge=0, le=1)
    false_reject_upper: float = Field(ge=0, le=1)


def choose_threshold(scores: ArrayLike, target: ArrayLike, at: str) -> DecisionThreshold:
    """Return the threshold that `at` asks for, with the error rates to expect.

    Parameters
    ----------
    at : str
        `eer`; `min-dcf:P_TARGET`, the cheapest on these trials; `bayes:P_TARGET`, for scores that
        are log-likelihood ratios; `far:RATE` or `frr:RATE`, false accepts or rejects at most
        RATE; `score:VALUE`, a threshold from elsewhere.

    Raises
    ------
    SettingsError
        When `at` is none of these, or no finite threshold keeps to it.
    """
    sweep = error_rates(scores, target)
    threshold = _threshold(sweep, at)
    if not math.isfinite(threshold):
        decision = "rejects" if threshold > 0 else "accepts"
        raise SettingsError(f"`--at {at}` {decision} all trials: no threshold keeps to it")
    measured = threshold_at(sweep, at, threshold)
    counts = int(sweep.num_target), int(sweep.num_nontarget)
    return DecisionThreshold(
        at=at,
        threshold=threshold,
        false_accept_rate=measured.p_fa,
        false_reject_rate=measured.p_miss,
        false_accept_upper=upper_bound(measured.p_fa, counts[1]),
        false_reject_upper=upper_bound(measured.p_miss, counts[0]),
        num_target=counts[0],
        num_nontarget=counts[1],
    )


def upper_bound(rate: float, count: int, *, z: float = 1.96) -> float:
    """Return the upper end of Wilson's interval of a rate measured on `count` trials."""
    centre = rate + z * z / (2 * count)
    spread = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return min(1.0, (centre + spread) / (1 + z * z / count))


def _threshold(sweep: Sweep, at: str) -> float:
    name, _, text = at.partition(":")
    if at == "eer":
        return eer(sweep)[1]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if name in ("min-dcf", "bayes") and 0 < value < 1:
        point = OperatingPoint(value)
        return min_dcf(sweep, point)[1] if name == "min-dcf" else point.bayes_threshold
    if name in ("far", "frr") and 0 <= value < 1:
        return (threshold_for_p_fa if name == "far" else threshold_for_p_miss)(sweep, value)
    if name == "score" and math.isfinite(value):
        return value
    raise SettingsError(
        f"`--at {at}` is no rule for a threshold",
        hint="use `eer`, `min-dcf:0.01`, `bayes:0.01`, `far:0.001`, `frr:0.01` or `score:0.5`",
    )
