"""Lossy codecs: a waveform encoded and decoded again in memory, in line with what went in."""

import os
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from sv_cli.audio.memory_file import memory_file
from sv_cli.audio.write import as_16_bit
from sv_cli.errors import AudioError

# LAME's encoder delays by 576 samples, a decoder of layer III by 528 + 1.
_MP3_DELAY = 576 + 529


@dataclass(frozen=True)
class Codec:
    """A codec of libsndfile.

    Attributes
    ----------
    format, subtype : str
        Names of libsndfile.
    sample_rate : int or None
        The only rate in Hz that it is used at; None leaves it to the library.
    has_compression : bool
        Whether it takes a compression level.
    delay : int
        Samples that it prepends where its file does not say how many to drop.
    """

    format: str
    subtype: str
    sample_rate: int | None = None
    has_compression: bool = False
    delay: int = 0


CODECS: dict[str, Codec] = {
    "gsm": Codec("WAV", "GSM610", sample_rate=8000),
    "g721": Codec("AU", "G721_32", sample_rate=8000),
    "adpcm": Codec("WAV", "IMA_ADPCM"),
    "mp3": Codec("MP3", "MPEG_LAYER_III", has_compression=True, delay=_MP3_DELAY),
    "opus": Codec("OGG", "OPUS", has_compression=True),
    "vorbis": Codec("OGG", "VORBIS", has_compression=True),
}


def recode(
    waveform: NDArray[np.float32], sample_rate: int, name: str, *, compression: float = 0.5
) -> NDArray[np.float32]:
    """Return a waveform as it comes out of a codec, of the same length and without its delay.

    Parameters
    ----------
    waveform : (num_samples,) float32
        Samples in [-1, 1); others are clipped.
    sample_rate : int
        Hz.
    name : str
        One of `CODECS`.
    compression : float
        libsndfile's level from 0 (best) towards 1 (smallest), for codecs that have one.

    Raises
    ------
    AudioError
        When the installed libsndfile does not encode it, or not at this rate.
    """
    codec = CODECS[name]
    if codec.sample_rate not in (None, sample_rate):
        raise AudioError(f"{name} works at {codec.sample_rate} Hz, not at {sample_rate} Hz")
    try:
        with memory_file() as file:
            _encode(file, waveform, sample_rate, codec, compression)
            os.lseek(file, 0, os.SEEK_SET)
            decoded, _ = soundfile.read(file, dtype="float32", closefd=False)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        # An unknown format is a ValueError or TypeError, by the version of the Python side.
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        raise AudioError(
            f"{name} at {sample_rate} Hz: {reason} (libsndfile {soundfile.__libsndfile_version__})"
        ) from error
    return _aligned(decoded, len(waveform), codec.delay)


def _encode(
    file: int,
    waveform: NDArray[np.float32],
    sample_rate: int,
    codec: Codec,
    compression: float,
) -> None:
    more: dict[str, object] = {}
    if codec.has_compression:
        more["compression_level"] = compression
    if codec.format == "MP3":
        more["bitrate_mode"] = "CONSTANT"
    with soundfile.SoundFile(
        file, "w", sample_rate, 1, codec.subtype, format=codec.format, closefd=False, **more
    ) as sound:
        sound.write(as_16_bit(waveform))


def _aligned(decoded: NDArray[np.float32], num_samples: int, delay: int) -> NDArray[np.float32]:
    """Drop the delay, and what fills the last frame.

    An MP3 file states how much its decoder drops where the first frame has room for that, which
    the lowest bit rates lack; then nothing was dropped and the whole delay is still there.
    """
    first = delay if len(decoded) >= num_samples + delay else 0
    kept = decoded[first : first + num_samples]
    return np.pad(kept, (0, num_samples - len(kept)))
