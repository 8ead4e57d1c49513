"""Is it the same speaker? Two recordings, one score, and a decision where a threshold is known."""

import math
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar

from sv_cli import logs
from sv_cli.backend.calibration import Calibration, DecisionThreshold
from sv_cli.errors import SettingsError
from sv_cli.scoring.score_files import check_scores, read_score_model
from sv_cli.tables.lineage import Lineage, Step

if TYPE_CHECKING:
    from sv_cli.extraction.api import SpeakerModel

Name = str | PathLike[str]
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
    threshold_source : str or None
        Where it comes from: `given`, a file, `published with the weights`, or `p_target 0.01`.
    """

    score: float
    threshold: float | None
    threshold_source: str | None = None

    @property
    def same(self) -> bool | None:
        """Whether it is the same speaker; None where no threshold is known."""
        return None if self.threshold is None else self.score >= self.threshold


def verify(
    model: "SpeakerModel",
    enroll: Name,
    test: Name,
    *,
    threshold: float | Name | None = None,
    calibration: Name | None = None,
    p_target: float = 0.5,
) -> Verdict:
    """Return the verdict on two recordings.

    Parameters
    ----------
    model : SpeakerModel
    enroll, test : str or path
        Recordings.
    threshold : float, str or path, optional
        A number, or a file of `svtool calibrate threshold`; otherwise that of Bayes for calibrated
        scores, or the one that was published with the model.
    calibration : str or path, optional
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
    limit, source = _threshold(model, threshold, is_calibrated=scale is not None, p_target=p_target)
    score = model.similarity(model.embed_file(enroll), model.embed_file(test))
    if scale is not None:
        score = float(scale.apply([score])[0])
    return Verdict(score, limit, source)


def _threshold(
    model: "SpeakerModel", given: float | Name | None, *, is_calibrated: bool, p_target: float
) -> tuple[float | None, str | None]:
    """Return the threshold and where it comes from."""
    if given is not None:
        return _number_or_file(given, model, is_calibrated=is_calibrated)
    if is_calibrated:
        if not 0 < p_target < 1:
            raise SettingsError(f"p_target {p_target:g} is not inside (0, 1)")
        return -math.log(p_target / (1.0 - p_target)), f"p_target {p_target:g}"
    if model.threshold is None:
        logs.warn("no threshold is known for this model: give `--threshold` or `--calibration`")
        return None, None
    logs.info(f"threshold {model.threshold:g}, as published with the weights")
    return model.threshold, "published with the weights"


def _number_or_file(
    given: float | Name, model: "SpeakerModel", *, is_calibrated: bool
) -> tuple[float, str]:
    try:
        value = float(given)  # type: ignore[arg-type]  # a path is no number
    except (TypeError, ValueError):
        if is_calibrated:
            raise SettingsError(
                "`--threshold FILE` is for scores without `--calibration`", hint="give a number"
            ) from None
        name = str(given)
        return _read(name, DecisionThreshold, model).threshold, name
    if not math.isfinite(value):
        raise SettingsError(f"`--threshold {given}` is no number")
    return value, "given"


def _read(path: Name, kind: type[Made], model: "SpeakerModel") -> Made:
    made = read_score_model(fspath(path), kind)
    values: dict[str, Any] = {
        "inner_product": model.info.inner_product,
        "submean": None,
        "transforms": [],
    }
    lineage = Lineage("scores", asdict(model.info), (Step("score", values),), source="the model")
    check_scores(made, lineage, path=fspath(path))
    return made
