"""Length and form of a recording, from its header alone where it is a file."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sv_cli.audio.recording import Recording, open_recording
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.kaldi.specifier import is_pipe, strip_offset

FileState = tuple[int, int] | None


@dataclass(frozen=True)
class AudioInfo:
    """Form of a recording; `num_samples` counts each channel once."""

    num_samples: int
    sample_rate: int
    channels: int
    format: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate


def audio_info(rx: str, *, audio_root: str | Path | None = None) -> AudioInfo:
    """Return the form of a recording; only a pipe is read to its end.

    Raises
    ------
    AudioError
        When `rx` cannot be read as audio.
    """
    with open_recording(rx, audio_root=audio_root) as recording:
        return audio_form(recording)


def audio_form(recording: Recording) -> AudioInfo:
    """Return the form of an open recording."""
    return AudioInfo(
        recording.num_samples, recording.sample_rate, recording.channels, recording.format
    )


def file_state(rx: str, audio_root: str | None) -> FileState:
    """Return size in bytes and time of change (ns) of the file of a recording.

    None for a command, and where there is no file.
    """
    if is_pipe(rx) or rx == "-":
        return None
    root = Path(audio_root) if audio_root else Path()
    for name in (rx, strip_offset(rx)):
        try:
            status = (root / name).stat()
            return status.st_size, status.st_mtime_ns
        except OSError:
            continue
    return None


def hash_sources(utterances: Iterable[Utterance], audio_root: str | None) -> str:
    """Return a digest of the entries of utterances and of the states of their files."""
    states: dict[str, FileState] = {}
    digest = hashlib.sha256()
    for utterance in utterances:
        rx = utterance.rx
        if rx not in states:
            states[rx] = file_state(rx, audio_root)
        digest.update(repr((*utterance, states[rx])).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
