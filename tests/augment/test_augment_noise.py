"""Noise at the ratio that was drawn."""

import numpy as np
import pytest
import torch

from sv_cli.augment.noise import add_sources, change_level, normalize_peak
from sv_cli.augment.settings import MixSettings

SNR = torch.tensor([0.0, 7.3, 15.0, 29.0])


def power(x: torch.Tensor) -> torch.Tensor:
    return x.double().square().mean(dim=1)


def test_added_noise_has_the_drawn_ratio(crops: torch.Tensor) -> None:
    speech, noise = crops[:4], crops[8:12] * 3
    mixed = add_sources(speech, noise, torch.arange(4), SNR, MixSettings(power_floor=0.0))
    measured = 10 * torch.log10(power(speech) / power(mixed - speech))
    assert measured.numpy() == pytest.approx(SNR.double().numpy(), abs=1e-3)


def test_the_floor_is_added_to_both_powers(crops: torch.Tensor) -> None:
    speech, noise = crops[:1] * 1e-2, crops[8:9] * 1e-3
    mixed = add_sources(speech, noise, torch.arange(1), SNR[:1], MixSettings(power_floor=1e-4))
    expected = np.sqrt((power(speech) + 1e-4) / (power(noise) + 1e-4))
    gain = (mixed - speech).norm() / noise.norm()
    assert float(gain) == pytest.approx(float(expected), rel=1e-4)


def test_scaled_noise_has_the_ratio_and_keeps_the_level(crops: torch.Tensor) -> None:
    speech, noise = crops[:4], crops[8:12]
    settings = MixSettings(style="scaled", babble="sum")
    mixed = add_sources(speech, noise, torch.arange(4), SNR, settings)
    ratio = 10 ** (SNR / 20)
    clean = speech * (ratio / (1 + ratio))[:, None]
    measured = 10 * torch.log10(power(clean) / power(mixed - clean))
    assert measured.numpy() == pytest.approx(SNR.double().numpy(), abs=1e-3)
    rms = power(speech).sqrt()
    assert (power(clean).sqrt() + power(mixed - clean).sqrt()).numpy() == pytest.approx(
        rms.numpy(), rel=1e-5
    )


def test_each_of_a_babble_has_its_ratio(crops: torch.Tensor) -> None:
    owners = torch.tensor([0, 0, 0, 1])
    settings = MixSettings(power_floor=0.0)
    mixed = add_sources(crops[:2], crops[8:12], owners, SNR, settings)
    gains = (power(crops[:2])[owners] / power(crops[8:12]) / 10 ** (SNR.double() / 10)).sqrt()
    parts = crops[8:12].double() * gains[:, None]
    expected = crops[:2].double() + torch.stack([parts[:3].sum(0), parts[3]])
    assert torch.allclose(mixed.double(), expected, atol=1e-6)


def test_the_sum_of_a_babble_has_the_ratio(crops: torch.Tensor) -> None:
    settings = MixSettings(babble="sum", power_floor=0.0)
    mixed = add_sources(
        crops[:1], crops[8:12], torch.zeros(4, dtype=torch.int64), SNR[1].expand(4), settings
    )
    measured = 10 * torch.log10(power(crops[:1]) / power(mixed - crops[:1]))
    assert float(measured) == pytest.approx(7.3, abs=1e-3)


def test_silence_stays_finite(crops: torch.Tensor) -> None:
    zero = torch.zeros(1, 100)
    for settings in (
        MixSettings(),
        MixSettings(style="scaled", babble="sum"),
    ):
        for speech, noise in ((zero, zero), (zero, crops[:1, :100]), (crops[:1, :100], zero)):
            mixed = add_sources(speech, noise, torch.arange(1), SNR[:1], settings)
            assert torch.isfinite(normalize_peak(mixed, 1e-4)).all()


def test_levels(crops: torch.Tensor) -> None:
    peaks = normalize_peak(crops, 1e-4).abs().amax(dim=1)
    assert ((peaks > 0.99) & (peaks < 1.0)).all()
    assert normalize_peak(crops, 0.0) is crops
    louder = change_level(crops[:2], torch.tensor([0.0, 20.0]))
    assert torch.equal(louder[0], crops[0]) and torch.allclose(louder[1], crops[1] * 10)
