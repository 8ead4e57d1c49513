"""Kaldi's data directory: utterances, speakers and recordings.

`utt2spk` is primary and `spk2utt` derived. A recording is an utterance unless `segments` cuts it.
Tables are written sorted as `LC_ALL=C sort` does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sv_cli import logs
from sv_cli.errors import TableError, name_some
from sv_cli.tables.datadir.segments import Segment, parse_segments
from sv_cli.tables.datadir.validate import Problem, keyed_by, validate
from sv_cli.tables.kaldi.specifier import pipes_allowed
from sv_cli.tables.text import read_floats, read_table, sort_key, sort_keys, write_table

__all__ = ["DataDir", "Problem", "Segment", "Utterance", "validate"]

CORE_TABLES = ("wav.scp", "segments", "utt2spk", "spk2utt", "utt2dur", "feats.scp", "vad.scp")


class Utterance(NamedTuple):
    """A recording, or the part of one: seconds from `start` to `end`, None for its bounds."""

    utt: str
    rx: str
    start: float | None = None
    end: float | None = None
    channel: int | None = None


@dataclass
class DataDir:
    """The tables of a data directory, in memory.

    Attributes
    ----------
    path : Path
        Where it was read from, for messages.
    wav : dict
        Recording (or utterance, without segments) -> file, offset or command.
    utt2spk : dict
        Utterance -> speaker.
    segments : dict or None
        Utterance -> part of a recording.
    utt2dur : dict or None
        Utterance -> seconds.
    feats, vad : dict or None
        Utterance -> array.
    extra : dict
        File name -> table, of the others (`text`, `utt2lang`, `spk2gender`, `reco2dur` ...).
    """

    path: Path = Path()
    wav: dict[str, str] = field(default_factory=dict)
    utt2spk: dict[str, str] = field(default_factory=dict)
    segments: dict[str, Segment] | None = None
    utt2dur: dict[str, float] | None = None
    feats: dict[str, str] | None = None
    vad: dict[str, str] | None = None
    extra: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path, *, extra: bool = False) -> "DataDir":
        """Return the tables of a directory, with `extra` also those that only `data` commands use.

        Raises
        ------
        TableError
            When the directory or every table of utterances is missing, or a table is damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise TableError(f"`{path}`: no such data directory")
        data = cls(
            path,
            wav=_optional(path / "wav.scp") or {},
            utt2spk=_optional(path / "utt2spk", fields=1) or {},
            segments=parse_segments(path / "segments") if (path / "segments").exists() else None,
            utt2dur=read_floats(str(path / "utt2dur"), what="utt2dur")
            if (path / "utt2dur").exists()
            else None,
            feats=_optional(path / "feats.scp"),
            vad=_optional(path / "vad.scp"),
        )
        if not data.utts:
            raise TableError(
                f"`{path}`: no utterances", hint="a data directory holds utt2spk and wav.scp"
            )
        if extra:
            data.extra = {name: read_table(str(path / name), what=name) for name in extras(path)}
        return data

    @classmethod
    def from_tables(
        cls,
        *,
        wav: Mapping[str, str],
        utt2spk: Mapping[str, str],
        segments: Mapping[str, tuple[object, ...]] | None = None,
        utt2dur: Mapping[str, float] | None = None,
    ) -> "DataDir":
        """Return a new directory; segments are (recording, start, end[, channel])."""
        cut = None
        if segments is not None:
            cut = {utt: Segment.of(*values) for utt, values in segments.items()}
        dur = dict(utt2dur) if utt2dur is not None else None
        return cls(wav=dict(wav), utt2spk=dict(utt2spk), segments=cut, utt2dur=dur)

    @property
    def utts(self) -> list[str]:
        """The utterances, sorted: those of utt2spk, or of the audio where there are no speakers."""
        return sort_keys(self.utt2spk or self.segments or self.wav or self.feats or {})

    @property
    def speakers(self) -> list[str]:
        """The speakers, sorted."""
        return sort_keys(set(self.utt2spk.values()))

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, all sorted."""
        return invert(self.utt2spk)

    def recordings(self) -> list[Utterance]:
        """Return the place of the audio of each utterance, in the order of `utts`.

        Commands in wav.scp that will run are reported once.

        Raises
        ------
        TableError
            When utterances have no recording: names the first five, and the count.
        """
        utts = self.utts
        report_commands(self.wav, f"{self.path}/wav.scp")
        if self.segments is None:
            _refuse_missing([utt for utt in utts if utt not in self.wav], f"{self.path}/wav.scp")
            return [Utterance(utt, self.wav[utt]) for utt in utts]
        cuts = self.segments
        _refuse_missing([utt for utt in utts if utt not in cuts], f"{self.path}/segments")
        lost = [cuts[utt].recording for utt in utts if cuts[utt].recording not in self.wav]
        _refuse_missing(list(dict.fromkeys(lost)), f"{self.path}/wav.scp")
        return [
            Utterance(utt, self.wav[cut.recording], cut.start, cut.end, cut.channel)
            for utt, cut in ((utt, cuts[utt]) for utt in utts)
        ]

    def tables(self) -> dict[str, dict[str, str]]:
        """Return file name -> table, as they are written."""
        tables: dict[str, dict[str, str] | None] = {
            "wav.scp": self.wav or None,
            "segments": {utt: str(cut) for utt, cut in self.segments.items()}
            if self.segments is not None
            else None,
            "utt2dur": {utt: f"{seconds:.10g}" for utt, seconds in self.utt2dur.items()}
            if self.utt2dur is not None
            else None,
            "feats.scp": self.feats,
            "vad.scp": self.vad,
            **self.extra,
            "spk2utt": {spk: " ".join(utts) for spk, utts in self.spk2utt.items()} or None,
            "utt2spk": self.utt2spk or None,
        }
        return {name: table for name, table in tables.items() if table is not None}

    def write(self, path: str | Path, *, replace: bool = False) -> None:
        """Write all tables, utt2spk last; `replace` removes tables of an earlier directory."""
        path = Path(path)
        tables = self.tables()
        if replace and path.is_dir():
            for name in {*CORE_TABLES, *extras(path)} - set(tables):
                (path / name).unlink(missing_ok=True)
        for name, table in tables.items():
            write_table(str(path / name), table)


def extras(path: Path) -> list[str]:
    """Return the names of the tables in a directory beyond the core ones."""
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    return [name for name in names if keyed_by(name) and name not in CORE_TABLES]


def invert(utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """Return speaker -> utterances, both in the order of `LC_ALL=C sort`."""
    speakers: dict[str, list[str]] = {}
    for utt in sort_keys(utt2spk):
        speakers.setdefault(utt2spk[utt], []).append(utt)
    return {spk: speakers[spk] for spk in sort_keys(speakers)}


def sorted_by_speaker(utt2spk: Mapping[str, str]) -> bool:
    """Return whether sorting by utterance also sorts by speaker, as Kaldi's scripts want."""
    speakers = [sort_key(utt2spk[utt]) for utt in sort_keys(utt2spk)]
    return all(one <= two for one, two in pairwise(speakers))


def _optional(path: Path, *, fields: int | None = None) -> dict[str, str] | None:
    return read_table(str(path), fields=fields, what=path.name) if path.exists() else None


@cache
def _report_command(source: str, command: str, count: int) -> None:
    logs.info(
        f"`{source}`: {count} recordings are commands that run as they are read, the first is "
        f"`{command}`; `--no-pipes` refuses them"
    )


def report_commands(wav: Mapping[str, str], source: str) -> None:
    """Report once, before they run, the commands of a wav.scp."""
    commands = [rx for rx in wav.values() if rx.endswith("|")]
    if commands and pipes_allowed():
        _report_command(source, commands[0], len(commands))


def _refuse_missing(keys: Iterable[str], where: str) -> None:
    keys = list(keys)
    if keys:
        raise TableError(
            f"`{where}` lacks {len(keys)}: {name_some(keys)}",
            hint="see all problems with `svtool data validate`, mend with `svtool data fix`",
        )
