"""Recordings written again as files of another speed or rate, by several processes.

An existing file is finished, since it appeared by rename; so a run that was stopped goes on with
those that are missing.
"""

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.atomic import atomic_open, remove_unfinished
from sv_cli.audio.info import file_state
from sv_cli.audio.notices import collect, say_part
from sv_cli.audio.read import read_channels
from sv_cli.audio.resample import resample
from sv_cli.audio.write import write_waveform
from sv_cli.errors import AudioError, SvError
from sv_cli.workers import map_in_workers

_TASK_RECORDINGS = 20
_RECORD = ".audio.json"
_SAFE = " !#$&'()*+,;=:@[]"


@dataclass(frozen=True)
class Change:
    """What becomes of recordings.

    Attributes
    ----------
    speed : float
        Factor of the speed.
    sample_rate : int or None
        Rate in Hz that is written; None keeps that of the recording.
    """

    speed: float = 1.0
    sample_rate: int | None = None


@dataclass(frozen=True)
class Rewrite:
    """A recording, and the file that it is written to."""

    name: str
    rx: str
    path: str
    change: Change


@dataclass
class _Done:
    count: int
    skipped: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def read_changed(
    rx: str, change: Change, *, audio_root: str | None = None
) -> tuple[NDArray[np.float32], int]:
    """Return all channels of a recording after a change, (num_samples, channels), and the rate.

    Raises
    ------
    AudioError
        When it cannot be read.
    """
    channels, rate = read_channels(rx, audio_root=audio_root)
    if change.speed != 1.0:
        from sv_cli.audio.speed import change_speed_whole

        channels = change_speed_whole(channels, change.speed)
    samples = np.ascontiguousarray(channels.T)
    wanted = change.sample_rate or rate
    return resample(samples, rate, wanted), wanted


def file_of(folder: Path, name: str, suffix: str) -> str:
    """Return the file for a recording of any name, always inside of `folder`."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        parts = [quote(name, safe="")]
    return str(folder.joinpath(*[quote(part, safe=_SAFE) for part in parts])) + f".{suffix}"


def rewrite_all(
    tasks: Sequence[Rewrite], *, num_procs: int, resume: bool, audio_root: str | None = None
) -> dict[str, str]:
    """Write all recordings; return why those that could not be read were left out, by name.

    Parameters
    ----------
    tasks : sequence of Rewrite
    num_procs : int
        Worker processes.
    resume : bool
        Whether existing files are kept.

    Raises
    ------
    SvError
        When a worker dies or a file cannot be written.
    """
    lists = [
        tasks[start : start + _TASK_RECORDINGS] for start in range(0, len(tasks), _TASK_RECORDINGS)
    ]
    skipped: dict[str, str] = {}
    results = _results(lists, num_procs, resume, audio_root)
    with logs.progress("recordings", total=len(tasks)) as progress, closing(results) as parts:
        for part in parts:
            say_part(part.notices, part.skipped, before=len(skipped))
            skipped |= part.skipped
            progress.advance(part.count)
    return skipped


def begin(
    folder: Path,
    tasks: Sequence[Rewrite],
    *,
    resume: bool,
    force: bool,
    audio_root: str | None = None,
) -> None:
    """Leave a record of what is written below `folder`, and hold a stopped run against it.

    The lock of the folder above must be held.

    Raises
    ------
    SvError
        When a run was stopped there and neither `resume` nor `force` is given, or it wrote
        something else.
    """
    record = folder / _RECORD
    rows = [
        [task.name, task.rx, file_state(task.rx, audio_root), task.path, asdict(task.change)]
        for task in tasks
    ]
    digest = hashlib.sha256(json.dumps(rows).encode("utf-8", "surrogateescape")).hexdigest()
    if record.exists() and not force:
        if not resume:
            hint = "`--resume` goes on with it, `--force` starts again"
            raise SvError(f"`{folder}` holds audio of a run before", hint=hint)
        if _digest(record) != digest:
            hint = "give the same options and data, or start again with `--force`"
            raise SvError(f"`{folder}` was begun from other recordings or settings", hint=hint)
    remove_unfinished(folder)
    with atomic_open(record) as stream:
        json.dump({"digest": digest}, stream)


def _digest(record: Path) -> str | None:
    try:
        values: Mapping[str, str] = json.loads(record.read_text(encoding="utf-8"))
        return values["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _results(
    lists: Sequence[Sequence[Rewrite]], num_procs: int, resume: bool, audio_root: str | None
) -> Generator[_Done, None, None]:
    work = [(part, resume, audio_root) for part in lists]
    if num_procs == 1 or len(lists) == 1:
        return (_rewrite(*task) for task in work)
    return map_in_workers(_rewrite, work, num_procs=num_procs, start=_use_one_thread)


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _rewrite(tasks: Sequence[Rewrite], resume: bool, audio_root: str | None) -> _Done:
    done = _Done(len(tasks))
    with collect() as messages:
        for task in tasks:
            if resume and Path(task.path).exists():
                continue
            try:
                samples, rate = read_changed(task.rx, task.change, audio_root=audio_root)
            except AudioError as error:
                done.skipped[task.name] = error.message
                continue
            write_waveform(task.path, samples, rate)
    done.notices = sorted(messages)
    return done
