"""From a list of recordings to a data directory: look at each file, skip the bad, write tables."""

import json
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sv_cli import logs
from sv_cli.atomic import atomic_open, refuse_overwrite
from sv_cli.corpora.corpus import Job
from sv_cli.errors import SvError, TableError, name_some
from sv_cli.lock import lock_folder

if TYPE_CHECKING:
    from sv_cli.audio.info import AudioInfo

_FILES_AT_ONCE = 64
_SHOWN = 5
_MPEG4 = (".m4a", ".mp4")  # which libsndfile does not read: ffmpeg does, in a pipe
_OVERSHOOT_SECONDS = 0.5  # Kaldi cuts a segment that ends at most this much after its recording


@dataclass(frozen=True)
class Listed:
    """One utterance of a list: where it is and whose.

    Parameters
    ----------
    utt, spk : str
        Ids.
    path : Path
        The recording.
    start, end : float or None
        Seconds, where the utterance is a part of the recording.
    columns : mapping of str to str
        What else is known of it; each becomes a table `utt2NAME`.
    """

    utt: str
    spk: str
    path: Path
    start: float | None = None
    end: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Listed utterances that can be read, and their lengths in seconds."""

    items: list[Listed]
    seconds: dict[str, float]
    num_skipped: int

    def part(self, items: Iterable[Listed]) -> "Measured":
        """Return those of `items` that could be read."""
        kept = [item for item in items if item.utt in self.seconds]
        return Measured(kept, {item.utt: self.seconds[item.utt] for item in kept}, 0)


def measure(items: Sequence[Listed], job: Job) -> Measured:
    """Look into the header of each file, in parallel; name and leave out what cannot be read.

    Raises
    ------
    TableError
        When nothing is left.
    """
    lengths, bad = _file_seconds(sorted({item.path for item in items}), job.num_procs)
    kept: list[Listed] = []
    seconds: dict[str, float] = {}
    for item in items:
        length = lengths.get(item.path)
        if length is None:
            continue
        try:
            seconds[item.utt] = _utterance_seconds(item, length)
            kept.append(item)
        except TableError as error:
            bad.append(error.message)
    for message in bad[:_SHOWN]:
        logs.warn(f"{message}, skipped")
    if len(bad) > _SHOWN:
        logs.warn(f"{len(bad) - _SHOWN} more like these, skipped")
    if not kept:
        raise TableError(f"`{job.source}`: no recording can be read")
    _warn_without_ffmpeg(kept)
    return Measured(kept, seconds, len(items) - len(kept))


def measure_parts(
    parts: Mapping[str, Sequence[Listed]], job: Job
) -> tuple[dict[str, Measured], int]:
    """Look into the recordings of several directories at once; return them and how many failed.

    An utterance may be in more than one part; it is looked at once. A part of which nothing can
    be read is left out and said.

    Raises
    ------
    SvError
        Before anything is read, when the directory exists and `--force` was not given,
        or an utterance has two recordings.
    """
    for name in parts:
        refuse_overwrite(job.out / name / "utt2spk", force=job.force)
    measured = measure(_each_once(parts), job)
    split = {name: measured.part(items) for name, items in parts.items()}
    for name in [name for name, part in split.items() if not part.items]:
        logs.warn(f"`{job.out / name}` is not written: none of its recordings can be read")
        del split[name]
    return split, measured.num_skipped


def _each_once(parts: Mapping[str, Sequence[Listed]]) -> list[Listed]:
    every: dict[str, Listed] = {}
    twice = []
    for item in (item for items in parts.values() for item in items):
        if every.setdefault(item.utt, item).path != item.path:
            twice.append(item.utt)
    if twice:
        raise TableError(
            f"{len(twice)} utterances are there twice: {name_some(sorted(twice))}",
            hint="does SOURCE hold the corpus a second time?",
        )
    return list(every.values())


def refuse_shared_speakers(
    parts: Mapping[str, Sequence[Listed]], train: str, *evaluations: str
) -> None:
    """Raise when speakers to train on are also speakers of trials.

    Raises
    ------
    TableError
        Names the first five speakers, and how many there are.
    """
    known = {item.spk for item in parts.get(train, ())}
    for name in evaluations:
        shared = sorted(known & {item.spk for item in parts.get(name, ())})
        if shared:
            raise TableError(
                f"{len(shared)} speakers are in `{train}` and in `{name}`: {name_some(shared)}",
                hint="the tree is not as it was published; unpack the archives again",
            )


def write_data_dir(
    measured: Measured, out: Path, job: Job, *, gender: Mapping[str, str] | None = None
) -> None:
    """Write the tables of a data directory, sorted as `LC_ALL=C sort` does; `.done` comes last.

    Raises
    ------
    SvError
        When the data directory exists and `--force` was not given.
    """
    from sv_cli.tables.datadir.directory import DataDir

    items = measured.items
    refuse_overwrite(out / "utt2spk", force=job.force)
    (out / ".done").unlink(missing_ok=True)
    segmented = any(item.start is not None for item in items)
    recordings = _recording_ids(items) if segmented else {}
    data = DataDir.from_tables(
        wav={
            recordings[item.path] if segmented else item.utt: _written_path(item.path, job)
            for item in items
        },
        segments={item.utt: _segment(item, recordings, measured.seconds) for item in items}
        if segmented
        else None,
        utt2spk={item.utt: item.spk for item in items},
        utt2dur=measured.seconds,
    )
    for name in sorted({name for item in items for name in item.columns}):
        values = {item.utt: item.columns.get(name, "") for item in items}
        data.extra[f"utt2{name}"] = {utt: value for utt, value in values.items() if value}
    if gender:
        speakers = {item.spk for item in items}
        known = {spk: value for spk, value in gender.items() if spk in speakers}
        if known:
            data.extra["spk2gender"] = known
    with lock_folder(out, command=logs.command()):
        data.write(out, replace=job.force)
        write_done(out, utterances=len(items), speakers=len({item.spk for item in items}))


def utterances_of(items: Iterable[Listed]) -> dict[str, list[str]]:
    """Return speaker -> its utterances, both sorted."""
    speakers: dict[str, list[str]] = {}
    for item in sorted(items, key=lambda item: (item.spk, item.utt)):
        speakers.setdefault(item.spk, []).append(item.utt)
    return speakers


def write_done(out: Path, **counts: int) -> None:
    """Write the record that marks a directory as complete."""
    with atomic_open(out / ".done") as stream:
        stream.write(json.dumps(counts) + "\n")


def _file_seconds(paths: Sequence[Path], num_procs: int) -> tuple[dict[Path, float], list[str]]:
    """Return path -> seconds, and why others cannot be read."""
    rates: Counter[int] = Counter()

    def look(batch: Sequence[Path]) -> list[tuple[Path, float, int] | str]:
        found: list[tuple[Path, float, int] | str] = []
        for path in batch:
            try:
                info = _probe(path)
                found.append((path, info.duration, info.sample_rate))
            except SvError as error:
                found.append(error.message)
        return found

    seconds: dict[Path, float] = {}
    bad: list[str] = []
    with (
        logs.progress("reading headers", total=len(paths), unit="file") as progress,
        ThreadPoolExecutor(num_procs) as pool,
    ):
        for results in pool.map(look, _batches(paths)):
            for result in results:
                if isinstance(result, str):
                    bad.append(result)
                    continue
                seconds[result[0]] = result[1]
                rates[result[2]] += 1
            progress.advance(len(results))
    if len(rates) > 1:
        counts = ", ".join(f"{rate} Hz {count}" for rate, count in sorted(rates.items()))
        logs.warn(f"sample rates differ: {counts} files")
    return seconds, bad


def _probe(path: Path) -> "AudioInfo":
    from sv_cli.audio.info import audio_info
    from sv_cli.audio.mp4 import mp4_info

    name = _readable_name(path)
    return mp4_info(name) if path.suffix.lower() in _MPEG4 else audio_info(name)


def _readable_name(path: Path) -> str:
    name = str(path)
    if "\n" in name or name != name.strip() or name.endswith("|"):
        raise TableError(f"{name!r} cannot stand in wav.scp", hint="give the file another name")
    return name


def _utterance_seconds(item: Listed, length: float) -> float:
    """Return the length of an utterance; an error says that it does not lie in its recording."""
    if length <= 0.0:
        raise TableError(f"`{item.path}` holds no samples")
    if item.start is None:
        return length
    end = length if item.end is None else item.end
    if item.start >= length or end > length + _OVERSHOOT_SECONDS:
        raise TableError(f"`{item.utt}` ends at {end:g} s, its recording at {length:g} s")
    return min(end, length) - item.start


def _segment(
    item: Listed, recordings: Mapping[Path, str], seconds: Mapping[str, float]
) -> tuple[str, float, float]:
    start = item.start or 0.0
    return recordings[item.path], start, start + seconds[item.utt]


def _recording_ids(items: Iterable[Listed]) -> dict[Path, str]:
    """Return an id for each recording: its name, or its path where two have one name."""
    paths = sorted({item.path for item in items})
    names = Counter(path.stem for path in paths)
    ids = {
        path: path.stem if names[path.stem] == 1 else "-".join(path.with_suffix("").parts[1:])
        for path in paths
    }
    return {path: "_".join(name.split()) for path, name in ids.items()}


def _written_path(path: Path, job: Job) -> str:
    path = path.absolute()
    if path.suffix.lower() in _MPEG4:  # a command finds its file from anywhere
        name = shlex.quote(str(path))
        return f"ffmpeg -nostdin -loglevel error -i {name} -ac 1 -ar 16000 -f wav - |"
    if job.audio_root is None:
        return str(path)
    root = job.audio_root.absolute()
    if not path.is_relative_to(root):
        raise TableError(f"`{path}` does not lie in `--audio-root {job.audio_root}`")
    return str(path.relative_to(root))


def _warn_without_ffmpeg(items: Iterable[Listed]) -> None:
    if any(item.path.suffix.lower() in _MPEG4 for item in items) and not shutil.which("ffmpeg"):
        logs.warn("wav.scp calls `ffmpeg`, which is not on this machine's PATH")


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), _FILES_AT_ONCE):
        yield paths[start : start + _FILES_AT_ONCE]
