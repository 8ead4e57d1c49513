"""Band limits measured with tones, in dB."""

import numpy as np
import pytest
import torch
from known_recordings import RATE
from scipy.signal import find_peaks

from sv_cli.augment.band import limit_band

SECONDS = 2


def tones(hertz: list[float]) -> torch.Tensor:
    time = torch.arange(SECONDS * RATE, dtype=torch.float64) / RATE
    return torch.stack([0.5 * torch.sin(2 * torch.pi * f * time) for f in hertz]).float()


def limited(waveforms: torch.Tensor, low: float, high: float) -> torch.Tensor:
    count = len(waveforms)
    return limit_band(waveforms, torch.full((count,), low), torch.full((count,), high), RATE)


def gains_db(hertz: list[float], low: float, high: float) -> np.ndarray:
    """Return what the middle of each tone gained, away from its ends."""
    before = tones(hertz)
    after = limited(before, low, high)
    middle = slice(RATE // 2, 3 * RATE // 2)
    powers = [x[:, middle].double().square().mean(1) for x in (after, before)]
    return (10 * torch.log10(powers[0] / powers[1] + 1e-20)).numpy()


def test_a_telephone_line() -> None:
    inside = gains_db([300, 500, 1000, 2000, 3000, 3400], 300.0, 3400.0)
    assert inside == pytest.approx(np.zeros(6), abs=0.05)
    outside = gains_db([50, 100, 200, 245, 4000, 5000, 7000], 300.0, 3400.0)
    assert outside.max() < -50
    edges = gains_db([275, 3400 * 13 / 12], 300.0, 3400.0)
    assert edges == pytest.approx([-6.02, -6.02], abs=0.3), "the middle of each edge"


def test_an_open_side_stays() -> None:
    assert gains_db([20, 100, 7900], 0.0, 8000.0) == pytest.approx(np.zeros(3), abs=0.01)
    assert gains_db([20, 7900], 0.0, 4000.0)[1] < -60


def test_there_is_no_delay_and_no_wrapping_around() -> None:
    click = torch.zeros(2, RATE)
    click[0, 5000] = click[1, RATE - 1] = 1.0
    after = limited(click, 300.0, 3400.0)
    assert int(after[0].argmax()) == 5000
    peaks, _ = find_peaks(after[0].numpy(), height=0.9 * float(after[0].max()))
    assert list(peaks) == [5000]
    assert float(after[1, : RATE // 2].abs().max()) < 1e-3, "the end is heard at the start"


def test_each_row_has_its_own_limits() -> None:
    batch = torch.randn(5, 8000, generator=torch.Generator().manual_seed(1))
    low = torch.tensor([0.0, 50.0, 300.0, 150.0, 80.0])
    high = torch.tensor([8000.0, 3400.0, 4000.0, 7000.0, 5000.0])
    together = limit_band(batch, low, high, RATE)
    for row in range(5):
        one = slice(row, row + 1)
        alone = limit_band(batch[one], low[one], high[one], RATE)
        assert torch.allclose(together[one], alone, atol=1e-6)
