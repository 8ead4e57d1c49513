"""Common Voice: sentences read by volunteers, one folder a language with tables of clips.

Licence: CC0. From: https://commonvoice.mozilla.org/datasets
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.drawn import DrawOptions, write_all
from sv_cli.corpora.files import read_lines
from sv_cli.corpora.listing import Listed
from sv_cli.errors import SettingsError, TableError, name_some

_NEEDED = ("client_id", "path")
_SHORT = 16  # of 128 hexadecimal digits of a client: enough to distinguish 2 ** 32 of them
_GENDERS = {"male": "m", "male_masculine": "m", "female": "f", "female_feminine": "f"}


class CommonVoiceSettings(DrawOptions):
    """Options of `prepare commonvoice`."""

    tables: str = Field(
        "train,dev,test", description="Tables of SOURCE to prepare, without .tsv (or .csv)."
    )


def prepare_common_voice(job: Job, settings: CommonVoiceSettings) -> Prepared:
    """Write OUT/TABLE for each table, with spk2gender, utt2lang and utt2age where they are given.

    A speaker is a client: the first 16 digits of its id. An utterance is the speaker and the name
    of the clip.
    """
    assert job.source is not None
    if not job.source.is_dir():
        raise TableError(f"`{job.source}`: no such folder")
    names = [name.strip() for name in settings.tables.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"`--tables {settings.tables}`: expected `name,name`")
    rows = {name: read_clips(_table(job.source, name)) for name in names}
    speakers = short_ids([row["client_id"] for table in rows.values() for row in table])
    parts = {name: list_clips(table, job.source, speakers) for name, table in rows.items()}
    _warn_shared(parts)
    gender: dict[str, str] = {}
    for table in rows.values():
        for row in table:
            if known := _GENDERS.get(row.get("gender", "").lower()):
                gender.setdefault(speakers[row["client_id"]], known)
    return write_all(parts, job, settings, gender=gender)


def read_clips(path: Path) -> list[dict[str, str]]:
    """Return the lines of a table by column; quotes in sentences are no more than letters.

    Raises
    ------
    TableError
        When a column is missing, or names `file:line` of a line with other columns.
    """
    delimiter = "," if path.suffix == ".csv" else "\t"
    lines = read_lines(path)
    header = lines[0][1].split(delimiter) if lines else []
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise TableError(f"`{path}:1`: no column `{missing[0]}`")
    rows = []
    for where, line in lines[1:]:
        # The last cells may be empty, and the blanks between them were stripped.
        cells = line.split(delimiter)
        cells += [""] * (len(header) - len(cells))
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header) or not row["client_id"] or not row["path"]:
            raise TableError(f"`{where}`: {len(cells)} columns, the header has {len(header)}")
        rows.append(row)
    return rows


def short_ids(clients: Sequence[str]) -> dict[str, str]:
    """Return client -> its first digits, or the whole id where two clients share those."""
    every = sorted(set(clients))
    short = {client[:_SHORT] for client in every}
    if len(short) == len(every):
        return {client: client[:_SHORT] for client in every}
    return {client: client for client in every}


def list_clips(
    rows: Sequence[Mapping[str, str]], source: Path, speakers: Mapping[str, str]
) -> list[Listed]:
    """Return the utterances of a table, unopened."""
    items = []
    for row in rows:
        spk = speakers[row["client_id"]]
        clip = Path(row["path"])
        path = source / "clips" / clip if (source / "clips").is_dir() else source / clip
        lang = row.get("locale") or source.name
        columns = {"lang": lang, "age": row.get("age", "")}
        columns = {key: "_".join(value.split()) for key, value in columns.items() if value}
        items.append(Listed(f"{spk}-{clip.stem}", spk, path, columns=columns))
    return items


def _table(source: Path, name: str) -> Path:
    for suffix in (".tsv", ".csv"):
        if (path := source / f"{name}{suffix}").is_file():
            return path
    present = sorted(path.stem for path in source.glob("*.tsv"))
    raise TableError(
        f"`{source}/{name}.tsv`: no such table",
        hint=f"choose with `--tables`; there are {name_some(present)}",
    )


def _warn_shared(parts: Mapping[str, Sequence[Listed]]) -> None:
    known = {item.spk for item in parts.get("train", ())}
    for name in parts.keys() - {"train"}:
        if shared := known & {item.spk for item in parts[name]}:
            logs.warn(f"{len(shared)} speakers are in `train` and in `{name}`")


CORPUS = Corpus(
    name="commonvoice",
    summary="Common Voice, one language: a directory for each of its tables",
    licence="CC0",
    origin="https://commonvoice.mozilla.org/datasets",
    settings=CommonVoiceSettings,
    prepare=prepare_common_voice,
    source="Folder of a language, with `clips` and `train.tsv`.",
    examples=(
        "svtool prepare commonvoice corpora/commonvoice/ka out/ka",
        "svtool prepare commonvoice corpora/commonvoice/ka out/ka2 --tables dev,test --trials 4 &&"
        " cut -d ' ' -f 2 out/ka2/dev/utt2lang | uniq -c",
    ),
)
