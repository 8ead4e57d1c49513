"""Recordings held in memory as int16, for cutting pieces out of them in batches."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sv_cli.audio.read import read_waveform
from sv_cli.errors import AudioError, TableError
from sv_cli.tables.datadir import DataDir, Utterance

_FULL_SCALE = 32768.0


@dataclass(frozen=True)
class SoundBank:
    """Noise, music and speech, one file after the other.

    Files shorter than a crop were repeated to its length when they were read, so every piece of a
    crop's length lies in one stretch.

    Attributes
    ----------
    samples : (total,) int16
    starts, lengths : (num_files,) int64
        Where each file lies.
    """

    samples: Tensor
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def join(
        cls, waveforms: Iterable[NDArray[np.int16]], *, num_samples: int, device: torch.device
    ) -> "SoundBank":
        """Return a bank that gives pieces of up to `num_samples` samples."""
        parts = [_repeated(waveform, num_samples) for waveform in waveforms]
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        joined = np.concatenate(parts) if parts else np.empty(0, np.int16)
        samples = torch.from_numpy(joined).to(device)
        return cls(samples, np.cumsum(lengths) - lengths, lengths)

    def cut(self, files: NDArray[np.int64], places: NDArray[np.float64], length: int) -> Tensor:
        """Return pieces of files as (num_pieces, length) float32 in [-1, 1).

        Parameters
        ----------
        files : (num_pieces,) int64
        places : (num_pieces,) float64
            0 is the earliest start that leaves room for the piece, 1 the one behind the latest.
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

    @classmethod
    def join(
        cls, waveforms: Iterable[NDArray[np.int16]], *, num_samples: int, device: torch.device
    ) -> "RirBank":
        """Return a bank whose responses are cut to `num_samples`: later taps reach no crop."""
        cut = [waveform[:num_samples] for waveform in waveforms]
        taps = np.zeros((len(cut), max(map(len, cut), default=0)), np.int16)
        for row, waveform in zip(taps, cut, strict=True):
            row[: len(waveform)] = waveform
        return cls(torch.from_numpy(taps).to(device))

    def responses(self, rirs: Tensor) -> Tensor:
        """Return (num_rirs, length) float32 with energy 1."""
        taps = self.taps[rirs].float()
        norm: Tensor = torch.linalg.vector_norm(taps, dim=-1, keepdim=True)
        return taps / norm

    @property
    def num_bytes(self) -> int:
        """Memory that the taps take."""
        return 2 * self.taps.numel()


def read_files(
    path: str, *, sample_rate: int, audio_root: str | None, full_scale: bool = False
) -> dict[str, NDArray[np.int16]]:
    """Return the recordings of a data directory as int16, by utterance.

    Parameters
    ----------
    path : str
        Data directory; `wav.scp` is enough.
    sample_rate : int
        Rate in Hz that they must have.
    full_scale : bool
        Bring each to full scale; otherwise only those beyond it.

    Raises
    ------
    TableError, AudioError
        When the directory or a recording is missing, of another rate, or silent from end to end.
    """
    data = DataDir.load(path)
    if not data.wav:
        raise TableError(f"`{path}`: no wav.scp to take recordings from")
    return {
        utterance.utt: _read(utterance, sample_rate, audio_root, full_scale)
        for utterance in data.recordings()
    }


def _read(
    utterance: Utterance, sample_rate: int, audio_root: str | None, full_scale: bool
) -> NDArray[np.int16]:
    waveform, rate = read_waveform(
        utterance.rx,
        start=utterance.start,
        end=utterance.end,
        channel=0 if utterance.channel is None else utterance.channel,
        sample_rate=None,
        audio_root=audio_root,
    )
    if rate != sample_rate:
        raise AudioError(
            f"`{utterance.utt}`: sample rate {rate} instead of {sample_rate}",
            hint="bring noise and responses to the rate of the training data",
        )
    peak = float(np.abs(waveform).max())
    if peak == 0.0:
        raise AudioError(
            f"`{utterance.utt}`: silent from end to end", hint="remove it from wav.scp"
        )
    highest = (_FULL_SCALE - 1) / _FULL_SCALE
    scale = highest / peak if full_scale or peak > 1.0 else 1.0
    wide = np.rint(waveform.astype(np.float64) * scale * _FULL_SCALE)
    return np.clip(wide, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def _repeated(waveform: NDArray[np.int16], num_samples: int) -> NDArray[np.int16]:
    times = -(-num_samples // len(waveform))
    return waveform if times <= 1 else np.tile(waveform, times)[:num_samples]
