"""Filter banks against Kaldi's own, and against their definition."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sv_cli.audio.read import read_waveform
from sv_cli.errors import SettingsError
from sv_cli.features.fbank import LOG_FLOOR, Fbank, fbank, log_energy, mel_weights, num_frames
from sv_cli.features.settings import FbankSettings, FrameSettings
from sv_cli.settings.model import build_settings
from sv_cli.tables.kaldi.arrays import iterate_arrays

FIGURES = json.loads((Path(__file__).parent / "kaldi_figures.json").read_text())
ENERGY = {"use_energy": True, "energy_floor": 1.0}
VARIANTS = {
    **{
        f"fbank.{edges}.{window}.20-{high}": {
            "snip_edges": edges == "snip",
            "window_type": window,
            "high_freq": float(high),
        }
        for edges in ("snip", "nosnip")
        for window in ("povey", "hamming")
        for high in (0, 7600)
    },
    "fbank.energy-floor1": ENERGY,
    "fbank.energy-raw-false": {**ENERGY, "raw_energy": False},
    "fbank.subtract-mean": {"subtract_mean": True},
    "fbank.nopower": {"use_power": False},
    "edge.snip": {},
    "edge.nosnip": {"snip_edges": False},
    "edge.energy-floor0": {"use_energy": True},
    "edge.energy-floor1": ENERGY,
}
NOISE = torch.rand(3, 20000, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("name", VARIANTS)
def test_kaldis_features(name, shared):
    kaldi = shared / "golden" / "kaldi"
    settings = FbankSettings(**VARIANTS[name])
    errors = []
    for utt, expected in iterate_arrays(f"ark:{kaldi}/fbank/{name}.ark"):
        waveform, _ = read_waveform(f"wav/{utt}.wav", audio_root=kaldi)
        features = fbank(torch.from_numpy(waveform), settings).numpy()
        assert len(features) == len(expected), utt
        if len(expected) and utt != "edge-sine1k":
            errors.append(np.abs(features - expected).ravel())
        elif len(expected):  # bins that hold nothing but Kaldi's own rounding
            assert np.abs(features - expected).max() < 2.6e-2
    errors = np.concatenate(errors)
    assert errors.mean() < 2e-5
    assert np.quantile(errors, 0.9999) < 5e-3
    assert errors.max() < 5e-2


@pytest.mark.parametrize(
    ("name", "options"),
    [("snip", {}), ("nosnip", {"snip_edges": False}), ("energy-floor1", ENERGY)],
)
def test_recorded_figures_of_kaldi(name, options):
    waveform = torch.tensor(FIGURES["samples"]) / 32768
    expected = torch.tensor(FIGURES[name])
    torch.testing.assert_close(
        fbank(waveform, FbankSettings(**options)), expected, atol=5e-4, rtol=0
    )


def test_definition_in_float64():
    """Frame by frame as the formulas say, for options that Kaldi's figures do not cover."""
    settings = FbankSettings(
        num_mel_bins=23,
        window_type="blackman",
        low_freq=100.0,
        high_freq=-200.0,
        frame_length_ms=20.0,
        frame_shift_ms=12.5,
        preemphasis=0.9,
        remove_dc_offset=False,
        sample_rate=8000,
    )
    samples = NOISE[0, :1000].double().numpy() * 32768
    turn = 2 * np.pi * np.arange(160) / 159
    window = 0.42 - 0.5 * np.cos(turn) + 0.08 * np.cos(2 * turn)
    expected = []
    for start in range(0, 1000 - 160 + 1, 100):
        frame = samples[start : start + 160]
        frame = np.append(frame[0] * 0.1, frame[1:] - 0.9 * frame[:-1]) * window
        power = np.abs(np.fft.rfft(frame, 256))[:128] ** 2
        expected.append(np.log(power @ mel_weights(settings).numpy()))
    features = fbank(NOISE[0, :1000], settings)
    np.testing.assert_allclose(features, np.array(expected), atol=1e-4)


@pytest.mark.parametrize("window", ["povey", "hamming", "hanning", "rectangular", "sine"])
def test_windows_at_their_middle_and_ends(window):
    impulse = torch.zeros(401)
    settings = FbankSettings(
        window_type=window,
        preemphasis=0.0,
        remove_dc_offset=False,
        sample_scale=1.0,
        use_energy=True,
        raw_energy=False,
        frame_length_ms=25.0625,
        use_log=False,
    )
    impulse[200] = 1.0
    assert float(fbank(impulse, settings)[0, 0]) == pytest.approx(0.0, abs=1e-5)
    at_end = torch.zeros(401)
    at_end[0] = 1.0
    ends = {"rectangular": 1.0, "hamming": 0.08}
    expected = np.log(max(ends.get(window, 0.0) ** 2, LOG_FLOOR))
    assert float(fbank(at_end, settings)[0, 0]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"snip_edges": False, **ENERGY}, {"subtract_mean": True}])
def test_a_batch_is_its_items(options):
    settings = FbankSettings(**options)
    batch = fbank(NOISE.view(3, 1, -1), settings)
    assert batch.shape == (3, 1, num_frames(20000, settings), settings.feat_dim)
    for item, waveform in zip(batch, NOISE, strict=True):
        torch.testing.assert_close(item[0], fbank(waveform, settings), atol=1e-5, rtol=0)


def test_a_long_waveform_is_its_parts():
    long = torch.rand(200_000, generator=torch.Generator().manual_seed(1)) - 0.5
    settings = FbankSettings()
    whole = fbank(long, settings)
    torch.testing.assert_close(
        whole[700:900], fbank(long[700 * 160 : 899 * 160 + 400], settings), atol=1e-5, rtol=0
    )


def test_counts_of_frames():
    for count in (0, 1, 79, 80, 81, 160, 399, 400, 401, 559, 560, 4321):
        for snip_edges in (True, False):
            settings = FbankSettings(snip_edges=snip_edges)
            features = fbank(torch.zeros(count), settings)
            assert features.shape == (num_frames(count, settings), 80)
            assert (features == np.log(np.float32(LOG_FLOOR))).all()


def test_silence_and_constants_stand_at_the_floor():
    floor = float(np.log(LOG_FLOOR))
    for level in (0.0, 1000 / 32768, -0.9000244140625):
        features = fbank(torch.full((1600,), level), FbankSettings())
        assert float(features.max()) == pytest.approx(floor)


def test_neither_autocast_nor_gradients_reach_the_features():
    expected = fbank(NOISE, FbankSettings())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = fbank(NOISE, FbankSettings())
    torch.testing.assert_close(cast, expected, atol=0, rtol=0)
    assert not fbank(NOISE.clone().requires_grad_(), FbankSettings()).requires_grad


def test_dither_has_its_deviation_and_its_seed():
    settings = FbankSettings(dither=2.0, remove_dc_offset=False, use_energy=True)
    draws = [
        fbank(torch.zeros(160_000), settings, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    deviation = float((draws[0][:, 0].exp() / 400).mean().sqrt())
    assert deviation == pytest.approx(2.0, rel=0.01)


def test_the_module_is_still_in_eval_mode():
    module = Fbank(FbankSettings(dither=1.0)).eval()
    torch.testing.assert_close(module(NOISE), fbank(NOISE, FbankSettings()), atol=0, rtol=0)


def test_log_energy_is_kaldis(shared):
    kaldi = shared / "golden" / "kaldi"
    settings = FrameSettings(snip_edges=False)
    for utt, mfcc in iterate_arrays(f"ark:{kaldi}/mfcc/mfcc.ark"):
        waveform, _ = read_waveform(f"wav/{utt}.wav", audio_root=kaldi)
        energy = log_energy(torch.from_numpy(waveform), settings)
        np.testing.assert_allclose(energy, mfcc[:, 0], atol=1e-5)


WRONG = {
    "low_freq": ({"low_freq": 9000.0}, "do not fit a sample_rate of 16000 Hz"),
    "high_freq": ({"high_freq": 9000.0}, "do not fit"),
    "shift": ({"frame_shift_ms": 0.01}, "move by at least 1"),
    "odd": ({"frame_length_ms": 25.0625, "round_to_power_of_two": False}, "odd number"),
    "name": ({"num_mel_bin": 40}, "did you mean `num_mel_bins`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_told(case):
    values, message = WRONG[case]
    with pytest.raises(SettingsError, match=message):
        build_settings(FbankSettings, values)


@pytest.mark.gpu
def test_the_gpu_agrees(monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    for options in ({}, {"window_type": "hamming", "snip_edges": False, **ENERGY}):
        settings = FbankSettings(**options)
        features = fbank(NOISE.to(device), settings).cpu()
        torch.testing.assert_close(features, fbank(NOISE, settings), atol=1e-4, rtol=0)
