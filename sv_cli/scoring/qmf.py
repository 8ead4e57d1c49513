"""Quality measure functions and their training trials, from tables to tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.qmf import (
    Measure,
    Qmf,
    Quality,
    apply_qmf,
    fit_qmf,
    parse_features,
    trial_features,
)
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.metrics.cllr import cllr
from sv_cli.scoring.cross_validation import CrossValidation, tell_held_out
from sv_cli.scoring.labelled_scores import (
    read_scored_trials,
    score_stream,
)
from sv_cli.scoring.qmf_trials import (
    DurationRange,
    draw_trials,
    speakers_by_duration,
)
from sv_cli.scoring.quality import read_quality
from sv_cli.scoring.score_files import check_scores, read_score_model, write_score_model
from sv_cli.tables.kaldi.specifier import open_output
from sv_cli.tables.lineage import (
    Lineage,
    Step,
    check_same_model,
    content_of,
    describe_inputs,
    differences,
    embed,
    read_embedded,
    read_lineage,
    write_lineage,
)
from sv_cli.tables.pairs.scores import iterate_scores
from sv_cli.tables.pairs.stream import ById, PairChunk, PairIds
from sv_cli.tables.text import encode, read_durations, read_table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QmfFitting:
    """Target prior of a fit, and the penalty on its weights."""

    p_target: float = 0.5
    ridge: float = 1e-5


def train_qmf(
    trials: str,
    scores: str,
    quality: str,
    model: str,
    *,
    features: str,
    fitting: QmfFitting = QmfFitting(),
    validation: CrossValidation | None = None,
    columns: str | None = None,
) -> int:
    """Fit a quality measure function, write it, and return the number of trials."""
    wanted = parse_features(features)
    scored = read_scored_trials(trials, [scores], columns=columns)
    table = read_quality(quality)
    lineage = _with_quality(scores, table)
    enroll = table.rows(scored.trials.enroll_ids)[scored.trials.enroll]
    test = table.rows(scored.trials.test_ids)[scored.trials.test]
    forms = trial_features(table, enroll, test, wanted)
    options = {"p_target": fitting.p_target, "ridge": fitting.ridge}
    made = fit_qmf(scored.scores[0], forms, scored.target, wanted, **options)
    if validation is not None and validation.num_folds:
        rows = np.column_stack([scored.scores[0], forms])
        value = tell_held_out(rows, scored, validation, **options)
        made = made.model_copy(update={"held_out_cllr": value})
    record = {"lineage": embed(lineage), "quality_lineage": embed(table.lineage)}
    write_score_model(model, made.model_copy(update=record))
    before = cllr(scored.scores[0], scored.target)
    logs.info(f"Cllr {before:.4f} before, {made.cllr:.4f} after")
    return len(scored.target)


def apply_qmf_model(
    model: str, scores: str, quality: str, out: str, *, columns: str | None = None
) -> int:
    """Write scores with the quality measures weighed in, and return how many."""
    made = read_score_model(model, Qmf)
    table = read_quality(quality)
    lineage = _with_quality(scores, table)
    check_scores(made, lineage, path=model)
    found = differences(read_embedded(made.quality_lineage, model), table.lineage)
    if made.quality_lineage is not None and table.lineage.steps and found:
        raise TableError(
            f"`{model}` was trained on other measures than `{quality}` holds: {'; '.join(found)}",
            hint="measure both with the same `--submean` and `--stats`",
        )
    stream = iterate_scores(scores, columns=columns)
    forms = _Forms(table, made.features, stream.ids)
    num_done, _ = score_stream(
        stream,
        lambda chunk: replace(chunk, score=apply_qmf(made, chunk.scores, forms.of(chunk))),
        out,
    )
    step = Step("qmf", {"qmf": content_of(model, wanted=None)})
    inputs = describe_inputs(scores=scores, quality=quality, qmf=model)
    write_lineage([out], lineage.then("scores", step, inputs=inputs))
    return num_done


def _with_quality(scores: str, quality: Quality) -> Lineage:
    """Return the lineage of scores, with the model of their quality table."""
    found = read_lineage(scores, wanted=None)
    return replace(found, model=check_same_model(found, quality.lineage))


def draw_calibration_trials(
    data: str, out: str, *, num_trials: int, limits: tuple[float, float], seed: int
) -> int:
    """Write calibration trials of a data directory, and return how many there were pairs for."""
    folder = Path(data)
    if not (folder / "utt2dur").exists():
        raise TableError(f"`{data}` has no utt2dur", hint=f"run `svtool data fix {data}`")
    durations = read_durations(str(folder / "utt2dur"))
    utt2spk = read_table(str(folder / "utt2spk"), fields=1, what="utt2spk")
    missing = [utt for utt in utt2spk if utt not in durations]
    if missing:
        raise TableError(
            f"`{data}`: {len(missing)} utterances not in utt2dur: {name_some(missing)}"
        )
    if not limits[0] < limits[1]:
        raise SettingsError("`--shortest` is not below `--boundary`")
    speakers = speakers_by_duration(utt2spk, durations, DurationRange(*limits))
    drawn = draw_trials(speakers, num_trials=num_trials, seed=seed)
    if not drawn:
        raise TableError(
            f"`{data}`: no two speakers have both short and long utterances",
            hint="move `--boundary` to where the durations are",
        )
    words = [f"{one} {other} {'target' if same else 'nontarget'}\n" for one, other, same in drawn]
    with open_output(out) as stream:
        stream.write(encode("".join(words)))
    return len(drawn)


class _Forms:
    """The forms of quality measures that a stream of pairs has."""

    def __init__(self, quality: Quality, features: Sequence[Measure], ids: PairIds) -> None:
        self._quality = quality
        self._features = features
        self._enroll = ById(ids.enroll, self._quality.rows)
        self._test = ById(ids.test, self._quality.rows)

    def of(self, chunk: PairChunk) -> Floats:
        """Return the forms of each pair, shape (num_pairs, num_forms)."""
        enroll, test = self._enroll.grow()[chunk.enroll], self._test.grow()[chunk.test]
        return trial_features(self._quality, enroll, test, self._features)
