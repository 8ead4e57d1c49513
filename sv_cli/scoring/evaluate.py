"""The reports of `eval`: all systems, by condition, with intervals; and which list was scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError, name_some
from sv_cli.metrics.bootstrap import (
    Replicate,
    Statistic,
    TrialSpeakers,
    confidence_intervals,
    weighted_cllr,
)
from sv_cli.metrics.conditions import Condition, split_by_condition
from sv_cli.metrics.dcf import OperatingPoint, PointSet, min_dcf
from sv_cli.metrics.eer import eer
from sv_cli.metrics.lists import KnownList, candidates, digest_trials
from sv_cli.metrics.report import Report, report, threshold_at
from sv_cli.scoring.labelled_scores import ScoredTrials, trial_speakers
from sv_cli.tables.pairs.trials import Trials
from sv_cli.tables.text import read_rows


@dataclass(frozen=True)
class EvaluationOptions:
    """What `eval` reports in addition to the numbers that it always reports."""

    points: PointSet
    false_alarm_rates: tuple[float, ...] = ()
    kaldi_eer: bool = False
    conditions: str | None = None
    num_replicates: int = 0
    seed: int = 0
    utt2spk: tuple[str, ...] = ()


def evaluate_systems(scored: ScoredTrials, options: EvaluationOptions) -> list[Report]:
    """Return a report of every system on all trials, then of every system by condition."""
    reports = [
        _report(scores, scored.target, name, options)
        for name, scores in zip(scored.names, scored.scores, strict=True)
    ]
    if options.num_replicates:
        speakers = trial_speakers(scored.trials, options.utt2spk)
        reports = [
            replace(one, intervals=_intervals(scores, scored.target, speakers, options))
            for one, scores in zip(reports, scored.scores, strict=True)
        ]
    if options.conditions is not None:
        labels = read_conditions(options.conditions, scored.trials)
        reports += list(_by_condition(scored, labels, options))
    return reports


def _report(
    scores: NDArray[np.float64], target: NDArray[np.bool_], name: str, options: EvaluationOptions
) -> Report:
    return report(
        scores,
        target,
        options.points,
        name=name,
        false_alarm_rates=options.false_alarm_rates,
        with_kaldi_eer=options.kaldi_eer,
    )


def _by_condition(
    scored: ScoredTrials, columns: Sequence[Sequence[str]], options: EvaluationOptions
) -> Iterator[Report]:
    for labels in columns:
        for part in split_by_condition(labels, scored.target):
            for name, scores in zip(scored.names, scored.scores, strict=True):
                yield _report_of(part, scores, scored.target, name, options)


def _report_of(
    part: Condition,
    scores: NDArray[np.float64],
    target: NDArray[np.bool_],
    name: str,
    options: EvaluationOptions,
) -> Report:
    one = _report(scores[part.trials], target[part.trials], name, options)
    return replace(one, condition=part.name, completed=part.completed)


def _intervals(
    scores: NDArray[np.float64],
    target: NDArray[np.bool_],
    speakers: TrialSpeakers,
    options: EvaluationOptions,
) -> dict[str, tuple[float, float]]:
    statistics: dict[str, Statistic] = {
        "eer": lambda drawn: eer(drawn.sweep)[0],
        "cllr": weighted_cllr,
    }
    for point in options.points.points:
        statistics[f"min_dcf {point.name}"] = _min_dcf_of(point)
        statistics[f"act_dcf {point.name}"] = _act_dcf_of(point)
    return confidence_intervals(
        scores,
        target,
        speakers,
        statistics,
        num_replicates=options.num_replicates,
        seed=options.seed,
    )


def _min_dcf_of(point: OperatingPoint) -> Statistic:
    return lambda drawn: min_dcf(drawn.sweep, point)[0]


def _act_dcf_of(point: OperatingPoint) -> Statistic:
    def cost(drawn: Replicate) -> float:
        at = threshold_at(drawn.sweep, "", point.bayes_threshold)
        miss, false_alarm = point.c_miss * point.p_target, point.c_fa * (1 - point.p_target)
        return (miss * at.p_miss + false_alarm * at.p_fa) / point.default_cost

    return cost


def read_conditions(source: str, trials: Trials) -> list[list[str]]:
    """Return the condition columns of `enroll test CONDITION...`, in the order of the trials.

    Raises
    ------
    TableError
        When the trials are not those of the list, or a row has another number of columns.
    """
    rows = read_rows(source, min_fields=3, max_fields=32, what="conditions")
    by_key = {(row[0], row[1]): row[2:] for row in rows}
    if len(by_key) != len(rows) or len({len(row) for row in rows}) > 1:
        problem = "has a trial twice" if len(by_key) != len(rows) else "has rows of several widths"
        raise TableError(f"`{source}` {problem}")
    keys = list(trials.pairs())
    missing = [f"{one} {other}" for one, other in keys if (one, other) not in by_key]
    if missing:
        named = name_some(missing)
        raise TableError(f"`{source}`: {len(missing)} trials have no condition: {named}")
    return [list(column) for column in zip(*[by_key[key] for key in keys], strict=True)]


def recognise_list(scored: ScoredTrials) -> KnownList | None:
    """Return the published list with these counts and, where its hash is known, these trials."""
    target = scored.target
    for known in candidates(len(target), int(np.count_nonzero(target))):
        if known.digest is None or known.digest == _digest(scored.trials, target):
            return known
    return None


def _digest(trials: Trials, target: NDArray[np.bool_]) -> str:
    labelled = zip(trials.pairs(), target.tolist(), strict=True)
    return digest_trials((enroll, test, label) for (enroll, test), label in labelled)


def as_json(scored: ScoredTrials, reports: Sequence[Report], known: KnownList | None) -> Any:
    """Return what `eval --json` prints, as plain types."""
    num_target = int(np.count_nonzero(scored.target))
    return {
        "list": known.name if known else None,
        "list_recognised_by": ("hash" if known.digest else "count") if known else None,
        "num_target": num_target,
        "num_nontarget": len(scored.target) - num_target,
        "num_missing": scored.num_missing,
        "systems": [one.to_json() for one in reports],
    }
