"""Write a waveform as 16-bit WAV or FLAC; the file appears whole or not at all."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sv_cli.atomic import atomic_path
from sv_cli.audio.memory_file import content, memory_file
from sv_cli.errors import AudioError

_FORMATS = {".wav": "WAV", ".flac": "FLAC"}


def write_waveform(path: str | Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write a waveform in 16 bits; the suffix of `path` says the format.

    Parameters
    ----------
    path : str or Path
        `*.wav` or `*.flac`; the folder is made where it is missing.
    waveform : (num_samples,) or (num_samples, channels) float32
        Samples in [-1, 1); others are clipped.
    sample_rate : int
        Hz.

    Raises
    ------
    AudioError
        When the suffix is another one, or libsndfile refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise AudioError(f"`{path}`: cannot write this format", hint="use `.wav` or `.flac`")
    samples = as_16_bit(waveform)
    with atomic_path(path) as temporary:
        try:
            soundfile.write(
                temporary, samples, sample_rate, "PCM_16", format=_FORMATS[path.suffix.lower()]
            )
        except soundfile.LibsndfileError as error:
            raise AudioError(f"`{path}`: {error.error_string.rstrip('.')}") from error


def encode_waveform(waveform: NDArray[np.float32], sample_rate: int, *, format: str) -> bytes:
    """Return the bytes of a file that holds a waveform in 16 bits.

    Parameters
    ----------
    waveform : (num_samples,) or (num_samples, channels) float32
        Samples in [-1, 1); others are clipped.
    sample_rate : int
        Hz.
    format : "wav" or "flac"

    Raises
    ------
    AudioError
        When libsndfile refuses.
    """
    samples = as_16_bit(waveform)
    with memory_file() as file:
        try:
            soundfile.write(
                file, samples, sample_rate, "PCM_16", format=format.upper(), closefd=False
            )
        except soundfile.LibsndfileError as error:
            raise AudioError(f"cannot be written as {format}: {error.error_string}") from error
        return content(file)


def as_16_bit(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return samples in [-1, 1) as 16-bit integers, clipped."""
    samples: NDArray[np.int16] = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(
        np.int16
    )
    return samples
