"""Convolution with rooms, against scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from known_recordings import NUM_SAMPLES, response
from scipy.signal import fftconvolve

from sv_cli.augment import reverb
from sv_cli.augment.banks import RirBank, Series, hold_banks
from sv_cli.augment.reverb import Reverb, next_fast_size


def bank(*responses: np.ndarray) -> RirBank:
    series = [Series(("rir",), responses)]
    return hold_banks(series, num_samples=NUM_SAMPLES).rirs(torch.device("cpu"))


@pytest.mark.parametrize("kept", [True, False])
def test_it_is_the_convolution_cut_to_length(
    crops: torch.Tensor, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr(reverb, "_MAX_KEPT_BYTES", 0)
    rooms = [response(0, 900), response(1, 2500), response(2, NUM_SAMPLES + 500)]
    wet = Reverb(bank(*rooms), NUM_SAMPLES, "cut")(crops[:4], torch.tensor([2, 0, 1, 1]))
    for row, room in zip(range(4), (2, 0, 1, 1), strict=True):
        taps = rooms[room][:NUM_SAMPLES].astype(np.float64)
        taps /= np.sqrt((taps**2).sum())
        expected = fftconvolve(crops[row].double().numpy(), taps)[:NUM_SAMPLES]
        assert np.abs(wet[row].numpy() - expected).max() < 1e-5


def test_aligned_it_is_circular_with_the_strongest_tap_first(crops: torch.Tensor) -> None:
    room = response(3, 2000)
    wet = Reverb(bank(room), NUM_SAMPLES, "aligned")(crops[:2], torch.tensor([0, 0]))
    taps = np.zeros(NUM_SAMPLES)
    taps[: len(room)] = room
    taps = np.roll(taps, -int(np.abs(room.astype(int)).argmax()))
    assert np.abs(taps).argmax() == 0 and taps[-1] == 0.0  # 20 zeros before the direct path
    for row in range(2):
        x = crops[row].double().numpy()
        twice = fftconvolve(np.concatenate([x, x]), taps)
        circular = twice[NUM_SAMPLES : 2 * NUM_SAMPLES]
        expected = circular * np.sqrt((x**2).mean() / (circular**2).mean())
        assert np.abs(wet[row].numpy() - expected).max() < 1e-5


def test_a_single_tap_does_nothing(crops: torch.Tensor) -> None:
    tap = np.array([30000], np.int16)
    for style in ("cut", "aligned"):
        wet = Reverb(bank(tap), NUM_SAMPLES, style)(crops[:3], torch.zeros(3, dtype=torch.int64))
        assert torch.allclose(wet, crops[:3], atol=1e-6)


def test_a_batch_is_what_each_is_alone(crops: torch.Tensor) -> None:
    room = Reverb(bank(response(0, 900), response(1, 2500)), NUM_SAMPLES, "cut")
    rirs = torch.tensor([0, 1, 1, 0])
    together = room(crops[:4], rirs)
    for row in range(4):
        alone = room(crops[row : row + 1], rirs[row : row + 1])
        assert torch.allclose(together[row], alone[0], atol=1e-7)


@given(st.integers(2, 300_000))
def test_fast_sizes(size: int) -> None:
    fast = next_fast_size(size)
    assert size <= fast < 2 * size + 2 and fast % 2 == 0
    for prime in (2, 3, 5):
        while fast % prime == 0:
            fast //= prime
    assert fast == 1
