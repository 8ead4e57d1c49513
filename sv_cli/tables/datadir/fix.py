"""Mending a data directory as fix_data_dir.sh does, and telling what is in it."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sv_cli import logs
from sv_cli.atomic import atomic_path
from sv_cli.errors import TableError, name_some
from sv_cli.tables.datadir.directory import DataDir, extras, invert, sorted_by_speaker
from sv_cli.tables.datadir.validate import keyed_by, validate
from sv_cli.tables.text import decode, read_table, split_fields, write_table

_BACKUP = ".backup"
# Made from the audio: an incomplete one is put aside, not a reason to lose utterances.
_DERIVED = ("utt2dur", "utt2num_frames", "utt2num_samples", "reco2dur")
_TOLERANT = ("text",)


@dataclass
class Fixed:
    """What mending did.

    Attributes
    ----------
    kept, dropped : int
        Utterances.
    notes : list of str
        What was changed, a sentence each.
    """

    kept: int = 0
    dropped: int = 0
    notes: list[str] = field(default_factory=list)


def fix(path: str | Path) -> Fixed:
    """Mend a directory in place: sorted, unique, the same utterances everywhere.

    The files before are kept in `.backup`, or in `.backup.2` and so on where that exists. Of lines
    with the same key the first stays.

    Raises
    ------
    TableError
        When no utterance remains, or the order of speakers cannot be mended.
    """
    path = Path(path)
    if not (path / "utt2spk").is_file():
        raise TableError(f"`{path}/utt2spk`: no such file", hint="each line: utterance, speaker")
    result = Fixed()
    names = [entry.name for entry in path.iterdir() if entry.is_file()]
    tables = {
        name: _read_leniently(path / name, result)
        for name in sorted(names)
        if keyed_by(name) and name != "spk2utt"
    }
    before = len(tables["utt2spk"])
    _intersect(tables, result)
    result.kept = len(tables["utt2spk"])
    result.dropped = before - result.kept
    if not result.kept:
        raise TableError(f"`{path}`: no utterance remains that all tables have")
    if not sorted_by_speaker(tables["utt2spk"]):
        raise TableError(
            f"`{path}/utt2spk`: sorting by utterance does not sort by speaker",
            hint="make the speaker a prefix of the utterance: `svtool data copy --spk-as-prefix`",
        )
    _write(path, tables)
    for note in result.notes:
        logs.info(note)
    return result


def info(path: str | Path) -> dict[str, int | float | str]:
    """Return counts and durations of a directory, in the order to be shown."""
    data = DataDir.load(path)
    sizes = [len(utts) for utts in data.spk2utt.values()]
    facts: dict[str, int | float | str] = {
        "utterances": len(data.utts),
        "speakers": len(sizes),
        "recordings": len(data.wav),
    }
    if sizes:
        facts["utterances_per_speaker_min"] = min(sizes)
        facts["utterances_per_speaker_mean"] = round(sum(sizes) / len(sizes), 2)
        facts["utterances_per_speaker_max"] = max(sizes)
    seconds = sorted(data.utt2dur.values()) if data.utt2dur else []
    if seconds:
        facts["hours"] = round(sum(seconds) / 3600, 4)
        facts["seconds_min"] = round(seconds[0], 3)
        facts["seconds_median"] = round(seconds[len(seconds) // 2], 3)
        facts["seconds_max"] = round(seconds[-1], 3)
    present = [
        name for name in ("segments", "feats.scp", "vad.scp") if (Path(path) / name).exists()
    ]
    facts["tables"] = " ".join(sorted([*present, *extras(Path(path))])) or "-"
    facts["problems"] = len(validate(path))
    return facts


def _read_leniently(path: Path, result: Fixed) -> dict[str, str]:
    """Read what can be read: blank lines, CRLF, a byte order mark and repeats are dropped."""
    with suppress(TableError):  # most tables are sound, and then this is much faster
        return read_table(str(path), fields=1 if path.name == "utt2spk" else None)
    table: dict[str, str] = {}
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    broken = repeated = 0
    for line in raw.split(b"\n"):
        parts = line.split(None, 1)
        if len(parts) == 2 or (parts and path.name in _TOLERANT):
            key, value = decode(parts[0]), decode(b"".join(parts[1:]).rstrip())
            repeated += key in table
            table.setdefault(key, value)
        else:
            broken += bool(parts)
    if broken:
        result.notes.append(f"`{path}`: dropped {broken} lines without a value")
    if repeated:
        result.notes.append(f"`{path}`: dropped {repeated} lines with a key that was there already")
    if path.name == "utt2spk":
        return {utt: split_fields(spk)[0] for utt, spk in table.items()}
    return table


def _intersect(tables: dict[str, dict[str, str]], result: Fixed) -> None:
    """Keep the utterances that utt2spk, the audio and the features all have."""
    kept = set(tables["utt2spk"])
    segments = tables.get("segments")
    if segments is not None and "wav.scp" in tables:
        kept &= {u for u, cut in segments.items() if split_fields(cut)[0] in tables["wav.scp"]}
    elif "wav.scp" in tables:
        kept &= set(tables["wav.scp"])
    for name in ("feats.scp", "vad.scp", "text"):
        if name in tables:
            kept &= set(tables[name])
    utt2spk = tables["utt2spk"]
    recordings = kept
    if segments is not None:
        recordings = {split_fields(segments[utt])[0] for utt in kept}
    known = {"utt": kept, "spk": {utt2spk[utt] for utt in kept}, "reco": recordings}
    for name in list(tables):
        keys = known[keyed_by(name) or "utt"]
        if not tables[name].keys() <= keys:
            tables[name] = {key: value for key, value in tables[name].items() if key in keys}
        if name in _DERIVED and len(tables[name]) < len(keys):
            lost = sorted(keys - set(tables[name]))
            result.notes.append(f"put `{name}` aside: it lacks {len(lost)}: {name_some(lost)}")
            del tables[name]


def _make_backup(path: Path) -> Path:
    """Create the first of `.backup`, `.backup.2`, ... that does not exist: none is overwritten."""
    for number in count(1):
        backup = path / (_BACKUP if number == 1 else f"{_BACKUP}.{number}")
        with suppress(FileExistsError):
            backup.mkdir()
            return backup
    raise AssertionError


def _write(path: Path, tables: dict[str, dict[str, str]]) -> None:
    backup = _make_backup(path)
    for entry in list(path.iterdir()):
        if entry.is_file() and keyed_by(entry.name):
            with atomic_path(backup / entry.name) as temporary:
                shutil.copy2(entry, temporary)
            if entry.name not in tables:
                entry.unlink()
    spk2utt = invert(tables["utt2spk"])
    for name, table in tables.items():
        write_table(str(path / name), table)
    write_table(str(path / "spk2utt"), spk2utt)
