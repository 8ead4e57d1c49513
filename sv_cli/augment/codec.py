"""Codecs over the utterances of a batch: the telephone's on the device, the others on the host."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sv_cli.audio.codec import CODECS, recode
from sv_cli.augment.band import PAD_SECONDS, band_response
from sv_cli.augment.draw import Coded
from sv_cli.augment.g711 import compand
from sv_cli.augment.reverb import next_fast_size
from sv_cli.augment.settings import CodecSettings
from sv_cli.errors import AudioError, SettingsError
from sv_cli.workers import num_cores

PHONE_RATE = 8000
# The band of a telephone line, of which its 8000 samples a second leave the upper edge.
_PHONE_BAND_HZ = 3400.0
_MAX_THREADS = 8


class Coder:
    """Plays crops of one length through the codecs of the settings.

    Parameters
    ----------
    settings : CodecSettings
    sample_rate : int
        Hz of the crops.
    num_samples : int
        Length of the crops.

    Raises
    ------
    SettingsError
        When the installed libsndfile does not encode one of them at that rate.
    """

    def __init__(self, settings: CodecSettings, *, sample_rate: int, num_samples: int) -> None:
        self._names, self._rate = settings.names, sample_rate
        self._line = PhoneLine(sample_rate, num_samples)
        self._num_threads = min(num_cores(), _MAX_THREADS)
        for name in settings.names:
            if name in CODECS:
                self._try(name, num_samples, settings.compression)

    def __call__(self, waveforms: Tensor, coded: Coded) -> Tensor:
        """Return (num_coded, num_samples), each row of `coded` through its codec.

        A row beyond full scale is brought to it for the codec, and back.
        """
        scale = waveforms.abs().amax(dim=1, keepdim=True).clamp_min(1.0)
        out = waveforms / scale
        names = np.array(self._names)[coded.codecs]
        by_phone = np.array([is_phone_codec(name) for name in names], dtype=bool)
        for chosen, code in ((by_phone, self._by_phone), (~by_phone, self._on_host)):
            if chosen.any():
                rows = torch.from_numpy(np.flatnonzero(chosen)).to(out.device)
                out[rows] = code(out[rows], names[chosen], coded.compression[chosen], self._rate)
        return out * scale

    def _by_phone(
        self, waveforms: Tensor, names: NDArray[np.str_], levels: NDArray[np.float64], rate: int
    ) -> Tensor:
        line = self._line.down(waveforms)
        for name in np.unique(names):
            rows = torch.from_numpy(np.flatnonzero(names == name)).to(line.device)
            chosen = names[names == name], levels[names == name]
            line[rows] = (
                self._on_host(line[rows], *chosen, PHONE_RATE)
                if name in CODECS
                else compand(line[rows], str(name))  # type: ignore[arg-type]
            )
        return self._line.up(line)

    def _on_host(
        self, waveforms: Tensor, names: NDArray[np.str_], levels: NDArray[np.float64], rate: int
    ) -> Tensor:
        def code(row: int) -> NDArray[np.float32]:
            return recode(host[row], rate, str(names[row]), compression=float(levels[row]))

        host = waveforms.cpu().numpy()
        with ThreadPoolExecutor(min(self._num_threads, len(host))) as pool:
            coded = np.stack(list(pool.map(code, range(len(host)))))
        return torch.from_numpy(coded).to(waveforms.device)

    def _try(self, name: str, num_samples: int, levels: tuple[float, float]) -> None:
        rate = CODECS[name].sample_rate or self._rate
        noise = np.random.Generator(np.random.PCG64(0)).standard_normal(num_samples) * 0.1
        try:
            for level in levels:
                recode(noise.astype(np.float32), rate, name, compression=level)
        except AudioError as error:
            raise SettingsError(
                f"`augment.codec.names`: {error.message}",
                hint=f"leave `{name}` out of it, or install a libsndfile that has it",
            ) from error


class PhoneLine:
    """Crops of one length at the rate of a telephone, and back, by FFT.

    Parameters
    ----------
    sample_rate : int
        Hz of the crops.
    num_samples : int
        Length of the crops.
    """

    def __init__(self, sample_rate: int, num_samples: int) -> None:
        divisor = math.gcd(sample_rate, PHONE_RATE)
        step, phone_step = sample_rate // divisor, PHONE_RATE // divisor
        padded = num_samples + round(PAD_SECONDS * sample_rate)
        blocks = next_fast_size(-(-padded // step))
        self._num_samples, self._size = num_samples, blocks * step
        self._phone_size = blocks * phone_step
        self._num_phone_samples = -(-num_samples * phone_step // step)

    def down(self, waveforms: Tensor) -> Tensor:
        """Return (batch, num_phone_samples) at 8000 Hz, limited to the band of a line."""
        bins = min(self._size, self._phone_size) // 2 + 1
        hertz = torch.arange(bins, device=waveforms.device) * (PHONE_RATE / self._phone_size)
        zero, edge = hertz.new_zeros(1), hertz.new_full((1,), _PHONE_BAND_HZ)
        spectra = torch.fft.rfft(waveforms, self._size)[:, :bins]
        spectra = spectra * band_response(hertz, zero, edge)
        line: Tensor = torch.fft.irfft(spectra, self._phone_size)
        return line[:, : self._num_phone_samples] * (self._phone_size / self._size)

    def up(self, line: Tensor) -> Tensor:
        """Return (batch, num_samples) at the rate of the crops."""
        spectra = torch.fft.rfft(line, self._phone_size)
        if self._size > self._phone_size:
            spectra[:, -1] = 0.0  # half of the line's rate belongs to neither side
        out: Tensor = torch.fft.irfft(spectra[:, : self._size // 2 + 1], self._size)
        return out[:, : self._num_samples] * (self._size / self._phone_size)


def is_phone_codec(name: str) -> bool:
    """Return whether a codec works on the samples of a telephone line."""
    return name not in CODECS or CODECS[name].sample_rate == PHONE_RATE
