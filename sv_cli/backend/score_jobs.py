"""Calibration, fusion, quality measures and decisions, from tables to tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from sv_cli.backend.fusion import Fusion, cross_validate, fit_fusion
from sv_cli.backend.qmf import Measure, Qmf, apply_qmf, fit_qmf, parse_features, trial_features
from sv_cli.backend.quality_file import read_quality
from sv_cli.backend.score_model import (
    check_model_hash,
    read_model_hash,
    read_score_model,
    write_score_model,
)
from sv_cli.backend.scored_trials import (
    ScoredTrials,
    check_finite,
    read_scored_trials,
    trial_speakers,
)
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.metrics.cllr import cllr
from sv_cli.metrics.eer import eer
from sv_cli.metrics.sweep import error_rates
from sv_cli.tables.scores import Scores, join, read_scores, write_scores
from sv_cli.tables.specifier import open_output
from sv_cli.tables.text import encode, read_floats, read_table
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
) -> int:
    """Fit a calibration, write it, and return the number of trials that it was fitted on."""
    scored = read_scored_trials(trials, [scores])
    made = fit_calibration(scored.scores[0], scored.target, method=method, p_target=p_target)
    write_score_model(model, made.model_copy(update={"model_hash": read_model_hash(embeddings)}))
    logs.info(
        f"Cllr {made.cllr_before:.4f} before, {made.cllr_after:.4f} after, "
        f"{made.min_cllr:.4f} at best"
    )
    return len(scored.target)


def apply_calibration(model: str, scores: str, out: str, *, embeddings: str | None = None) -> int:
    """Write calibrated scores in the order of the input, and return how many."""
    made = read_score_model(model, Calibration)
    check_model_hash(made.model_hash, read_model_hash(embeddings), path=model, source=embeddings)
    table = _read_finite(scores)
    write_scores(out, replace(table, score=made.apply(table.score)))
    return len(table)


def make_threshold(
    trials: str, scores: str, out: str, *, at: str, embeddings: str | None = None
) -> int:
    """Choose a threshold on labelled scores, write it, and return the number of trials."""
    scored = read_scored_trials(trials, [scores])
    made = choose_threshold(scored.scores[0], scored.target, at)
    write_score_model(out, made.model_copy(update={"model_hash": read_model_hash(embeddings)}))
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
    threshold: str, scores: str, out: str, *, embeddings: str | None = None
) -> tuple[int, int]:
    """Write `enroll test accept|reject`, and return the numbers of accepted and rejected trials."""
    made = read_score_model(threshold, DecisionThreshold)
    source = embeddings
    check_model_hash(made.model_hash, read_model_hash(source), path=threshold, source=source)
    table = _read_finite(scores)
    accepted = table.score >= made.threshold
    words = np.where(accepted, " accept\n", " reject\n").tolist()
    pairs = Trials(table.enroll_ids, table.test_ids, table.enroll, table.test).pairs()
    lines = [f"{one} {other}{word}" for (one, other), word in zip(pairs, words, strict=True)]
    with open_output(out) as stream:
        stream.write(encode("".join(lines)))
    logs.info(f"threshold {made.threshold:.6g} ({made.at}): {expected_errors(made)}")
    num_accepted = int(np.count_nonzero(accepted))
    return num_accepted, len(table) - num_accepted


@dataclass(frozen=True)
class CrossValidation:
    """How a fusion is tried on speakers that it was not trained on; no folds for not at all."""

    num_folds: int = 0
    seed: int = 0
    utt2spk: tuple[str, ...] = ()


def train_fusion(
    trials: str,
    sources: Sequence[str],
    model: str,
    *,
    p_target: float = 0.5,
    validation: CrossValidation | None = None,
) -> int:
    """Fit a fusion, write it, and return the number of trials."""
    scored = read_scored_trials(trials, sources)
    columns = scored.scores.T
    made = fit_fusion(columns, scored.target, scored.names, p_target=p_target)
    if validation is not None and validation.num_folds:
        made = _validated(made, scored, validation)
    write_score_model(model, made)
    for name, weight in zip(made.systems, made.weights, strict=True):
        logs.info(f"weight {weight:.5g} for {name}")
    logs.info(f"Cllr {made.cllr:.4f}")
    return len(scored.target)


def _validated(made: Fusion, scored: ScoredTrials, validation: CrossValidation) -> Fusion:
    """Return the fusion with the Cllr of held-out speakers; say it beside each system's EER."""
    held_out = cross_validate(
        scored.scores.T,
        scored.target,
        trial_speakers(scored.trials, validation.utt2spk),
        num_folds=validation.num_folds,
        p_target=made.p_target,
        seed=validation.seed,
    )
    target = scored.target[held_out.trials]
    value = cllr(held_out.scores, target)
    rates = [
        f"{name} {100 * eer(error_rates(scores, target))[0]:.3f} %"
        for name, scores in zip(
            (*scored.names, "fused"),
            (*scored.scores[:, held_out.trials], held_out.scores),
            strict=True,
        )
    ]
    logs.info(f"held-out speakers, {len(target)} trials: Cllr {value:.4f}, EER {', '.join(rates)}")
    return made.model_copy(update={"held_out_cllr": value})


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


def apply_fusion(model: str, sources: Sequence[str], out: str) -> int:
    """Write fused scores in the order of the first table, and return how many."""
    made = read_score_model(model, Fusion)
    first = _read_finite(sources[0])
    trials = Trials(first.enroll_ids, first.test_ids, first.enroll, first.test)
    columns = [first.score, *(_joined(trials, source) for source in sources[1:])]
    write_scores(out, replace(first, score=made.apply(np.stack(columns, axis=1))))
    return len(first)


def _joined(trials: Trials, source: str) -> Floats:
    try:
        return join(trials, _read_finite(source))
    except TableError as error:
        raise TableError(f"`{source}`: {error.message}", hint=error.hint) from error


def train_qmf(
    trials: str,
    scores: str,
    quality: str,
    model: str,
    *,
    features: str,
    p_target: float = 0.5,
    ridge: float = 1e-5,
) -> int:
    """Fit a quality measure function, write it, and return the number of trials."""
    wanted = parse_features(features)
    scored = read_scored_trials(trials, [scores])
    forms = _forms(scored.trials, quality, wanted)
    made = fit_qmf(scored.scores[0], forms, scored.target, wanted, p_target=p_target, ridge=ridge)
    write_score_model(model, made)
    before = cllr(scored.scores[0], scored.target)
    logs.info(f"Cllr {before:.4f} before, {made.cllr:.4f} after")
    return len(scored.target)


def apply_qmf_model(model: str, scores: str, quality: str, out: str) -> int:
    """Write scores with the quality measures weighed in, and return how many."""
    made = read_score_model(model, Qmf)
    table = _read_finite(scores)
    forms = _forms(table, quality, made.features)
    write_scores(out, replace(table, score=apply_qmf(made, table.score, forms)))
    return len(table)


def draw_calibration_trials(
    data: str, out: str, *, num_trials: int, limits: tuple[float, float], seed: int
) -> int:
    """Write calibration trials of a data directory, and return how many there were pairs for."""
    folder = Path(data)
    if not (folder / "utt2dur").exists():
        raise TableError(f"`{data}` has no utt2dur", hint=f"run `svtool data fix {data}`")
    durations = read_floats(str(folder / "utt2dur"))
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


def _forms(trials: Trials | Scores, quality: str, features: Sequence[Measure]) -> Floats:
    table = read_quality(quality)
    enroll = table.rows(trials.enroll_ids)[trials.enroll]
    test = table.rows(trials.test_ids)[trials.test]
    return trial_features(table, enroll, test, features)


def _read_finite(source: str) -> Scores:
    table = read_scores(source)
    check_finite(table, source)
    return table
