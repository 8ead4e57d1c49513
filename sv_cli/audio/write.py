"""Write a waveform as 16-bit WAV or FLAC; the file appears whole or not at all."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sv_cli.atomic import atomic_path
from sv_cli.errors import AudioError

_FORMATS = {".wav": "WAV", ".flac": "FLAC"}


def write_waveform(path: str | Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write a mono waveform in 16 bits; the suffix of `path` says the format.

    Parameters
    ----------
    path : str or Path
        `*.wav` or `*.flac`; the folder is made where it is missing.
    waveform : (num_samples,) float32
        Samples in [-1, 1); what lies outside is clipped.
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
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    with atomic_path(path) as temporary:
        try:
            soundfile.write(
                temporary, samples, sample_rate, "PCM_16", format=_FORMATS[path.suffix.lower()]
            )
        except soundfile.LibsndfileError as error:
            raise AudioError(f"`{path}`: {error.error_string.rstrip('.')}") from error
