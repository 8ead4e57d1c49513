"""Is it the same speaker? Two recordings, one score, and a decision where a threshold is known."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from sv_cli import logs
from sv_cli.backend.calibration import Calibration, DecisionThreshold
from sv_cli.backend.score_model import check_scores, read_score_model
from sv_cli.errors import SettingsError
from sv_cli.extraction.api import SpeakerModel
from sv_cli.tables.lineage import Lineage, Step

Made = TypeVar("Made", Calibration, DecisionThreshold)


@dataclass(frozen=True)
class Verdict:
    """A score and what follows from it.

    Attributes
    ----------
    score : float
        Similarity in [-1, 1], or the log-likelihood ratio in nats that a calibration makes of it.
    threshold : float or None
        At or above it the speaker is the same; None where none is known.
    """

    score: float
    threshold: float | None

    @property
    def same(self) -> bool | None:
        """Whether it is the same speaker; None where no threshold is known."""
        return None if self.threshold is None else self.score >= self.threshold


def verify(
    model: SpeakerModel,
    enroll: str | Path,
    test: str | Path,
    *,
    threshold: str | None = None,
    calibration: str | None = None,
    p_target: float = 0.5,
) -> Verdict:
    """Return the verdict on two recordings.

    Parameters
    ----------
    model : SpeakerModel
    enroll, test : str or Path
        Recordings.
    threshold : str, optional
        A number, or a file of `svtool calibrate threshold`; otherwise that of Bayes for calibrated
        scores, or the one that was published with the model.
    calibration : str, optional
        File of `svtool calibrate train`: the score becomes a log-likelihood ratio.
    p_target : float
        Prior of the same speaker, for the threshold of Bayes at equal costs.

    Raises
    ------
    AudioError
        When a recording cannot be read or embedded, or contains no usable signal.
    SettingsError, TableError
        When the threshold is no number, or a file is of another kind or another model.
    """
    scale = None if calibration is None else _read(calibration, Calibration, model)
    limit = _threshold(model, threshold, is_calibrated=scale is not None, p_target=p_target)
    score = model.similarity(model.embed_file(enroll), model.embed_file(test))
    if scale is not None:
        score = float(scale.apply([score])[0])
    return Verdict(score, limit)


def _threshold(
    model: SpeakerModel, given: str | None, *, is_calibrated: bool, p_target: float
) -> float | None:
    if given is not None:
        return _number_or_file(given, model, is_calibrated=is_calibrated)
    if is_calibrated:
        return -math.log(p_target / (1.0 - p_target))
    if model.threshold is None:
        logs.warn("no threshold is known for this model: give `--threshold` or `--calibration`")
    else:
        logs.info(f"threshold {model.threshold:g}, as published with the weights")
    return model.threshold


def _number_or_file(given: str, model: SpeakerModel, *, is_calibrated: bool) -> float:
    try:
        value = float(given)
    except ValueError:
        if is_calibrated:
            raise SettingsError(
                "`--threshold FILE` is for scores without `--calibration`", hint="give a number"
            ) from None
        return _read(given, DecisionThreshold, model).threshold
    if not math.isfinite(value):
        raise SettingsError(f"`--threshold {given}` is no number")
    return value


def _read(path: str, kind: type[Made], model: SpeakerModel) -> Made:
    made = read_score_model(path, kind)
    values: dict[str, Any] = {
        "inner_product": model.info.inner_product,
        "submean": None,
        "transforms": [],
    }
    lineage = Lineage("scores", asdict(model.info), (Step("score", values),), source="the model")
    check_scores(made, lineage, path=path)
    return made
