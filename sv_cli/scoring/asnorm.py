"""Score normalisation from tables to tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
from sv_cli.backend.speakers import group_means, group_rows
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.scoring.labelled_scores import score_stream
from sv_cli.scoring.sides import (
    Located,
    PairRows,
    Side,
    SideOptions,
    Sides,
    read_groups,
    read_sides,
)
from sv_cli.tables.embeddings import check_same_embeddings, read_embeddings
from sv_cli.tables.lineage import (
    Lineage,
    Step,
    check_same_model,
    content_of,
    describe_inputs,
    differences,
    hash_bytes,
    read_lineage,
    write_lineage,
)
from sv_cli.tables.pairs.scores import iterate_scores
from sv_cli.tables.pairs.stream import PairChunk, PairIds
from sv_cli.tables.text import encode, parse_number, read_rows, sort_keys, write_table

DEFAULT_TOP_N = 300
# How embeddings are compared: the same for scores and cohort.
_OF_SCORES = ("inner_product", "submean")

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class StatsTable:
    """Statistics by key.

    Attributes
    ----------
    ids : list of str
    stats : CohortStats
        One entry a key.
    """

    ids: list[str]
    stats: CohortStats
    index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {key: row for row, key in enumerate(self.ids)})


def read_stats(source: str) -> StatsTable:
    """Read what `asnorm --stats` wrote.

    Raises
    ------
    TableError
        Names the line of a key that repeats, a word that is no number, a deviation that is not
        positive.
    """
    rows = read_rows(source, min_fields=3, what="cohort statistics")
    seen: set[str] = set()
    mean, std = np.empty(len(rows)), np.empty(len(rows))
    for line, (key, first, second) in enumerate(rows):
        if key in seen:
            raise TableError(f"`{source}:{line + 1}`: `{key}` repeats")
        seen.add(key)
        numbers = parse_number(first), parse_number(second)
        if numbers[0] is None or numbers[1] is None or not numbers[1] > 0:
            raise TableError(f"`{source}:{line + 1}`: no mean and deviation: `{first} {second}`")
        mean[line], std[line] = numbers
    return StatsTable([row[0] for row in rows], CohortStats(mean, std))


def write_stats(target: str, *tables: StatsTable) -> None:
    """Write statistics of one or more tables.

    Raises
    ------
    TableError
        When a key is in two tables with different figures.
    """
    rows: dict[str, str] = {}
    for table in tables:
        lines = _lines(table)
        for key, line in lines.items():
            if rows.setdefault(key, line) != line:
                raise TableError(
                    f"`{key}` is an enrolment model and a test utterance with different statistics",
                    hint="give models and utterances different names, or leave out `--stats`",
                )
    write_table(target, rows)


def _lines(table: StatsTable) -> Mapping[str, str]:
    figures = zip(table.stats.mean.tolist(), table.stats.std.tolist(), strict=True)
    return dict(zip(table.ids, [f"{m:.9g} {s:.9g}" for m, s in figures], strict=True))


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
    columns: str | None = None


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
    inner_product: bool = False

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
    if files.use_stats is not None and options.top_n is None:
        steps = read_lineage(files.use_stats, wanted=None).steps
        options = replace(options, top_n=steps[-1].values["top_n"] if steps else None)
    stream = iterate_scores(files.scores, columns=files.columns)
    if options.selection == "other":
        crossed = _Crossed(files, options, stream.ids)
        counts = score_stream(stream, crossed.normalize, files.out)
        _warn_members(files.cohort, crossed.members, stream.ids, crossed.sides)
        write_lineage([files.out], crossed.lineage)
        return counts
    own = _Own(files, options, stream.ids)
    counts = score_stream(stream, own.normalize, files.out)
    _warn_members(files.cohort, own.members, stream.ids, own.sides)
    write_lineage([files.out], own.lineage)
    if own.cohort is None:
        logs.info(f"`{files.use_stats}` has the statistics of all keys; no cohort is read")
    if files.stats is not None:
        own.keep(files.stats)
        stats = replace(own.lineage, kind="cohort statistics", steps=own.lineage.steps[-1:])
        write_lineage([files.stats], stats)
    return counts


def asnorm_step(cohort: str, options: NormOptions, sides: Sides | None) -> Step:
    """Return the step of a normalisation; without `sides`, the mean that they lack is unknown."""
    values: dict[str, Any] = {
        "method": options.method,
        "top_n": options.kept(),
        "selection": options.selection,
    }
    content = _cohort_hash(cohort, options.averages)
    if content is not None:  # out of a pipe it is unknown
        values["cohort"] = content
    if sides is not None:
        made = sides.lineage.steps[-1].values
        values |= {name: made[name] for name in _OF_SCORES}
    return Step("asnorm", values)


def _cohort_hash(cohort: str, averages: Averages) -> str | None:
    sources = [(averages.spk2utt, None), (averages.utt2spk, None), (cohort, "xvector.scp")]
    hashes = [content_of(name, wanted=wanted) for name, wanted in sources if name is not None]
    return None if None in hashes else hash_bytes(*(str(each).encode() for each in hashes))


def _lineage(files: NormFiles, options: NormOptions, sides: Sides) -> Lineage:
    """Return the lineage of normalised scores.

    Raises
    ------
    TableError
        When scores, statistics and embeddings come from different models, or the scores were not
        made as the scores of the cohort are: names both values.
    """
    scores = read_lineage(files.scores, wanted=None)
    step = asnorm_step(files.cohort, options, sides if sides.tables else None)
    tables = [read_lineage(name) for name in (files.enroll, files.test, files.cohort)]
    known = [scores, *tables]
    if files.use_stats is not None:
        stats = read_lineage(files.use_stats, wanted=None)
        known.append(stats)
        if stats.steps:
            _refuse(stats, Lineage(steps=(step,), source="the options"))
            step = replace(step, values={**stats.steps[-1].values, **step.values})
    if scores.command == "score":
        made = {name: step.values[name] for name in _OF_SCORES if name in step.values}
        cohort = Lineage(steps=(Step("score", made),), source=f"the cohort `{files.cohort}`")
        _refuse(replace(scores, steps=scores.steps[-1:]), cohort)
    model = check_same_model(*known)
    inputs = describe_inputs(
        scores=files.scores, enroll=files.enroll, test=files.test, cohort=files.cohort
    )
    return scores.then("scores", step, model=model, inputs=inputs)


def _refuse(one: Lineage, other: Lineage) -> None:
    found = differences(one, other)
    if found:
        raise TableError(
            f"`{one.source}` and {other.source} do not go together: {'; '.join(found)}",
            hint="give `--inner-product`, `--submean`, `--top-n` and the cohort of the scores to "
            "both commands",
        )


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


def _warn_members(cohort: str, members: frozenset[str], ids: PairIds, sides: Sides) -> None:
    """Warn about utterances of the trials that are in the cohort, too."""
    shared = [
        utt
        for utt in members
        if encode(utt) in ids.enroll or encode(utt) in ids.test or utt in sides.enroll.utts
    ]
    if shared:
        logs.warn(
            f"`{cohort}`: {len(shared)} of {len(members)} cohort utterances are in the trials, "
            f"too: {name_some(sort_keys(shared))}; their own scores are among their cohort scores"
        )


def _read(files: NormFiles, options: NormOptions) -> tuple[Sides, Vectors, frozenset[str]]:
    """Both sides and the cohort: less the mean, rows of length 1 unless for the inner product.

    The last are the utterances of the cohort.
    """
    wanted = SideOptions(
        options.submean,
        options.averages.enroll_spk2utt,
        allow_missing=options.allow_missing,
        inner_product=options.inner_product,
    )
    sides = read_sides(files.enroll, files.test, wanted)
    table = read_embeddings(files.cohort)
    check_same_embeddings(*sides.tables, table)
    ids, cohort = table.ids, table.matrix
    members = frozenset(ids)
    spk2utt = read_groups(options.averages.spk2utt, options.averages.utt2spk)
    if spk2utt is not None:
        groups = group_rows(spk2utt, table.index, allow_missing=options.allow_missing)
        members &= {utt for utts in spk2utt.values() for utt in utts}
        ids, cohort = groups.ids, group_means(cohort, groups.rows)
    check_cohort(len(ids), options.kept())
    return sides, sides.make_ready(cohort, ids, what="cohort embeddings"), members


class _Own:
    """Normalises by the members that each embedding selects itself.

    The statistics of an embedding are worked out when it is first met. While a table of statistics
    has all keys, neither embeddings nor the cohort are read.
    """

    def __init__(self, files: NormFiles, options: NormOptions, ids: PairIds) -> None:
        self._files, self._options, self._ids = files, options, ids
        self._known = None if files.use_stats is None else read_stats(files.use_stats)
        if self._known is None:
            self._use(*_read(files, options))
        else:
            side = Side(self._known.ids, np.empty((len(self._known.ids), 0), dtype=np.float32))
            self._use(Sides(side, side), None, frozenset())

    def _use(self, sides: Sides, cohort: Vectors | None, members: frozenset[str]) -> None:
        self.sides, self.cohort, self.members = sides, cohort, members
        self.lineage = _lineage(self._files, self._options, sides)
        allow_missing = cohort is None or self._options.allow_missing
        self._pairs = PairRows(sides, self._ids, allow_missing=allow_missing)
        self._stats = [_known(side, self._known) for side in (sides.enroll, sides.test)]

    def normalize(self, chunk: PairChunk) -> PairChunk:
        """Return a chunk with normalised scores."""
        found = self._pairs.find(chunk)
        if self.cohort is None and not self._pairs.complete:
            self._use(*_read(self._files, self._options))
            found = self._pairs.find(chunk)
        self._fill(found)
        enroll, test = self._stats
        scores = apply_norm(
            found.chunk.scores,
            enroll,
            test,
            enroll_rows=found.enroll,
            test_rows=found.test,
            method=self._options.method,
        )
        return replace(found.chunk, score=scores)

    def _fill(self, found: Located) -> None:
        """Work out the statistics that these pairs need and that are not known; others are NaN."""
        sides, options = self.sides, self._options
        used = [_used(sides.enroll, found.enroll), _used(sides.test, found.test)]
        one_side = sides.enroll is sides.test and not options.chained
        if one_side:
            used = [used[0] | used[1]] * 2
        rows = [
            np.flatnonzero(mask & np.isnan(stats.mean))
            for mask, stats in zip(used, self._stats, strict=True)
        ]
        if self.cohort is not None and (len(rows[0]) or len(rows[1])):
            enroll = _take(sides.enroll.matrix, rows[0])
            test = enroll if one_side else _take(sides.test.matrix, rows[1])
            new = side_stats(options.method, enroll, test, self.cohort, top_n=options.kept())
            for place, stats, made in zip(rows, self._stats, new, strict=True):
                stats.mean[place], stats.std[place] = made.mean, made.std
        for side, mask, stats in zip((sides.enroll, sides.test), used, self._stats, strict=True):
            _refuse_flat(side, mask, stats)

    def keep(self, target: str) -> None:
        """Write the statistics of all keys that are known now."""
        tables = [] if self._known is None else [self._known]
        for side, stats in zip((self.sides.enroll, self.sides.test), self._stats, strict=True):
            rows = np.flatnonzero(np.isfinite(stats.mean))
            chosen = CohortStats(stats.mean[rows], stats.std[rows])
            tables.append(StatsTable([side.ids[row] for row in rows.tolist()], chosen))
            if self.sides.enroll is self.sides.test:
                break
        write_stats(target, *tables)


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


class _Crossed:
    """Normalises each side by the members that the other side selects."""

    def __init__(self, files: NormFiles, options: NormOptions, ids: PairIds) -> None:
        self.sides, self._cohort, self.members = _read(files, options)
        self.lineage = _lineage(files, options, self.sides)
        self._kept = check_cohort(len(self._cohort), options.kept())
        self._pairs = PairRows(self.sides, ids, allow_missing=options.allow_missing)

    def normalize(self, chunk: PairChunk) -> PairChunk:
        """Return a chunk with normalised scores."""
        found = self._pairs.find(chunk)
        cohort, kept = self._cohort, self._kept
        used_left, left = np.unique(found.enroll, return_inverse=True)
        used_right, right = np.unique(found.test, return_inverse=True)
        enroll = _take(self.sides.enroll.matrix, used_left)
        test = _take(self.sides.test.matrix, used_right)
        by_enroll = top_members(enroll, cohort, top_n=kept)
        by_test = top_members(test, cohort, top_n=kept)
        one = crossed_stats(enroll, cohort, by_test, rows=left, other_rows=right)
        two = crossed_stats(test, cohort, by_enroll, rows=right, other_rows=left)
        every = np.arange(len(found.chunk))
        scores = apply_norm(found.chunk.scores, one, two, enroll_rows=every, test_rows=every)
        return replace(found.chunk, score=scores)
