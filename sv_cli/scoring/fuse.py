"""Fusion of systems, from tables to tables."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.fusion import Fusion, fit_fusion
from sv_cli.errors import SettingsError
from sv_cli.scoring.cross_validation import CrossValidation, tell_held_out
from sv_cli.scoring.labelled_scores import (
    read_scored_trials,
)
from sv_cli.scoring.score_files import (
    check_scores,
    read_score_model,
    write_score_model,
)
from sv_cli.tables.lineage import (
    Lineage,
    Step,
    content_of,
    describe_inputs,
    embed,
    fuse_models,
    read_lineage,
    write_lineage,
)
from sv_cli.tables.pairs.join import iterate_joined
from sv_cli.tables.pairs.scores import iterate_scores, write_chunks

Floats = NDArray[np.float64]


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
