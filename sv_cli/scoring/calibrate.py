"""Calibration, thresholds and decisions, from tables to tables."""

from collections.abc import Iterator
from dataclasses import replace

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
from sv_cli.scoring.labelled_scores import (
    read_scored_trials,
    score_stream,
)
from sv_cli.scoring.score_files import (
    check_scores,
    read_score_model,
    scores_lineage,
    write_score_model,
)
from sv_cli.tables.lineage import (
    Step,
    content_of,
    describe_inputs,
    embed,
    write_lineage,
)
from sv_cli.tables.pairs.scores import iterate_scores, write_parts
from sv_cli.tables.pairs.trials import Trials
from sv_cli.tables.text import encode

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


def calibration_step(model: str) -> Step:
    """Return the step of a calibration file."""
    return Step("calibrate", {"calibration": content_of(model, wanted=None)})
