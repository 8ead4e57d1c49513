"""Recordings held as int16, for cutting pieces out of them in batches."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FULL_SCALE = 32768.0
RIR_KINDS = ("rir", "room_rir")


@dataclass(frozen=True)
class SoundBank:
    """Noise, music and speech, one file after the other.

    Files shorter than a crop were repeated to its length when they were read, so every piece of a
    crop's length is contiguous.

    Attributes
    ----------
    samples : (total,) int16
    starts, lengths : (num_files,) int64
        The position of each file.
    """

    samples: Tensor
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def cut(self, files: NDArray[np.int64], places: NDArray[np.float64], length: int) -> Tensor:
        """Return pieces of files as (num_pieces, length) float32 in [-1, 1).

        Parameters
        ----------
        files : (num_pieces,) int64
        places : (num_pieces,) float64
            0 is the earliest start that leaves room for the piece, 1 the one after the latest.
        length : int
            Samples; at most the `num_samples` of the bank.
        """
        spare = self.lengths[files] - length
        firsts = self.starts[files] + np.minimum((places * (spare + 1)).astype(np.int64), spare)
        if self.samples.device.type == "cpu":
            pieces = torch.stack([self.samples[i : i + length] for i in firsts.tolist()])
        else:
            windows = self.samples.unfold(0, length, 1)
            pieces = windows[torch.from_numpy(firsts).to(self.samples.device)]
        return pieces * (1.0 / _FULL_SCALE)

    @property
    def num_bytes(self) -> int:
        """Memory that the samples take."""
        return 2 * self.samples.numel()


@dataclass(frozen=True)
class RirBank:
    """Room impulse responses of any scale, zeros after their ends.

    Attributes
    ----------
    taps : (num_rirs, length) int16
        Each at full scale, for only the shape counts.
    """

    taps: Tensor

    def responses(self, rirs: Tensor) -> Tensor:
        """Return (num_rirs, length) float32 with energy 1."""
        taps = self.taps[rirs].float()
        norm: Tensor = torch.linalg.vector_norm(taps, dim=-1, keepdim=True)
        return taps / norm

    @property
    def num_bytes(self) -> int:
        """Memory that the taps take."""
        return 2 * self.taps.numel()


@dataclass(frozen=True)
class Series:
    """Recordings that serve one or several kinds.

    Attributes
    ----------
    kinds : tuple of str
        `noise`, `music`, `speech`, `room_noise`; or `rir`, `room_rir`.
    waveforms : iterable of (num_samples,) int16
    """

    kinds: tuple[str, ...]
    waveforms: Iterable[NDArray[np.int16]]


@dataclass(frozen=True)
class BankIndex:
    """Positions in one row of samples: all sounds, then all responses.

    Attributes
    ----------
    kinds : dict of str to (first, count)
        Numbers of the files of each kind, among the sounds or among the responses.
    sounds, rirs : (num_files,) int64
        Samples of each file.
    """

    kinds: dict[str, tuple[int, int]]
    sounds: NDArray[np.int64]
    rirs: NDArray[np.int64]


@dataclass(frozen=True)
class Banks:
    """All recordings of a chain.

    Attributes
    ----------
    samples : (total,) int16
    index : BankIndex
    """

    samples: NDArray[np.int16]
    index: BankIndex

    def sounds(self, device: torch.device) -> SoundBank:
        """Return the sounds; in memory they stay where they are."""
        lengths = self.index.sounds
        samples = torch.from_numpy(self.samples[: int(lengths.sum())]).to(device)
        return SoundBank(samples, np.cumsum(lengths) - lengths, lengths)

    def rirs(self, device: torch.device) -> RirBank:
        """Return the responses."""
        lengths = self.index.rirs
        starts = int(self.index.sounds.sum()) + np.cumsum(lengths) - lengths
        taps = np.zeros((len(lengths), int(lengths.max(initial=0))), np.int16)
        for row, start, length in zip(taps, starts.tolist(), lengths.tolist(), strict=True):
            row[:length] = self.samples[start : start + length]
        return RirBank(torch.from_numpy(taps).to(device))


class Sink(Protocol):
    """Takes bytes one after the other: a file, or memory."""

    def write(self, data: Any, /) -> int:
        """Append the bytes of an array."""


def write_banks(
    sink: Sink,
    series: Iterable[Series],
    *,
    num_samples: int,
    after_each: Callable[[], None] | None = None,
) -> BankIndex:
    """Write the samples of all recordings, those of rooms last, and return their positions.

    Parameters
    ----------
    sink : Sink
    series : iterable of Series
        Sounds before responses.
    num_samples : int
        Length of a crop: shorter sounds are repeated to it, longer responses are cut to it, for
        later taps reach no crop.
    after_each : callable, optional
        Called after every recording.
    """
    kinds: dict[str, tuple[int, int]] = {}
    lengths: dict[bool, list[int]] = {False: [], True: []}
    for part in series:
        is_rir = part.kinds[0] in RIR_KINDS
        first = len(lengths[is_rir])
        for waveform in part.waveforms:
            kept = waveform[:num_samples] if is_rir else _repeated(waveform, num_samples)
            sink.write(np.ascontiguousarray(kept).data)
            lengths[is_rir].append(len(kept))
            if after_each is not None:
                after_each()
        kinds.update(dict.fromkeys(part.kinds, (first, len(lengths[is_rir]) - first)))
    sounds, rirs = (np.array(lengths[is_rir], dtype=np.int64) for is_rir in (False, True))
    return BankIndex(kinds, sounds, rirs)


def hold_banks(series: Iterable[Series], *, num_samples: int) -> Banks:
    """Return the recordings in the memory of this process."""
    sink = io.BytesIO()
    index = write_banks(sink, series, num_samples=num_samples)
    return Banks(as_samples(sink.getbuffer()), index)


def as_samples(buffer: Any) -> NDArray[np.int16]:
    """Return the bytes of a buffer as samples, without a copy."""
    return np.frombuffer(buffer, np.int16) if len(buffer) else np.empty(0, np.int16)


def _repeated(waveform: NDArray[np.int16], num_samples: int) -> NDArray[np.int16]:
    times = -(-num_samples // len(waveform))
    return waveform if times <= 1 else np.tile(waveform, times)[:num_samples]
