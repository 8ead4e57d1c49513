"""Speed in batches, against the closed form and scipy's resampler."""

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from sv_cli.audio.speed import (
    change_speed_batch,
    filter_blocks,
    num_context_samples,
    num_input_samples,
    play,
)

RATE = 16000
FACTORS = [0.9, 1.1, 0.95, 1.07, 0.5, 2.0]


def tones(frequencies: list[float], time: np.ndarray) -> np.ndarray:
    return sum(np.sin(2 * np.pi * f * time + f) for f in frequencies)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("num_samples", [1, 9, 10, 11, 12345, 48000])
def test_lengths_are_exact(factor: float, num_samples: int) -> None:
    count = num_input_samples(num_samples, factor)
    assert count >= num_samples * factor
    longer = torch.zeros(2, count + 17)
    assert change_speed_batch(longer, factor, num_samples).shape == (2, num_samples)


@pytest.mark.parametrize("factor", FACTORS)
def test_tones_are_played_at_the_speed(factor: float) -> None:
    highest = 0.9 * RATE / 2 / max(1.0, factor)
    frequencies = [60.0, 517.0, 0.5 * highest, highest]
    context = num_context_samples(factor)
    time = (np.arange(num_input_samples(16000, factor)) - context) / RATE
    waveform = torch.from_numpy(tones(frequencies, time)).float()
    played = change_speed_batch(waveform[None], factor, 16000)[0]
    expected = tones(frequencies, np.arange(16000) / RATE * factor)
    assert np.abs(played.numpy() - expected).max() < 2e-3


def test_what_would_fold_back_is_removed() -> None:
    time = np.arange(num_input_samples(16000, 1.1)) / RATE
    waveform = torch.from_numpy(np.sin(2 * np.pi * 7700 * time)).float()
    assert change_speed_batch(waveform[None], 1.1, 16000).abs().max() < 5e-4


@pytest.mark.parametrize(("factor", "up", "down"), [(0.9, 10, 9), (1.1, 10, 11)])
def test_speech_band_agrees_with_scipy(factor: float, up: int, down: int) -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    spectrum = np.fft.rfft(rng.standard_normal(40000))
    spectrum[int(5500 / 8000 * 20000) :] = 0
    waveform = np.fft.irfft(spectrum)
    context = num_context_samples(factor)
    count = num_input_samples(16000, factor)
    played = change_speed_batch(torch.from_numpy(waveform[None, :count]).float(), factor, 16000)
    ours = played[0].double().numpy()
    window = ("kaiser", 12.0)
    scipys = resample_poly(waveform, up, down, window=window, padtype="line")
    offset = context / factor  # where our first sample lies at the new rate
    whole = int(np.ceil(offset))
    # Both are sampled at the same instants only where the context is whole at the new rate.
    shift = whole - offset
    frequencies = np.fft.rfftfreq(16000)
    aligned = np.fft.irfft(np.fft.rfft(ours) * np.exp(2j * np.pi * frequencies * shift))
    inner = slice(500, 15000)
    difference = aligned[inner] - scipys[whole : whole + 16000][inner]
    assert np.sqrt((difference**2).mean() / (waveform**2).mean()) < 3e-3


def test_product_and_convolution_are_one() -> None:
    generator = torch.Generator().manual_seed(3)
    waveforms, kernel = torch.randn(3, 500, generator=generator), torch.randn(10, 1, 41)
    one, other = (filter_blocks(waveforms, kernel, 9, by_product=way) for way in (True, False))
    assert one.shape == (3, 52, 10) and torch.allclose(one, other, atol=1e-4)


def test_a_batch_of_several_speeds() -> None:
    factors = (1.0, 0.9, 1.1)
    longest = max(num_input_samples(4000, f) for f in factors[1:])
    batch = torch.randn(6, longest, generator=torch.Generator().manual_seed(1))
    speeds = torch.tensor([0, 1, 2, 2, 0, 1])
    played = play(batch, speeds, factors, 4000)
    for row, number in enumerate(speeds.tolist()):
        alone = batch[row : row + 1]
        expected = (
            alone[:, :4000] if number == 0 else change_speed_batch(alone, factors[number], 4000)
        )
        assert torch.allclose(played[row], expected[0], atol=1e-6)
    assert play(batch, speeds, (1.0,), 4000) is batch
    slow = batch[speeds == 1, : num_input_samples(4000, 0.9)]
    assert slow.shape[1] < 4000
    both = play(slow, torch.tensor([1, 1]), factors, 4000)
    assert torch.allclose(both, played[speeds == 1], atol=1e-6)
