"""Sliding normalisation and energy VAD against Kaldi's own, and against their definition."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sv_cli.audio.read import read_waveform
from sv_cli.errors import ShapeError
from sv_cli.features import fbank
from sv_cli.features.cmn import normalize_columns, sliding_cmn, subtract_mean
from sv_cli.features.fbank import log_energy
from sv_cli.features.settings import FrontendSettings, VadSettings
from sv_cli.features.vad import energy_vad, select_voiced
from sv_cli.tables.kaldi.arrays import iterate_arrays, read_arrays

FIGURES = json.loads((Path(__file__).parent / "kaldi_figures.json").read_text())
KALDI = VadSettings(snip_edges=False)
NOISE = torch.rand(70, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SLIDING = {
    "mfcc/mfcc.cmn300": ("mfcc/mfcc", {"window": 300}, 1.2e-5),
    "mfcc/mfcc.cmvn100": ("mfcc/mfcc", {"window": 100, "norm_vars": True}, 6e-5),
    "mfcc/mfcc.cmn100causal": (
        "mfcc/mfcc",
        {"window": 100, "center": False, "min_window": 50},
        1.2e-5,
    ),
    "fbank/fbank.cmn300": ("fbank/fbank.snip.povey.20-0", {"window": 300}, 1.2e-5),
}


@pytest.mark.parametrize("name", SLIDING)
def test_kaldis_sliding_normalisation(name, shared):
    source, options, tolerance = SLIDING[name]
    kaldi = shared / "golden" / "kaldi"
    features = read_arrays(f"ark:{kaldi}/{source}.ark")
    for utt, expected in iterate_arrays(f"ark:{kaldi}/{name}.ark"):
        normalized = sliding_cmn(torch.from_numpy(features[utt]), **options)
        np.testing.assert_allclose(normalized, expected, atol=tolerance)


@pytest.mark.parametrize("window", [1, 2, 7, 20, 69, 70, 300])
@pytest.mark.parametrize("center", [True, False])
def test_definition_of_the_sliding_window(window, center):
    expected = torch.empty_like(NOISE)
    for t in range(70):
        start = t - window // 2 if center else t - window
        end = start + window if center else t + 1
        if start < 0:
            start, end = 0, (end - start if center else max(t + 1, 10))
        if end > 70:
            start, end = max(0, start - (end - 70)), 70
        rows = NOISE[start:end]
        scale = rows.var(dim=0, correction=0).clamp_min(1e-10).rsqrt() if len(rows) > 1 else 0.0
        expected[t] = (NOISE[t] - rows.mean(dim=0)) * scale
    options = {"window": window, "center": center, "min_window": 10, "norm_vars": True}
    normalized = sliding_cmn(NOISE, **options)
    torch.testing.assert_close(normalized, expected, atol=1e-6, rtol=1e-6)


def test_over_the_utterance():
    both = FrontendSettings(mean_norm=True, var_norm=True)
    normalized = normalize_columns(NOISE, both)
    torch.testing.assert_close(normalized.mean(dim=0), torch.zeros(5).double())
    expected = torch.nn.functional.instance_norm(NOISE.T[None])[0].T
    torch.testing.assert_close(normalized, expected)
    torch.testing.assert_close(subtract_mean(NOISE), NOISE - NOISE.mean(dim=0))
    empty = torch.zeros(2, 0, 5)
    assert subtract_mean(empty).shape == normalize_columns(empty, both).shape == (2, 0, 5)
    assert sliding_cmn(torch.zeros(0, 5)).shape == (0, 5)
    with pytest.raises(ShapeError):
        sliding_cmn(torch.zeros(2, 3, 5))


def test_kaldis_decisions(shared):
    kaldi = shared / "golden" / "kaldi"
    expected = read_arrays(f"ark:{kaldi}/mfcc/vad.ark")
    for line in (kaldi / "mfcc" / "edge.vad.txt").read_text().splitlines():
        utt, *fields = line.replace("[", "").replace("]", "").split()
        expected[utt] = np.array(fields, np.float32)
    assert len(expected) > 30
    for utt, decisions in expected.items():
        waveform, _ = read_waveform(f"wav/{utt}.wav", audio_root=kaldi)
        voiced = energy_vad(log_energy(torch.from_numpy(waveform), KALDI), KALDI)
        np.testing.assert_array_equal(voiced.float(), decisions)


def test_recorded_decisions_of_kaldi():
    voiced = energy_vad(torch.tensor(FIGURES["log_energy"]), KALDI)
    assert "".join(str(int(value)) for value in voiced) == FIGURES["voiced"]


def test_decisions_by_hand():
    energy = torch.tensor([0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 0.0])
    settings = VadSettings(vad_energy_mean_scale=0.0, vad_frames_context=1)
    assert energy_vad(energy, settings).int().tolist() == [0, 1, 1, 1, 0, 0, 0]
    strict = settings.model_copy(update={"vad_proportion_threshold": 0.4})
    assert energy_vad(energy, strict).int().tolist() == [0] * 7
    assert energy_vad(torch.zeros(0), settings).shape == (0,)


def test_energies_in_blocks_are_those_of_the_whole(monkeypatch):
    waveforms = torch.randn(2, 20000, generator=torch.Generator().manual_seed(0))
    for settings in (VadSettings(), VadSettings(snip_edges=False)):
        whole = log_energy(waveforms, settings)
        with monkeypatch.context() as patch:
            patch.setattr(fbank, "_FRAMES_OF_ENERGY", 7)
            assert torch.equal(log_energy(waveforms, settings), whole)


def test_voiced_frames_are_kaldis(shared):
    kaldi = shared / "golden" / "kaldi" / "mfcc"
    features = read_arrays(f"ark:{kaldi}/mfcc.cmn300.ark")
    decisions = read_arrays(f"ark:{kaldi}/vad.ark")
    for utt, expected in iterate_arrays(f"ark:{kaldi}/xv-in.ark"):
        pair = torch.from_numpy(features[utt]), torch.from_numpy(decisions[utt])
        np.testing.assert_array_equal(select_voiced(*pair), expected)
    with pytest.raises(ShapeError, match="3 VAD decisions for 2 frames"):
        select_voiced(torch.zeros(2, 5), torch.ones(3))
