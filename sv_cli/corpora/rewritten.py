"""Data directories whose recordings are written again: at other speeds, at another rate."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sv_cli.audio.rewrite import Change, Rewrite, begin, file_of, rewrite_all
from sv_cli.errors import SettingsError, SvError
from sv_cli.settings.speeds import is_speed
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.datadir.edit import combine
from sv_cli.tables.datadir.signal import (
    at_speed,
    check_copy_names,
    play_command,
    speed_prefix,
    with_copies,
    with_recordings,
)


@dataclass(frozen=True)
class AudioFiles:
    """Where and how recordings are written.

    Attributes
    ----------
    folder : Path
        What the files lie below.
    format : "flac" or "wav"
    num_procs : int
        Worker processes.
    audio_root : str or None
        Where relative paths of the source start.
    resume, force : bool
        Keep the files of a run that was stopped, or write over them.
    """

    folder: Path
    format: str = "flac"
    num_procs: int = 1
    audio_root: str | None = None
    resume: bool = False
    force: bool = False

    def write(self, wav: Mapping[str, str], changes: Mapping[str, Change]) -> dict[str, str]:
        """Write recordings; return the file of each that could be read.

        Where the source has a root of its own, files are named from the root of the machine, so
        that rows that stay and rows that are new can be read with the same `--audio-root`.

        Parameters
        ----------
        wav : mapping
            Name -> entry of wav.scp.
        changes : mapping
            Name -> what becomes of it.

        Raises
        ------
        SvError
            When no recording could be read.
        """
        tasks = [
            Rewrite(name, rx, file_of(self.folder, name, self.format), changes[name])
            for name, rx in wav.items()
        ]
        root = self.audio_root
        begin(self.folder, tasks, resume=self.resume, force=self.force, audio_root=root)
        skipped = rewrite_all(
            tasks, num_procs=self.num_procs, resume=self.resume, audio_root=self.audio_root
        )
        if len(skipped) == len(tasks):
            raise SvError("no recording could be read", hint="see the warnings above")
        place = os.path.abspath if self.audio_root else str
        return {task.name: place(task.path) for task in tasks if task.name not in skipped}


def parse_speeds(text: str) -> list[float]:
    """Return the factors of `0.9,1.1`.

    Raises
    ------
    SettingsError
        When one is no factor from 0.5 to 2 in hundredths, is 1, or repeats.
    """
    hint = "give factors from 0.5 to 2 other than 1, as `0.9,1.1`"
    try:
        factors = [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"`--speeds {text}`: not a list of numbers", hint=hint) from None
    can_play = all(factor != 1.0 and is_speed(factor) for factor in factors)
    if not (can_play and len(set(factors)) == len(factors)):
        raise SettingsError(f"`--speeds {text}` cannot be played", hint=hint)
    return factors


def perturb_speed(
    data: DataDir,
    factors: Sequence[float],
    files: AudioFiles,
    *,
    write_audio: bool,
    only_copies: bool,
) -> tuple[DataDir, int]:
    """Return a data directory with its copies at other speeds, and how many recordings it lost.

    Without `write_audio` the recordings are pipes that play them as they are read.
    """
    if not only_copies:
        check_copy_names(data, factors)
    sources, changes, pipes = {}, {}, {}
    for factor in factors:
        for name, rx in data.wav.items():
            played = speed_prefix(factor) + name
            sources[played], changes[played] = rx, Change(speed=factor)
            if not write_audio:
                pipes[played] = play_command(rx, factor, audio_root=files.audio_root)
    written = files.write(sources, changes) if write_audio else pipes
    copies = []
    for factor in factors:
        copy = at_speed(data, factor)
        wav = {name: written[name] for name in copy.wav if name in written}
        copies.append(with_recordings(copy, wav))
    parts = copies if only_copies else with_copies(data, copies)
    return combine(parts), len(sources) - len(written)


def resample_data(data: DataDir, sample_rate: int, files: AudioFiles) -> tuple[DataDir, int]:
    """Return a data directory of files at another rate, and how many recordings it lost.

    Segments, durations and names stay; features and VAD decisions are left out.

    Parameters
    ----------
    data : DataDir
    sample_rate : int
        Hz.
    files : AudioFiles
    """
    change = Change(sample_rate=sample_rate)
    written = files.write(data.wav, dict.fromkeys(data.wav, change))
    return with_recordings(data, written), len(data.wav) - len(written)
