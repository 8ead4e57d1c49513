"""Calibration, fusion, quality measures and decisions, from tables to tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.calibration import (
    Calibration,
    DecisionThreshold,
    Method,
    choose_threshold,
    fit_calibration,
)
from sv_cli.backend.calibration_trials import (
    DurationRange,
    draw_trials,
    speakers_by_duration,
)
from sv_cli.backend.cross_validation import CrossValidation, tell_held_out
from sv_cli.backend.fusion import Fusion, fit_fusion
from sv_cli.backend.qmf import (
    Measure,
    Qmf,
    Quality,
    apply_qmf,
    fit_qmf,
    parse_features,
    trial_features,
)
from sv_cli.backend.quality_file import read_quality
from sv_cli.backend.score_model import (
    check_scores,
    read_score_model,
    scores_lineage,
    write_score_model,
)
from sv_cli.backend.scored_trials import (
    read_scored_trials,
)
from sv_cli.backend.trial_scores import score_stream
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.metrics.cllr import cllr
from sv_cli.tables.lineage import (
    Lineage,
    Step,
    check_same_model,
    content_of,
    describe_inputs,
    differences,
    embed,
    fuse_models,
    read_embedded,
    read_lineage,
    write_lineage,
)
from sv_cli.tables.pair_join import iterate_joined
from sv_cli.tables.pair_stream import ById, PairChunk, PairIds
from sv_cli.tables.scores import iterate_scores, write_chunks, write_parts
from sv_cli.tables.specifier import open_output
from sv_cli.tables.text import encode, read_durations, read_table
from sv_cli.tables.trials import Trials

Floats = NDArray[np.float64]


def train_calibration(
    trials: str,
    scores: str,
    model: str,
    *,
    method: Method = "logistic",
    p_target: float = 0.5,
    embeddings: str | None = None,
    columns: str | None = None,
) -> int:
    """Fit a calibration, write it, and return the number of trials that it was fitted on."""
    lineage = scores_lineage(scores, embeddings)
    scored = read_scored_trials(trials, [scores], columns=columns)
    made = fit_calibration(scored.scores[0], scored.target, method=method, p_target=p_target)
    write_score_model(model, made.model_copy(update={"lineage": embed(lineage)}))
    logs.info(
        f"Cllr {made.cllr_before:.4f} before, {made.cllr_after:.4f} after, "
        f"{made.min_cllr:.4f} at best"
    )
    return len(scored.target)


def apply_calibration(
    model: str,
    scores: str,
    out: str,
    *,
    embeddings: str | None = None,
    columns: str | None = None,
) -> int:
    """Write calibrated scores in the order of the input, and return how many."""
    made = read_score_model(model, Calibration)
    lineage = scores_lineage(scores, embeddings)
    check_scores(made, lineage, path=model)
    stream = iterate_scores(scores, columns=columns)
    num_done, _ = score_stream(
        stream, lambda chunk: replace(chunk, score=made.apply(chunk.scores)), out
    )
    inputs = describe_inputs(scores=scores, calibration=model)
    write_lineage([out], lineage.then("scores", calibration_step(model), inputs=inputs))
    return num_done


def make_threshold(
    trials: str,
    scores: str,
    out: str,
    *,
    at: str,
    embeddings: str | None = None,
    columns: str | None = None,
) -> int:
    """Choose a threshold on labelled scores, write it, and return the number of trials."""
    lineage = scores_lineage(scores, embeddings)
    scored = read_scored_trials(trials, [scores], columns=columns)
    made = choose_threshold(scored.scores[0], scored.target, at)
    write_score_model(out, made.model_copy(update={"lineage": embed(lineage)}))
    logs.info(f"threshold {made.threshold:.6g}: {expected_errors(made)}")
    return len(scored.target)


def expected_errors(made: DecisionThreshold) -> str:
    """Return the expected error rates of a threshold in words."""
    return (
        f"expect {100 * made.false_accept_rate:.3f} % false accepts "
        f"(up to {100 * made.false_accept_upper:.3f} %) and "
        f"{100 * made.false_reject_rate:.3f} % false rejects "
        f"(up to {100 * made.false_reject_upper:.3f} %)"
    )


def decide_trials(
    threshold: str,
    scores: str,
    out: str,
    *,
    embeddings: str | None = None,
    columns: str | None = None,
) -> tuple[int, int]:
    """Write `enroll test accept|reject`, and return the numbers of accepted and rejected trials."""
    made = read_score_model(threshold, DecisionThreshold)
    lineage = scores_lineage(scores, embeddings)
    check_scores(made, lineage, path=threshold)
    stream = iterate_scores(scores, columns=columns)
    num_accepted = num_trials = 0

    def lines() -> Iterator[bytes]:
        nonlocal num_accepted, num_trials
        for chunk in stream:
            accepted = chunk.scores >= made.threshold
            num_accepted += int(np.count_nonzero(accepted))
            num_trials += len(chunk)
            words = np.where(accepted, " accept\n", " reject\n").tolist()
            pairs = Trials.of_chunk(stream.ids, chunk).pairs()
            rows = zip(pairs, words, strict=True)
            yield encode("".join([f"{one} {other}{word}" for (one, other), word in rows]))

    write_parts(out, lines())
    step = Step("decide", {"threshold": made.threshold})
    inputs = describe_inputs(scores=scores, threshold=threshold)
    write_lineage([out], lineage.then("decisions", step, inputs=inputs))
    logs.info(f"threshold {made.threshold:.6g} ({made.at}): {expected_errors(made)}")
    return num_accepted, num_trials - num_accepted


def train_fusion(
    trials: str,
    sources: Sequence[str],
    model: str,
    *,
    p_target: float = 0.5,
    validation: CrossValidation | None = None,
    columns: str | None = None,
) -> int:
    """Fit a fusion, write it, and return the number of trials."""
    lineages = [read_lineage(source, wanted=None) for source in sources]
    scored = read_scored_trials(trials, sources, columns=columns)
    rows = scored.scores.T
    made = fit_fusion(rows, scored.target, scored.names, p_target=p_target)
    made = made.model_copy(update={"lineages": tuple(map(embed, lineages))})
    if validation is not None and validation.num_folds:
        value = tell_held_out(rows, scored, validation, p_target=p_target)
        made = made.model_copy(update={"held_out_cllr": value})
    write_score_model(model, made)
    for name, weight in zip(made.systems, made.weights, strict=True):
        logs.info(f"weight {weight:.5g} for {name}")
    logs.info(f"Cllr {made.cllr:.4f}")
    return len(scored.target)


def split_output(model: str, names: Sequence[str]) -> tuple[Sequence[str], str]:
    """Return score tables and output of a fusion: one name too many is the output, else stdout."""
    made = read_score_model(model, Fusion)
    num_systems = len(made.weights)
    if len(names) not in (num_systems, num_systems + 1):
        raise SettingsError(
            f"`{model}` fuses {num_systems} systems, {len(names)} score tables were given",
            hint=f"give them in this order: {', '.join(made.systems)}",
        )
    return names[:num_systems], names[num_systems] if len(names) > num_systems else "-"


def apply_fusion(
    model: str, sources: Sequence[str], out: str, *, columns: str | None = None
) -> int:
    """Write fused scores in the order of the first table, and return how many."""
    made = read_score_model(model, Fusion)
    lineages = [read_lineage(source, wanted=None) for source in sources]
    for system, lineage in enumerate(lineages):
        check_scores(made.system(system), lineage, path=model)
    step = Step("fuse", {"fusion": content_of(model, wanted=None)})
    return _write_fused(sources, lineages, made.apply, out, step, columns=columns)


def average_scores(
    sources: Sequence[str], out: str, *, weights: str = "", columns: str | None = None
) -> int:
    """Write the weighted mean of the scores of several systems, and return how many.

    Parameters
    ----------
    sources : sequence of str
        Score tables, joined by key, in the order of the first.
    out : str
    weights : str
        One number for each table with commas between, brought to a sum of 1; empty takes all alike.

    Raises
    ------
    SettingsError
        When there are fewer than two tables, or the weights do not belong to them.
    """
    if len(sources) < 2:
        raise SettingsError("a mean takes two score tables or more, and the output last")
    shares = _parse_shares(weights, len(sources))
    lineages = [read_lineage(source, wanted=None) for source in sources]
    step = Step("fuse mean", {"weights": shares.tolist()})
    return _write_fused(sources, lineages, lambda rows: rows @ shares, out, step, columns=columns)


def _parse_shares(text: str, count: int) -> Floats:
    try:
        numbers = np.array([float(part) for part in text.split(",")] if text else [1.0] * count)
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count or not (np.isfinite(numbers).all() and numbers.sum() > 0):
        raise SettingsError(
            f"`--weights {text}`: not {count} numbers with a sum above 0",
            hint="give one for each score table, as `2,1`",
        )
    shares: Floats = numbers / numbers.sum()
    return shares


def _write_fused(
    sources: Sequence[str],
    lineages: Sequence[Lineage],
    fuse: Callable[[Floats], Floats],
    out: str,
    step: Step,
    *,
    columns: str | None,
) -> int:
    """Write what `fuse` makes of rows of scores (num_trials, num_systems), first table's order."""
    first = iterate_scores(sources[0], columns=columns)
    others = [iterate_scores(source, ids=first.ids, columns=columns) for source in sources[1:]]
    fused = (
        replace(chunk, score=fuse(np.stack([chunk.scores, *scores], axis=1)))
        for chunk, scores in iterate_joined(first, others)
    )
    num_done = write_chunks(out, first.ids, fused)
    inputs = describe_inputs(**{f"system {n}": source for n, source in enumerate(sources, 1)})
    steps = [[asdict(each) for each in lineage.steps] for lineage in lineages]
    step = replace(step, values={**step.values, "systems": steps})
    write_lineage([out], Lineage("scores", fuse_models(lineages), (step,), inputs))
    return num_done


def calibration_step(model: str) -> Step:
    """Return the step of a calibration file."""
    return Step("calibrate", {"calibration": content_of(model, wanted=None)})


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
