"""lhotse's manifests out of our own tables, and tables out of lhotse's manifests.

What a supervision has no field for is in its `custom` under the name of its table, so that the
way there and back gives the same directory.
"""

import gzip
import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sv_cli import logs
from sv_cli.atomic import atomic_open
from sv_cli.audio.info import AudioInfo, audio_info
from sv_cli.audio.recording import locate
from sv_cli.errors import AudioError, SvError, TableError, name_some
from sv_cli.sampling.lhotse_door import load_lhotse
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.datadir.segments import Segment
from sv_cli.tables.datadir.validate import keyed_by
from sv_cli.tables.text import check_key

FILES = ("recordings.jsonl.gz", "supervisions.jsonl.gz", "cuts.jsonl.gz")
# Tables that a supervision has a field for, or that follow from the others.
_FIELDS = {"text": "text", "utt2lang": "language", "spk2gender": "gender"}
_DERIVED = ("wav.scp", "segments", "utt2spk", "spk2utt")
_OPEN_END = "open_end"
_DIGITS = 8  # lhotse's own for seconds


@dataclass(frozen=True)
class Written:
    """How many utterances were written, and which were left out for what reason."""

    num_utts: int
    skipped: dict[str, str]


def to_lhotse(data: DataDir, out: Path, *, audio_root: str | None = None) -> Written:
    """Write recordings, supervisions and cuts (one an utterance) of a data directory.

    Raises
    ------
    SvError
        When no recording could be read, or lhotse is missing.
    """
    lhotse = load_lhotse()
    recordings, skipped = _probe(lhotse, data, audio_root)
    supervisions, cuts = [], []
    customs = _custom_tables(data)
    for utt in data.utts:
        cut = _segment_of(data, utt)
        if cut.recording in recordings:
            supervision = _supervise(lhotse, data, customs, utt, cut, recordings[cut.recording])
            supervisions.append(supervision)
            cuts.append(_cut(lhotse, supervision, recordings[cut.recording]))
    if not cuts:
        raise SvError("no recording could be read", hint="see the warnings above")
    for name, items in zip(FILES, (recordings.values(), supervisions, cuts), strict=True):
        _write(out / name, items)
    return Written(len(cuts), skipped)


def _probe(
    lhotse: Any, data: DataDir, audio_root: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return lhotse's recording of each of ours, and why some have none."""
    recordings, skipped = {}, {}
    with logs.progress("recordings", total=len(data.wav)) as progress:
        for name, rx in data.wav.items():
            try:
                info = audio_info(rx, audio_root=audio_root)
                recordings[name] = _record(lhotse, name, _source(rx, audio_root), info)
            except AudioError as error:
                skipped[name] = error.message
                logs.warn(f"skipped `{name}`: {error.message}")
            progress.advance()
    return recordings, skipped


def _source(rx: str, audio_root: str | None) -> tuple[str, str]:
    """Return lhotse's kind of source, and where it is."""
    rx = rx.strip()
    if rx.endswith("|"):
        return "command", rx[:-1].rstrip()
    path, offset = locate(rx, audio_root=audio_root)
    if offset:
        return "command", f"svtool data play -- {shlex.quote(f'{path}:{offset}')}"
    return "file", str(path)


def _record(lhotse: Any, name: str, source: tuple[str, str], info: AudioInfo) -> Any:
    channels = list(range(info.channels))
    return lhotse.Recording(
        id=name,
        sources=[lhotse.AudioSource(type=source[0], channels=channels, source=source[1])],
        sampling_rate=info.sample_rate,
        num_samples=info.num_samples,
        duration=info.duration,
        channel_ids=channels,
    )


def _custom_tables(data: DataDir) -> dict[str, dict[str, str]]:
    tables = {
        name: table
        for name, table in data.tables().items()
        if name not in _DERIVED and name not in _FIELDS and name != "reco2dur"
    }
    if lost := [name for name in tables if keyed_by(name) not in ("utt", "spk")]:
        logs.warn(f"left out, since supervisions have no place for them: {name_some(lost)}")
    return {name: table for name, table in tables.items() if name not in lost}


def _segment_of(data: DataDir, utt: str) -> Segment:
    if data.segments is None:
        return Segment(utt, 0.0, None)
    if utt not in data.segments:
        raise TableError(
            f"`{data.path}/segments` lacks `{utt}`", hint="mend with `svtool data fix`"
        )
    return data.segments[utt]


def _supervise(
    lhotse: Any,
    data: DataDir,
    customs: dict[str, dict[str, str]],
    utt: str,
    cut: Segment,
    recording: Any,
) -> Any:
    keys = {"utt": utt, "spk": data.utt2spk.get(utt)}
    custom: dict[str, Any] = {
        name: table[key]
        for name, table in customs.items()
        if (key := keys[keyed_by(name) or "utt"]) in table and key is not None
    }
    if data.segments is not None and cut.end is None:
        custom[_OPEN_END] = True
    known = {
        name: data.extra.get(table, {}).get(keys[keyed_by(table) or "utt"] or "")
        for table, name in _FIELDS.items()
    }
    end = recording.duration if cut.end is None else cut.end
    return lhotse.SupervisionSegment(
        id=utt,
        recording_id=recording.id,
        start=cut.start,
        duration=round(end - cut.start, _DIGITS),
        channel=cut.channel or 0,
        speaker=keys["spk"],
        custom=custom or None,
        **known,
    )


def _cut(lhotse: Any, supervision: Any, recording: Any) -> Any:
    end = min(supervision.end, recording.duration)
    return lhotse.MonoCut(
        id=supervision.id,
        start=supervision.start,
        duration=round(end - supervision.start, _DIGITS),
        channel=supervision.channel,
        recording=recording,
        supervisions=[supervision.with_offset(-supervision.start)],
    )


def _write(path: Path, items: Iterable[Any]) -> None:
    with (
        atomic_open(path, "wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream,
    ):
        for item in items:
            stream.write(f"{json.dumps(item.to_dict())}\n".encode())


@dataclass
class _Tables:
    """Tables gathered from supervisions."""

    wav: dict[str, str] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    utt2spk: dict[str, str] = field(default_factory=dict)
    utt2dur: dict[str, float] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    extra: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, recording: Any, supervision: Any, start: float) -> None:
        """Take in a supervision that starts at a time of its recording."""
        utt, speaker = str(supervision.id), supervision.speaker
        if utt in self.utt2spk:
            raise TableError(f"utterance `{utt}` occurs in the manifests twice")
        if not speaker:
            raise TableError(f"utterance `{utt}` has no speaker")
        for name in (utt, speaker, recording.id):
            check_key(name)
        custom = supervision.custom or {}
        duration = supervision.duration
        end = None if custom.get(_OPEN_END) else round(start + duration, _DIGITS)
        several = recording.num_channels > 1
        channel = _first(supervision.channel) if several else None
        self.wav[recording.id] = _specifier(recording)
        self.utt2spk[utt] = speaker
        self.utt2dur[utt] = float(custom.get("utt2dur", f"{duration:.10g}"))
        self.segments[utt] = Segment(recording.id, start, end, channel)
        if start == 0 and not channel and abs(duration - recording.duration) < 0.001:
            self.whole[utt] = recording.id
        fields = {table: getattr(supervision, name) for table, name in _FIELDS.items()}
        tables = {name: str(value) for name, value in custom.items() if keyed_by(name)}
        for name, value in {**fields, **tables}.items():
            if value and name != "utt2dur":
                key = speaker if keyed_by(name) == "spk" else utt
                self.extra.setdefault(name, {}).setdefault(key, value)

    def finish(self) -> DataDir:
        """Return the directory: without segments where each utterance is a recording."""
        if not self.utt2spk:
            raise TableError("the manifests hold no supervisions, so nobody who speaks")
        feats, vad = self.extra.pop("feats.scp", None), self.extra.pop("vad.scp", None)
        by_utt = len(self.whole) == len(self.utt2spk) == len(set(self.whole.values()))
        wav = {utt: self.wav[name] for utt, name in self.whole.items()} if by_utt else self.wav
        segments = None if by_utt else self.segments
        return DataDir(
            Path(), wav, self.utt2spk, segments, self.utt2dur, feats, vad, dict(self.extra)
        )


def from_lhotse(path: str | Path) -> DataDir:
    """Return the data directory of cuts, or of the recordings and supervisions in a folder.

    Raises
    ------
    TableError
        When the manifests are missing or damaged, a supervision has no speaker, or audio is
        neither a file nor a command, or is changed on the way.
    """
    lhotse = load_lhotse()
    tables = _Tables()
    try:
        for recording, supervision, start in _spoken(lhotse, Path(path)):
            tables.add(recording, supervision, start)
    except (OSError, EOFError, ValueError, KeyError, AssertionError) as error:
        raise TableError(f"`{path}` cannot be read as manifests: {error!r}") from error
    data = tables.finish()
    data.path = Path(path)
    return data


def _spoken(lhotse: Any, path: Path) -> Iterator[tuple[Any, Any, float]]:
    """Give each supervision with its recording and the time it starts at there."""
    if path.is_dir() and not (path / FILES[2]).exists():
        recordings = {r.id: r for r in lhotse.load_manifest(_only(path, "recordings"))}
        for supervision in lhotse.load_manifest(_only(path, "supervisions")):
            if supervision.recording_id not in recordings:
                raise TableError(f"`{path}`: no recording `{supervision.recording_id}`")
            yield recordings[supervision.recording_id], supervision, float(supervision.start)
        return
    cuts = lhotse.load_manifest(path / FILES[2] if path.is_dir() else path)
    if not isinstance(cuts, lhotse.CutSet):
        raise TableError(f"`{path}` holds no cuts", hint="give a file of cuts, or the folder")
    for cut in cuts:
        recording = getattr(cut, "recording", None)
        if recording is None:
            raise TableError(f"cut `{cut.id}` is mixed, padded or without a recording")
        for supervision in cut.supervisions:
            yield recording, supervision, round(cut.start + supervision.start, _DIGITS)


def _only(folder: Path, word: str) -> Path:
    found = sorted(folder.glob(f"*{word}*.json*"))
    if len(found) != 1:
        raise TableError(
            f"`{folder}` holds {len(found)} manifests of {word}", hint="give a file of cuts instead"
        )
    return found[0]


def _specifier(recording: Any) -> str:
    """Return the entry of wav.scp for a recording."""
    if len(recording.sources) != 1 or recording.sources[0].type not in ("file", "command"):
        raise TableError(
            f"recording `{recording.id}` is not one file or command",
            hint="save its audio with `lhotse cut` first",
        )
    if recording.transforms:
        raise TableError(f"recording `{recording.id}` is changed on the way", hint="save it first")
    source = recording.sources[0]
    return f"{source.source} |" if source.type == "command" else str(source.source)


def _first(channel: int | list[int]) -> int:
    return channel if isinstance(channel, int) else channel[0]
