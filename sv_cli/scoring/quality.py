"""Quality measures of utterances: taken from tables, written and read as one text table.

The table has a header line `utt MEASURE...` and one line an utterance, `utt VALUE...`, sorted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.asnorm import CohortStats, cohort_stats
from sv_cli.backend.center import check_vectors, magnitudes, subtract_mean
from sv_cli.backend.qmf import Quality
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.scoring.sides import Mean, hash_mean, read_mean
from sv_cli.tables.embeddings import EmbeddingTable, check_same_embeddings, read_embeddings
from sv_cli.tables.kaldi.arrays import iterate_arrays
from sv_cli.tables.kaldi.specifier import open_output
from sv_cli.tables.lineage import (
    Lineage,
    Step,
    check_same_model,
    content_of,
    describe_inputs,
    read_lineage,
    write_lineage,
)
from sv_cli.tables.pairs.columns import read_column_blocks
from sv_cli.tables.text import (
    decode,
    encode,
    parse_number,
    read_durations,
    read_floats,
    read_spk2utt,
    sort_keys,
)

Column = Mapping[str, float]
KEY_NAME = "utt"
_MOST_FIELDS = 64


@dataclass(frozen=True)
class QualitySources:
    """Where measures come from.

    Attributes
    ----------
    inputs : sequence of str
        Data directories (`duration`, and `speech_duration` where there is a vad.scp) and
        embeddings (`magnitude`).
    stats : str or None
        What `asnorm --stats` wrote (`cohort_mean`, `cohort_std`).
    cohort : str or None
        Cohort embeddings: `cohort_mean` and `cohort_std` of inner products in place of cosines.
    top_n : int
        Highest inner products of each utterance that are kept.
    submean : str or None
        Mean, or embeddings whose mean, is subtracted from embeddings and cohort.
    tables : sequence of (name, source)
        Further measures, each a table `utt NUMBER`.
    frame_shift_ms : float
        Of the frames in vad.scp.
    spk2utt : str or None
        Utterances of enrolment models: a model gets the mean of their measures.
    columns : mapping from name to (mapping from utterance to value)
        Measures that were taken elsewhere.
    allow_missing : bool
        Leave out utterances that a source lacks; else they are an error.
    """

    inputs: Sequence[str]
    stats: str | None = None
    cohort: str | None = None
    top_n: int = 300
    submean: str | None = None
    tables: Sequence[tuple[str, str]] = ()
    frame_shift_ms: float = 10.0
    spk2utt: str | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    allow_missing: bool = False


def measure_quality(sources: QualitySources) -> tuple[Quality, int]:
    """Return all measures of the utterances that the first source of all has.

    Returns
    -------
    quality : Quality
    num_skipped : int
        Utterances of the first source that were left out.

    Raises
    ------
    TableError
        Names the utterances that a source lacks, or sources of different models.
    SettingsError
        When a measure comes from two sources, or from none.
    """
    columns: dict[str, Column] = {}
    found, lineage = _columns(sources)
    for name, column in found:
        if name in columns:
            raise SettingsError(f"`{name}` comes from two sources")
        columns[name] = column
    if not columns:
        raise SettingsError("nothing to measure", hint="give a data directory or embeddings")
    models = read_spk2utt(sources.spk2utt) if sources.spk2utt else {}
    filled = {name: _with_models(column, models) for name, column in columns.items()}
    wanted = sort_keys(next(iter(filled.values())))
    ids = [utt for utt in wanted if all(utt in column for column in filled.values())]
    if len(ids) < len(wanted) and (not sources.allow_missing or not ids):
        raise _missing(wanted, filled)
    measures = {name: np.array([column[utt] for utt in ids]) for name, column in filled.items()}
    return Quality(ids, measures, lineage), len(wanted) - len(ids)


def _missing(wanted: Sequence[str], columns: Mapping[str, Column]) -> TableError:
    """Return the error that names the first column with gaps, and where they are."""
    gaps = ((name, [utt for utt in wanted if utt not in columns[name]]) for name in columns)
    name, missing = next(pair for pair in gaps if pair[1])
    return TableError(
        f"{len(missing)} utterances have no `{name}`: {name_some(missing)}",
        hint="`--allow-missing` leaves them out and counts them",
    )


def _columns(sources: QualitySources) -> tuple[list[tuple[str, Column]], Lineage]:
    """Return the measures by name, and their lineage."""
    found: list[tuple[str, Column]] = []
    known: list[Lineage] = []
    values: dict[str, Any] = {}
    for source in sources.inputs:
        if is_data_dir(source):
            found += _of_data_dir(Path(source), sources.frame_shift_ms)
        else:
            table = read_embeddings(source)
            known.append(table.lineage)
            mean = None if sources.submean is None else read_mean(sources.submean, table)
            values["submean"] = hash_mean(mean)
            if mean is not None:
                subtract_mean(table.matrix, mean)
            found.append(("magnitude", _magnitudes(table)))
            if sources.cohort is not None:
                values["cohort inner_product"], values["cohort top_n"] = True, sources.top_n
                content = content_of(sources.cohort)
                if content is not None:
                    values["cohort cohort"] = content
                found += _of_cohort(table, sources.cohort, mean, top_n=sources.top_n)
    if sources.stats is not None:
        stats = read_lineage(sources.stats, wanted=None)
        known.append(stats)
        if stats.steps:
            values |= {f"cohort {name}": value for name, value in stats.steps[-1].values.items()}
        found += _of_stats(sources.stats)
    found += sources.columns.items()
    found += [(name, read_floats(source, what=name)) for name, source in sources.tables]
    inputs = {f"input {n}": source for n, source in enumerate(sources.inputs, 1)}
    return found, Lineage(
        "quality",
        check_same_model(*known),
        (Step("qmf measure", values),),
        inputs=describe_inputs(
            **inputs, stats=sources.stats, submean=sources.submean, cohort=sources.cohort
        ),
    )


def _with_models(column: Column, models: Mapping[str, Sequence[str]]) -> Column:
    """Return the column with the mean over its utterances for each model that it lacks."""
    added = {
        model: float(np.mean([column[utt] for utt in utts]))
        for model, utts in models.items()
        if model not in column and all(utt in column for utt in utts)
    }
    return {**column, **added}


def is_data_dir(source: str) -> bool:
    """Return whether `source` is a data directory, not a table of embeddings."""
    return any((Path(source) / name).exists() for name in ("wav.scp", "utt2spk", "utt2dur"))


def _of_data_dir(data: Path, frame_shift_ms: float) -> list[tuple[str, Column]]:
    if not (data / "utt2dur").exists():
        raise TableError(f"`{data}` has no utt2dur", hint=f"run `svtool data fix {data}`")
    found: list[tuple[str, Column]] = [("duration", read_durations(str(data / "utt2dur")))]
    if (data / "vad.scp").exists():
        frames = iterate_arrays(str(data / "vad.scp"), wanted="vad.scp")
        shift = frame_shift_ms / 1000
        speech = {utt: float(np.count_nonzero(voiced)) * shift for utt, voiced in frames}
        found.append(("speech_duration", speech))
    return found


def _magnitudes(table: EmbeddingTable) -> Column:
    lengths = magnitudes(table.matrix)
    check_vectors(lengths, table.ids)
    return dict(zip(table.ids, lengths.tolist(), strict=True))


def _of_cohort(
    table: EmbeddingTable, cohort: str, mean: Mean | None, *, top_n: int
) -> list[tuple[str, Column]]:
    """Return mean and deviation of the highest inner products with the cohort, as speaker-net."""
    members = read_embeddings(cohort)
    check_same_embeddings(table, members)
    if mean is not None:
        subtract_mean(members.matrix, mean)
    return _stats_columns(table.ids, cohort_stats(table.matrix, members.matrix, top_n=top_n))


def _of_stats(source: str) -> list[tuple[str, Column]]:
    from sv_cli.scoring.asnorm import read_stats

    table = read_stats(source)
    return _stats_columns(table.ids, table.stats)


def _stats_columns(ids: Sequence[str], stats: CohortStats) -> list[tuple[str, Column]]:
    return [
        ("cohort_mean", dict(zip(ids, stats.mean.tolist(), strict=True))),
        ("cohort_std", dict(zip(ids, stats.std.tolist(), strict=True))),
    ]


def write_quality(target: str, quality: Quality) -> None:
    """Write a quality table: 9 significant digits."""
    names = list(quality.measures)
    values = np.stack([quality.measures[name] for name in names], axis=1).tolist()
    lines = [" ".join([KEY_NAME, *names])]
    for utt, row in zip(quality.ids, values, strict=True):
        lines.append(" ".join([utt, *(f"{value:.9g}" for value in row)]))
    with open_output(target) as stream:
        stream.write(encode("\n".join(lines) + "\n"))
    write_lineage([target], quality.lineage)


def read_quality(source: str) -> Quality:
    """Return a quality table.

    Raises
    ------
    TableError
        When there is no header, an utterance repeats, or a value is no number.
    """
    columns: list[list[bytes]] = []
    for block in read_column_blocks(source, allowed=set(range(2, _MOST_FIELDS)), what="quality"):
        columns = columns or [[] for _ in block.columns]
        for column, part in zip(columns, block.columns, strict=True):
            column += part
    header = [decode(column[0]) for column in columns]
    if header[0] != KEY_NAME or len(set(header)) != len(header):
        raise TableError(
            f"`{source}:1`: no header `utt MEASURE...`", hint="make it with `svtool qmf measure`"
        )
    ids = [decode(utt) for utt in columns[0][1:]]
    if len(set(ids)) != len(ids):
        first = {utt: row for row, utt in reversed(list(enumerate(ids)))}
        row = next(row for row, utt in enumerate(ids) if first[utt] != row)
        raise TableError(f"`{source}:{row + 2}`: `{ids[row]}` repeats")
    numbers = [_numbers(column[1:], source) for column in columns[1:]]
    lineage = read_lineage(source, wanted=None)
    return Quality(ids, dict(zip(header[1:], numbers, strict=True)), lineage)


def _numbers(fields: Sequence[bytes], source: str) -> NDArray[np.float64]:
    try:
        if b"_" not in b"".join(fields):  # Python reads `1_0` as 10
            return np.array(list(map(float, fields)))
    except ValueError:
        pass
    row = next(row for row, field in enumerate(fields) if parse_number(field) is None)
    raise TableError(f"`{source}:{row + 2}`: `{decode(fields[row])}` is not a number")


def parse_tables(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return (name, source) of each `NAME=FILE`."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, source) in zip(texts, pairs, strict=True):
        if not name.isidentifier() or not source:
            raise SettingsError(f"`--table {text}` is not `NAME=FILE`")
    return [(name, source) for name, _, source in pairs]
