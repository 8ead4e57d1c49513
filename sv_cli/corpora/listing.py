"""From a list of recordings to a data directory: look at each file, skip the bad, write tables."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sv_cli import logs
from sv_cli.atomic import atomic_open, refuse_overwrite
from sv_cli.corpora.corpus import Job
from sv_cli.errors import SvError, TableError
from sv_cli.tables.datadir import DataDir

_FILES_AT_ONCE = 64
_OVERSHOOT_SECONDS = 0.5  # Kaldi cuts a segment that ends so little behind its recording


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


def measure(items: Sequence[Listed], job: Job) -> Measured:
    """Look into the header of each file, in parallel; name and leave out what cannot be read.

    Raises
    ------
    TableError
        When nothing is left.
    """
    lengths = _file_seconds(sorted({item.path for item in items}), job.num_procs)
    kept: list[Listed] = []
    seconds: dict[str, float] = {}
    for item in items:
        length = _utterance_seconds(item, lengths.get(item.path))
        if length is not None:
            kept.append(item)
            seconds[item.utt] = length
    if not kept:
        raise TableError(f"`{job.source}`: no recording can be read")
    return Measured(kept, seconds, len(items) - len(kept))


def write_data_dir(
    measured: Measured, out: Path, job: Job, *, gender: Mapping[str, str] | None = None
) -> None:
    """Write the tables of a data directory, sorted as `LC_ALL=C sort` does; `.done` comes last.

    Raises
    ------
    SvError
        When a data directory stands there already and `--force` was not given.
    """
    items = measured.items
    refuse_overwrite(out / "utt2spk", force=job.force)
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
        data.extra["spk2gender"] = known
    data.write(out, replace=job.force)
    write_done(out, utterances=len(items), speakers=len({item.spk for item in items}))


def utterances_of(items: Iterable[Listed]) -> dict[str, list[str]]:
    """Return speaker -> its utterances, both sorted."""
    speakers: dict[str, list[str]] = {}
    for item in sorted(items, key=lambda item: (item.spk, item.utt)):
        speakers.setdefault(item.spk, []).append(item.utt)
    return speakers


def write_done(out: Path, **counts: int) -> None:
    """Write the record that tells a directory to be complete."""
    with atomic_open(out / ".done") as stream:
        stream.write(json.dumps(counts) + "\n")


def _file_seconds(paths: Sequence[Path], num_procs: int) -> dict[Path, float]:
    from sv_cli.audio.info import audio_info

    rates: Counter[int] = Counter()

    def look(batch: Sequence[Path]) -> list[tuple[Path, float, int] | str]:
        found: list[tuple[Path, float, int] | str] = []
        for path in batch:
            try:
                info = audio_info(_readable_name(path))
                found.append((path, info.duration, info.sample_rate))
            except SvError as error:
                found.append(error.message)
        return found

    seconds: dict[Path, float] = {}
    with (
        logs.progress("reading headers", total=len(paths), unit="file") as progress,
        ThreadPoolExecutor(num_procs) as pool,
    ):
        for results in pool.map(look, _batches(paths)):
            for result in results:
                if isinstance(result, str):
                    logs.warn(f"{result}, skipped")
                    continue
                seconds[result[0]] = result[1]
                rates[result[2]] += 1
            progress.advance(len(results))
    if len(rates) > 1:
        counts = ", ".join(f"{rate} Hz {count}" for rate, count in sorted(rates.items()))
        logs.warn(f"sample rates differ: {counts} files")
    return seconds


def _readable_name(path: Path) -> str:
    name = str(path)
    if "\n" in name or name != name.strip() or name.endswith("|"):
        raise TableError(f"{name!r} cannot stand in wav.scp", hint="give the file another name")
    return name


def _utterance_seconds(item: Listed, length: float | None) -> float | None:
    """Length of an utterance, or None (said why) where it does not lie in its recording."""
    if length is None:
        return None
    if length <= 0.0:
        logs.warn(f"`{item.path}` holds no samples, skipped")
        return None
    if item.start is None:
        return length
    end = length if item.end is None else item.end
    if item.start >= length or end > length + _OVERSHOOT_SECONDS:
        logs.warn(f"`{item.utt}` ends at {end:g} s, its recording at {length:g} s, skipped")
        return None
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
    if job.audio_root is None:
        return str(path)
    root = job.audio_root.absolute()
    if not path.is_relative_to(root):
        raise TableError(f"`{path}` does not lie in `--audio-root {job.audio_root}`")
    return str(path.relative_to(root))


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), _FILES_AT_ONCE):
        yield paths[start : start + _FILES_AT_ONCE]
