"""Quality measure functions: a linear model of the score and of what is known of both sides.

Each measure (duration, magnitude of the embedding, mean score against a cohort, ...) of the two
utterances of a trial enters by symmetric forms: min, max, difference (max - min) and ratio
(max / min).

Source: WeSpeaker's and speaker-net's VoxCeleb recipes; Thienpondt et al., "The IDLAB VoxSRC-20
submission", 2021.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from sv_cli.backend.logistic import Bools, Floats, fit_logistic
from sv_cli.backend.score_model import ScoreModel
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.metrics.cllr import cllr
from sv_cli.settings.model import Settings, nearest
from sv_cli.tables.lineage import Lineage

Form = Literal["min", "max", "difference", "ratio"]
FORMS: tuple[Form, ...] = ("min", "max", "difference", "ratio")
Indices = NDArray[np.integer]


class Measure(Settings):
    """One measure of both sides and the forms in which it enters."""

    name: str
    forms: tuple[Form, ...] = Field(min_length=1)
    cap: FiniteFloat | None = None


def _all_forms(name: str, cap: float | None = None) -> Measure:
    return Measure(name=name, forms=FORMS, cap=cap)


FEATURES: dict[str, tuple[Measure, ...]] = {
    # with the score: 13 features
    "wespeaker-voxceleb": (
        _all_forms("duration", 20.0),
        _all_forms("magnitude"),
        _all_forms("cohort_mean"),
    ),
    # with the score: 9 features
    "wespeaker-cnceleb": (_all_forms("magnitude"), _all_forms("cohort_mean")),
    # with the score: 5 features
    "speaker-net": (
        Measure(name="duration", forms=("min", "max")),
        Measure(name="cohort_mean", forms=("min", "max")),
    ),
}


def parse_features(text: str) -> tuple[Measure, ...]:
    """Return the features of a name in `FEATURES` or of `MEASURE[<=CAP][:FORM+FORM],...`.

    Examples
    --------
    >>> parse_features("duration<=20:min+max")
    (Measure(name='duration', forms=('min', 'max'), cap=20.0),)
    """
    if text in FEATURES:
        return FEATURES[text]
    return tuple(_parse_measure(part, text) for part in text.split(","))


def _parse_measure(part: str, text: str) -> Measure:
    head, _, forms = part.partition(":")
    name, _, cap = head.partition("<=")
    chosen = tuple(form for form in FORMS if not forms or form in forms.split("+"))
    unknown = set(forms.split("+")) - set(FORMS) if forms else set()
    try:
        limit = float(cap) if cap else None
    except ValueError:
        limit, unknown = None, {cap}
    if not name or unknown or "-" in name:
        known = ", ".join(f"`{key}`" for key in FEATURES)
        raise SettingsError(
            f"`--features {text}` is no set of features{nearest(text, FEATURES)}",
            hint=f"name one of {known}, or give `duration<=20:min+max,magnitude:difference`",
        )
    return Measure(name=name, forms=chosen, cap=limit)


class Qmf(ScoreModel):
    """Weights of the score and of each form of each measure, and an offset."""

    kind_name: ClassVar[str] = "qmf"

    kind: Literal["qmf"] = "qmf"
    features: tuple[Measure, ...]
    quality_lineage: dict[str, Any] | None = Field(
        default=None, description="lineage of the measures it was trained on"
    )
    score_weight: FiniteFloat
    weights: tuple[FiniteFloat, ...]
    offset: FiniteFloat
    p_target: float = Field(default=0.5, gt=0, lt=1)
    cllr: FiniteFloat
    held_out_cllr: FiniteFloat | None = Field(
        default=None, description="Cllr of folds of speakers that were left out of the training"
    )


class Quality:
    """Quality measures of utterances, by name.

    Parameters
    ----------
    ids : sequence of str, length num_utts
    measures : mapping from name to ndarray of float64, shape (num_utts,)
    lineage : Lineage
    """

    def __init__(
        self, ids: Sequence[str], measures: Mapping[str, Floats], lineage: Lineage | None = None
    ) -> None:
        self.ids = list(ids)
        self.lineage = lineage or Lineage()
        self.measures = dict(measures)
        self._row = {utt: row for row, utt in enumerate(self.ids)}

    def rows(self, utts: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each utterance.

        Raises
        ------
        TableError
            Names the utterances that have no quality measures.
        """
        rows = np.fromiter(map(self._row.get, utts, repeat(-1)), np.int64, len(utts))
        missing = [utts[at] for at in np.flatnonzero(rows < 0).tolist()]
        if missing:
            raise TableError(f"{len(missing)} utterances have no quality: {name_some(missing)}")
        return rows

    def select(self, measure: Measure) -> Floats:
        """Return the capped values of a measure, checked for what its forms are not defined on."""
        if measure.name not in self.measures:
            known = ", ".join(f"`{name}`" for name in self.measures)
            raise TableError(
                f"the quality table has no column `{measure.name}`", hint=f"it has {known}"
            )
        values = self.measures[measure.name]
        if measure.cap is not None:
            values = np.minimum(values, measure.cap)
        wrong = ~np.isfinite(values)
        if "ratio" in measure.forms:
            wrong |= values == 0
        if wrong.any():
            named = name_some([self.ids[row] for row in np.flatnonzero(wrong)])
            raise TableError(
                f"quality `{measure.name}` is zero or not finite for {named}",
                hint="leave the form `ratio` out with `--features`",
            )
        return values


def trial_features(
    quality: Quality, enroll: Indices, test: Indices, features: Sequence[Measure]
) -> Floats:
    """Return the forms of all measures of each trial, shape (num_trials, num_forms).

    Parameters
    ----------
    enroll, test : ndarray of int, shape (num_trials,)
        Rows of `quality` on both sides.
    """
    made = np.empty((sum(len(measure.forms) for measure in features), len(enroll)))
    rows = iter(made)  # one form after the other in memory
    for measure in features:
        values = quality.select(measure)
        one, other = values[enroll], values[test]
        low, high = np.minimum(one, other), np.maximum(one, other)
        for form in measure.forms:
            _fill(form, low, high, out=next(rows))
    return made.T


def _fill(form: Form, low: Floats, high: Floats, *, out: Floats) -> None:
    if form == "difference":
        np.subtract(high, low, out=out)
    elif form == "ratio":
        np.divide(high, low, out=out)
    else:
        out[:] = low if form == "min" else high


def fit_qmf(
    scores: Floats,
    forms: Floats,
    target: Bools,
    features: tuple[Measure, ...],
    *,
    p_target: float = 0.5,
    ridge: float = 1e-5,
) -> Qmf:
    """Return the linear model of score and quality that minimises the prior-weighted cost.

    Parameters
    ----------
    scores : ndarray of float64, shape (num_trials,)
    forms : ndarray of float64, shape (num_trials, num_forms)
        As `trial_features` returns them.
    target : ndarray of bool, shape (num_trials,)
    """
    rows = np.vstack([scores, forms.T]).T
    fit = fit_logistic(rows, target, p_target=p_target, ridge=ridge)
    num_target = int(np.count_nonzero(target))
    return Qmf(
        features=features,
        score_weight=float(fit.weights[0]),
        weights=tuple(fit.weights[1:].tolist()),
        offset=fit.offset,
        p_target=p_target,
        cllr=cllr(fit.apply(rows), target),
        num_target=num_target,
        num_nontarget=len(target) - num_target,
    )


def apply_qmf(model: Qmf, scores: Floats, forms: Floats) -> Floats:
    """Return the log-likelihood ratio (nats) of each trial, shape (num_trials,)."""
    return np.asarray(model.score_weight * scores + forms @ np.array(model.weights) + model.offset)
