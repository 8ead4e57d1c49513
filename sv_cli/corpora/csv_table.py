"""A table of recordings with a header line: a column of paths, a column of speakers, and more.

Licence: that of the recordings. From: your own disk.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.errors import TableError, name_some
from sv_cli.settings.model import Settings, nearest

if TYPE_CHECKING:
    from sv_cli.corpora.listing import Listed

_DELIMITERS = (",", "\t", ";", "|", " ")
_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}


class CsvSettings(Settings):
    """Options of `prepare csv`: the names of the columns."""

    path_column: str = Field("path", description="Column of audio paths, from SOURCE's folder.")
    spk_column: str = Field("spk", description="Column of speakers.")
    utt_column: str = Field("utt", description="Column of utterance ids, if there is one.")
    start_column: str = Field("start", description="Column of segment starts in s, if any.")
    end_column: str = Field("end", description="Column of segment ends in s, if any.")
    gender_column: str = Field("gender", description="Column of genders (m, f), if any.")
    delimiter: str = Field("", description="Character between columns [default: found out].")


@dataclass(frozen=True)
class Row:
    """One line of the table, its cells by column."""

    where: str
    cells: dict[str, str]


def prepare_csv(job: Job, settings: CsvSettings) -> Prepared:
    """Write a data directory of the recordings that a table lists.

    Raises
    ------
    TableError
        Names the columns present when one is missing, and `file:line` of a wrong cell.
    """
    from sv_cli.corpora.listing import measure, write_data_dir

    assert job.source is not None
    rows = read_rows(job.source, settings)
    items = list_rows(rows, job.source.parent, settings)
    measured = measure(items, job)
    gender = _genders(rows, items, settings)
    write_data_dir(measured, job.out, job, gender=gender)
    return Prepared(len(measured.items), measured.num_skipped, (job.out,))


def read_rows(source: Path, settings: CsvSettings) -> list[Row]:
    """Return the lines of a table; a byte order mark and empty lines are passed over."""
    try:
        with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            text = stream.read()
    except OSError as error:
        raise TableError(f"`{source}`: {error.strerror}") from error
    lines = text.splitlines()
    if not lines:
        raise TableError(f"`{source}`: empty, not even a header line")
    delimiter = settings.delimiter or sniff_delimiter(lines[0])
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    header = [name.strip() for name in next(reader)]
    _check_header(source, header, settings)
    rows = []
    for cells in reader:
        where = f"{source}:{reader.line_num}"
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise TableError(f"`{where}`: {len(cells)} columns, the header has {len(header)}")
        named = zip(header, (cell.strip() for cell in cells), strict=True)
        rows.append(Row(where, dict(named)))
    if not rows:
        raise TableError(f"`{source}`: no line below the header")
    return rows


def sniff_delimiter(header: str) -> str:
    """Return the delimiter of a header line: the most frequent of comma, tab, `;`, `|`, blank.

    Examples
    --------
    >>> sniff_delimiter("path;speaker, or label;start")
    ';'
    """
    # Commas and blanks are also found within names: on equal counts the rarer sign wins.
    rank = {delimiter: place for place, delimiter in enumerate((" ", ",", "|", ";", "\t"))}
    return max(_DELIMITERS, key=lambda sign: (header.count(sign), rank[sign]))


def list_rows(rows: Sequence[Row], folder: Path, settings: CsvSettings) -> "list[Listed]":
    """Return the utterances of the lines, their files unopened."""
    from sv_cli.corpora.ids import speaker_ids, utterance_ids
    from sv_cli.corpora.listing import Listed

    for row in rows:
        if not row.cells[settings.spk_column] or not row.cells[settings.path_column]:
            raise TableError(f"`{row.where}`: no speaker or no path")
    speakers = speaker_ids(row.cells[settings.spk_column] for row in rows)
    owners = [speakers[row.cells[settings.spk_column]] for row in rows]
    spans = [_span(row, settings) for row in rows]
    names = [_name(row, span, settings) for row, span in zip(rows, spans, strict=True)]
    own = set(vars(settings).values())
    columns = [
        {"_".join(k.split()): "_".join(v.split()) for k, v in row.cells.items() if k not in own}
        for row in rows
    ]
    utts = utterance_ids(owners, names)
    return [
        Listed(utt, spk, folder / row.cells[settings.path_column], *span, extra)
        for utt, spk, row, span, extra in zip(utts, owners, rows, spans, columns, strict=True)
    ]


def _check_header(source: Path, header: list[str], settings: CsvSettings) -> None:
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise TableError(f"`{source}:1`: columns come up twice: {name_some(sorted(twice))}")
    for key, name in vars(settings).items():
        default = CsvSettings.model_fields[key].default
        asked = key in ("path_column", "spk_column") or name != default
        if key != "delimiter" and asked and name not in header:
            flag = "--" + key.replace("_", "-")
            raise TableError(
                f"`{source}:1`: no column `{name}`{nearest(name, header)}; "
                f"there are {name_some(header, limit=20)}",
                hint=f"name it with `{flag}`",
            )


def _span(row: Row, settings: CsvSettings) -> tuple[float | None, float | None]:
    """Start and end of a segment; (None, None) is the whole recording."""
    texts = (row.cells.get(settings.start_column, ""), row.cells.get(settings.end_column, ""))
    try:
        start, end = (float(text) if text else None for text in texts)
    except ValueError as error:
        raise TableError(f"`{row.where}`: start and end are not numbers: {texts}") from error
    if end is not None and end < 0:  # Kaldi's -1: to the end
        end = None
    if start is None and end is None:
        return (0.0, None) if settings.start_column in row.cells else (None, None)
    start = start or 0.0
    if start < 0 or (end is not None and end <= start):
        raise TableError(f"`{row.where}`: the segment from {start:g} to {end} s is empty")
    return start, end


def _name(row: Row, span: tuple[float | None, float | None], settings: CsvSettings) -> str:
    """Return the name of an utterance: its own, or its recording's and the time in 10 ms."""
    if own := row.cells.get(settings.utt_column):
        return own
    path = Path(row.cells[settings.path_column]).with_suffix("")
    name = "-".join(part for part in path.parts if part not in ("/", "..", "."))
    if span[0] is None:
        return name
    end = span[1] if span[1] is not None else 99999.99
    return f"{name}-{round(span[0] * 100):07d}-{round(end * 100):07d}"


def _genders(
    rows: Sequence[Row], items: "Iterable[Listed]", settings: CsvSettings
) -> dict[str, str]:
    genders: dict[str, str] = {}
    unknown = 0
    for row, item in zip(rows, items, strict=True):
        text = row.cells.get(settings.gender_column, "")
        gender = _GENDERS.get(text.lower())
        unknown += bool(text) and gender is None
        if gender and genders.setdefault(item.spk, gender) != gender:
            raise TableError(f"`{row.where}`: speaker `{item.spk}` has two genders")
    if unknown:
        logs.warn(f"{unknown} genders are neither m nor f, left out")
    return genders


CORPUS = Corpus(
    name="csv",
    summary="Recordings listed in a table with a header line",
    licence="that of the recordings",
    origin="your own disk",
    settings=CsvSettings,
    prepare=prepare_csv,
    source="Table with a header; paths in it start from its folder.",
    examples=(
        "svtool prepare csv recordings.csv out/table",
        "svtool prepare csv recordings.csv out/table2 --audio-root . &&"
        " cut -d ' ' -f 2- out/table2/wav.scp | head -n 3",
    ),
)
