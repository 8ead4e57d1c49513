"""Score normalisation from tables to tables."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.asnorm import (
    CohortStats,
    Method,
    Selection,
    apply_norm,
    check_cohort,
    check_deviation,
    crossed_stats,
    side_stats,
    top_members,
)
from sv_cli.backend.center import normalize_length, subtract_mean
from sv_cli.backend.cohort_stats_file import StatsTable, read_stats, write_stats
from sv_cli.backend.joining import Pairs, join_pairs
from sv_cli.backend.sides import Side, Sides, read_sides
from sv_cli.backend.speakers import group_means, group_rows
from sv_cli.errors import SettingsError
from sv_cli.tables.embeddings import check_same_model, group_utterances, read_embeddings
from sv_cli.tables.scores import Scores, read_scores, write_scores
from sv_cli.tables.text import read_spk2utt, read_table

DEFAULT_TOP_N = 300

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class NormFiles:
    """Where everything comes from and goes to; tables that are not wanted are None."""

    scores: str
    enroll: str
    test: str
    cohort: str
    out: str
    stats: str | None = None
    use_stats: str | None = None


@dataclass(frozen=True)
class Averages:
    """Tables by which a cohort of utterances and enrolment models are averaged, or None."""

    spk2utt: str | None = None
    utt2spk: str | None = None
    enroll_spk2utt: str | None = None


@dataclass(frozen=True)
class NormOptions:
    """How scores are normalised; `top_n` None is 300 for AS-norm, else the whole cohort."""

    method: Method = "asnorm"
    top_n: int | None = None
    selection: Selection = "own"
    submean: str | None = None
    averages: Averages = Averages()
    allow_missing: bool = False

    def kept(self) -> int | None:
        """Cohort members that are kept, None for all."""
        if self.method == "asnorm" and self.top_n is None:
            return DEFAULT_TOP_N
        return self.top_n

    @property
    def chained(self) -> bool:
        """Whether the two sides of one embedding have different statistics."""
        return self.method in ("zt", "tz")


def normalize_scores(files: NormFiles, options: NormOptions) -> tuple[int, int]:
    """Normalise a table of scores; returns how many were done and left out."""
    _check(files, options)
    raw = read_scores(files.scores)
    known = None if files.use_stats is None else read_stats(files.use_stats)
    if known is not None and _covers(known, raw):
        logs.info(f"statistics of all keys stand in `{files.use_stats}`; no cohort is read")
        side = Side(known.ids, np.empty((len(known.ids), 0), dtype=np.float32))
        sides, cohort = Sides(side, side), np.empty((0, 0), dtype=np.float32)
    else:
        sides, cohort = _read(files, options)
    pairs = join_pairs(
        sides,
        raw.enroll_ids,
        raw.test_ids,
        enroll=raw.enroll,
        test=raw.test,
        allow_missing=options.allow_missing,
    )
    scores = raw.score if pairs.kept is None else raw.score[pairs.kept]
    if options.selection == "other":
        normed = _crossed(scores, sides, pairs, cohort, options)
    else:
        normed = _own(scores, sides, pairs, cohort, options=options, known=known, files=files)
    write_scores(files.out, pairs.as_scores(raw, normed))
    return len(normed), pairs.num_skipped


def _check(files: NormFiles, options: NormOptions) -> None:
    if options.selection == "other" and options.method != "asnorm":
        raise SettingsError("`--selection other` belongs to `--method asnorm`")
    if options.averages.spk2utt is not None and options.averages.utt2spk is not None:
        raise SettingsError("`--spk2utt` and `--utt2spk` say the same; give one")
    one_a_key = options.selection == "own" and not options.chained
    if not one_a_key and (files.stats is not None or files.use_stats is not None):
        raise SettingsError(
            f"`--stats` and `--use-stats` cannot be had with `--method {options.method}` "
            f"and `--selection {options.selection}`: an utterance has no statistics of its own"
        )


def _covers(known: StatsTable, raw: Scores) -> bool:
    return all(key in known.index for ids in (raw.enroll_ids, raw.test_ids) for key in ids)


def _read(files: NormFiles, options: NormOptions) -> tuple[Sides, Vectors]:
    """Both sides and the cohort: less the mean, rows of length 1."""
    sides = read_sides(
        files.enroll,
        files.test,
        submean=options.submean,
        enroll_spk2utt=options.averages.enroll_spk2utt,
        allow_missing=options.allow_missing,
    )
    table = read_embeddings(files.cohort)
    check_same_model(*sides.tables, table)
    ids, cohort = table.ids, table.matrix
    spk2utt = _cohort_groups(options)
    if spk2utt is not None:
        groups = group_rows(spk2utt, table.index, allow_missing=options.allow_missing)
        ids, cohort = groups.ids, group_means(cohort, groups.rows)
    check_cohort(len(ids), options.kept())
    if sides.mean is not None:
        subtract_mean(cohort, sides.mean)
    return sides, normalize_length(cohort, ids, what="cohort embeddings")


def _cohort_groups(options: NormOptions) -> dict[str, list[str]] | None:
    averages = options.averages
    if averages.spk2utt is not None:
        return read_spk2utt(averages.spk2utt)
    if averages.utt2spk is None:
        return None
    return group_utterances(read_table(averages.utt2spk, fields=1, what="utt2spk"))


def _own(
    scores: NDArray[np.float64],
    sides: Sides,
    pairs: Pairs,
    cohort: Vectors,
    *,
    options: NormOptions,
    known: StatsTable | None,
    files: NormFiles,
) -> NDArray[np.float64]:
    """Normalise by the members that each embedding selects itself."""
    enroll, test = _statistics(sides, pairs, cohort, options, known)
    if files.stats is not None:
        _keep(files.stats, sides, pairs, enroll=enroll, test=test, known=known)
    return apply_norm(
        scores,
        enroll,
        test,
        enroll_rows=pairs.enroll_rows,
        test_rows=pairs.test_rows,
        method=options.method,
    )


def _statistics(
    sides: Sides,
    pairs: Pairs,
    cohort: Vectors,
    options: NormOptions,
    known: StatsTable | None,
) -> tuple[CohortStats, CohortStats]:
    """Statistics of every row that a trial uses, on both sides; the other rows are NaN."""
    used = [_used(sides.enroll, pairs.enroll_rows), _used(sides.test, pairs.test_rows)]
    one_side = sides.enroll is sides.test and not options.chained
    if one_side:
        used = [used[0] | used[1]] * 2
    filled = [_known(side, known) for side in (sides.enroll, sides.test)]
    rows = [
        np.flatnonzero(mask & np.isnan(stats.mean))
        for mask, stats in zip(used, filled, strict=True)
    ]
    if len(rows[0]) or len(rows[1]):
        enroll = _take(sides.enroll.matrix, rows[0])
        test = enroll if one_side else _take(sides.test.matrix, rows[1])
        found = side_stats(options.method, enroll, test, cohort, top_n=options.kept())
        for place, stats, new in zip(rows, filled, found, strict=True):
            stats.mean[place], stats.std[place] = new.mean, new.std
    for side, mask, stats in zip((sides.enroll, sides.test), used, filled, strict=True):
        _refuse_flat(side, mask, stats)
    return filled[0], filled[1]


def _used(side: Side, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    mask = np.zeros(len(side.ids), dtype=bool)
    mask[rows] = True
    return mask


def _known(side: Side, known: StatsTable | None) -> CohortStats:
    """Statistics that a table gives; NaN for the other rows."""
    stats = CohortStats(np.full(len(side.ids), np.nan), np.full(len(side.ids), np.nan))
    if known is not None:
        rows = np.array([known.index.get(key, -1) for key in side.ids])
        there = rows >= 0
        stats.mean[there] = known.stats.mean[rows[there]]
        stats.std[there] = known.stats.std[rows[there]]
    return stats


def _take(matrix: Vectors, rows: NDArray[np.integer]) -> Vectors:
    """Rows of a matrix; the matrix itself when they are all."""
    return matrix if len(rows) == len(matrix) else matrix[rows]


def _refuse_flat(side: Side, used: NDArray[np.bool_], stats: CohortStats) -> None:
    rows = np.flatnonzero(used)
    chosen = CohortStats(stats.mean[rows], stats.std[rows])
    check_deviation(chosen, [side.ids[row] for row in rows.tolist()], what="keys")


def _keep(
    target: str,
    sides: Sides,
    pairs: Pairs,
    *,
    enroll: CohortStats,
    test: CohortStats,
    known: StatsTable | None,
) -> None:
    """Write the statistics of all keys that are known now."""
    tables = [] if known is None else [known]
    for side, stats in ((sides.enroll, enroll), (sides.test, test)):
        rows = np.flatnonzero(np.isfinite(stats.mean))
        chosen = CohortStats(stats.mean[rows], stats.std[rows])
        tables.append(StatsTable([side.ids[row] for row in rows.tolist()], chosen))
        if sides.enroll is sides.test:
            break
    write_stats(target, *tables)


def _crossed(
    scores: NDArray[np.float64],
    sides: Sides,
    pairs: Pairs,
    cohort: Vectors,
    options: NormOptions,
) -> NDArray[np.float64]:
    """Normalise each side by the members that the other side selects."""
    kept = check_cohort(len(cohort), options.kept())
    used_left, left = np.unique(pairs.enroll_rows, return_inverse=True)
    used_right, right = np.unique(pairs.test_rows, return_inverse=True)
    enroll, test = _take(sides.enroll.matrix, used_left), _take(sides.test.matrix, used_right)
    by_enroll = top_members(enroll, cohort, top_n=kept)
    by_test = top_members(test, cohort, top_n=kept)
    one = crossed_stats(enroll, cohort, by_test, rows=left, other_rows=right)
    two = crossed_stats(test, cohort, by_enroll, rows=right, other_rows=left)
    every = np.arange(len(scores))
    return apply_norm(scores, one, two, enroll_rows=every, test_rows=every)
