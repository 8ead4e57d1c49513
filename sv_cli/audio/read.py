"""A wav.scp entry or a segment of one -> a mono float32 waveform in [-1, 1]."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli.audio.info import AudioInfo, audio_form
from sv_cli.audio.notices import say_once
from sv_cli.audio.recording import Recording, open_bytes, open_recording
from sv_cli.audio.resample import resample
from sv_cli.errors import AudioError

# Kaldi's extract-segments: --max-overshoot and --min-segment-length, in seconds.
MAX_OVERSHOOT = 0.5
MIN_SEGMENT_LENGTH = 0.1
# Floating-point samples above it are integers that were not scaled.
INTEGER_PEAK = 100.0
_SEGMENTS = "correct `segments`, or allow for it with `--max-skipped`"


def read_waveform(
    rx: str,
    *,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    sample_rate: int | None = 16000,
    audio_root: str | Path | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Read a recording or a segment of it.

    Parameters
    ----------
    rx : str
        `file`, `archive:offset`, `command |` or `-`.
    start, end : float, optional
        Segment in seconds; `end` -1 is the end of the recording. Kaldi's rules hold: up to 0.5 s
        past the end is cut, more is an error, 0.1 s or less is an error.
    channel : int, optional
        Counted from 0. Without it the first is taken, and said once when there are more.
    sample_rate : int, optional
        Rate in Hz to resample to; None keeps the rate of the recording.
    audio_root : str or Path, optional
        Where relative paths start.

    Returns
    -------
    waveform : ndarray, shape (num_samples,)
        float32; every sample format comes to the scale [-1, 1].
    sample_rate : int

    Raises
    ------
    AudioError
        When it cannot be read, holds no samples or NaN, its floating-point samples are on the scale
        of integers, or the segment does not fit.
    """
    with open_recording(rx, audio_root=audio_root) as recording:
        first, last = 0, recording.num_samples
        if start is not None or end is not None:
            first, last = _segment(recording, start or 0.0, -1.0 if end is None else end, rx)
        waveform = _read(recording, first, last - first, channel, rx)
        rate = recording.sample_rate
    if sample_rate is None or sample_rate == rate:
        return waveform, rate
    _say_resampling(rate, sample_rate, rx)
    return resample(waveform, rate, sample_rate), sample_rate


def read_channels(
    rx: str, *, audio_root: str | Path | None = None
) -> tuple[NDArray[np.float32], int]:
    """Return all of a recording as (channels, num_samples) float32 in [-1, 1], and its rate in Hz.

    Raises
    ------
    AudioError
        When it cannot be read, or holds no samples or NaN.
    """
    with open_recording(rx, audio_root=audio_root) as recording:
        channels = [
            _read(recording, 0, recording.num_samples, channel, rx)
            for channel in range(recording.channels)
        ]
        return np.stack(channels), recording.sample_rate


def read_chosen_span(
    rx: str,
    choose: Callable[[AudioInfo], tuple[int, int]],
    *,
    channel: int | None = None,
    audio_root: str | Path | None = None,
) -> NDArray[np.float32]:
    """Read the samples (start, count) that `choose` picks by the form of the recording.

    The recording is opened once, so this is what training reads its crops by.
    """
    with open_recording(rx, audio_root=audio_root) as recording:
        start, count = choose(audio_form(recording))
        return _read(recording, start, count, channel, rx)


def read_chosen_bytes(
    data: bytes, choose: Callable[[AudioInfo], tuple[int, int]], *, name: str
) -> NDArray[np.float32]:
    """Read the samples (start, count) that `choose` picks out of a file in memory."""
    with open_bytes(data, name=name) as recording:
        start, count = choose(audio_form(recording))
        return _read(recording, start, count, None, name)


def _read(
    recording: Recording, start: int, count: int, channel: int | None, rx: str
) -> NDArray[np.float32]:
    if recording.num_samples == 0:
        raise AudioError(f"`{rx}` holds no samples", hint="remove it from wav.scp or copy it again")
    length = recording.num_samples
    if start >= length:
        raise AudioError(f"`{rx}`: no samples from sample {start} on; it holds {length}")
    count = min(count, length - start)
    waveform = recording.read(start, count, _choose_channel(recording, channel, rx))
    if len(waveform) == 0:
        raise AudioError(f"`{rx}` breaks off before sample {start} of {length}")
    if len(waveform) < count:
        say_once(f"`{rx}` breaks off: {len(waveform)} of {count} samples could be read")
    if recording.may_hold_nan and not np.isfinite(waveform).all():
        raise AudioError(
            f"`{rx}` holds samples that are not finite numbers",
            hint="make the recording again, or remove it from wav.scp",
        )
    if recording.may_hold_nan and (peak := float(np.abs(waveform).max())) > INTEGER_PEAK:
        raise AudioError(
            f"`{rx}`: floating-point samples up to {peak:g}, where [-1, 1] is the scale",
            hint="16-bit integers stored as floats are divided by 32768 first",
        )
    return waveform


def _choose_channel(recording: Recording, channel: int | None, rx: str) -> int:
    if channel is None:
        if recording.channels > 1:
            say_once(
                f"recordings of {recording.channels} channels, as `{rx}`: the first is taken "
                "where no channel is named"
            )
        return 0
    if not 0 <= channel < recording.channels:
        raise AudioError(
            f"`{rx}` has no channel {channel}: it has {recording.channels}, counted from 0",
            hint="correct the fifth column of `segments`, or `--channel`",
        )
    return channel


def _segment(recording: Recording, start: float, end: float, rx: str) -> tuple[int, int]:
    """Return the first sample and the one after the last, by Kaldi's rules."""
    rate, length = recording.sample_rate, recording.num_samples
    if not (isfinite(start * rate) and isfinite(end * rate)):
        raise AudioError(f"`{rx}`: segment {start:g} to {end:g} s is not finite", hint=_SEGMENTS)
    first = int(start * rate)
    last = length if end == -1 else int(end * rate)
    span = f"`{rx}`: segment {start:g} to {end:g} s"
    if not 0 <= first < length:
        raise AudioError(f"{span} does not start in the {length / rate:g} s it has", hint=_SEGMENTS)
    if last >= length + int(MAX_OVERSHOOT * rate):
        over = last / rate - length / rate
        raise AudioError(f"{span} ends {over:.2f} s past the end", hint=_SEGMENTS)
    last = min(last, length)
    if last <= first + int(MIN_SEGMENT_LENGTH * rate):
        raise AudioError(f"{span} is not longer than {MIN_SEGMENT_LENGTH:g} s", hint=_SEGMENTS)
    return first, last


def _say_resampling(rate: int, sample_rate: int, rx: str) -> None:
    if rate != sample_rate:
        say_once(f"recordings of {rate} Hz are resampled to {sample_rate} Hz")
