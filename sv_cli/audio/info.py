"""Length and form of a recording, from its header alone where it is a file."""

from dataclasses import dataclass
from pathlib import Path

from sv_cli.audio.recording import Recording, open_recording


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
