"""Named front-ends against the closed-form figures of the projects that they come from."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sv_cli.audio.read import read_waveform
from sv_cli.audio.torchaudio_door import load_torchaudio
from sv_cli.errors import SettingsError
from sv_cli.features.fbank import fbank
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FRONTENDS, FrontendSettings, find_frontend, frontend_name
from sv_cli.settings.model import build_settings


def chirp():
    """32240 samples of two chirps and a tone, defined by their formula alone."""
    t = np.arange(32240) / 16000
    turn = 2 * np.pi
    samples = 0.3 * np.sin(turn * (200 * t + 50 * t**2))
    samples += 0.2 * np.sin(turn * 1234.5 * t)
    samples += 0.05 * np.sin(turn * 5200 * t * (1 + 0.1 * t))
    return torch.from_numpy(samples).float().unsqueeze(0)


FIGURES = {  # [0, 0:5], [100, 40:43], sum, sum of magnitudes after mean normalisation
    "taoruijie": (
        [-5.15201588, -4.06049944, -3.55425409, -2.59557178, -0.44844683],
        [-6.27140566, -6.87672731, -6.56797938],
        -91872.9309658708,
        20036.447865448965,
    ),
    "speaker-net": (
        [-3.33792957, -3.08391245, -2.73497521, -2.14573147, -1.59971361],
        [-6.22064616, -6.95232691, -6.6621164],
        -91979.70928481675,
        19901.811486032886,
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_centred_mel_front_ends(name):
    first, middle, total, magnitude = FIGURES[name]
    frontend = Frontend(FRONTENDS[name]).eval()
    features = frontend.features(chirp())[0]
    assert features.shape == (202, 80)
    assert frontend.num_frames(32240) == 202
    np.testing.assert_allclose(features[0, :5], first, atol=2e-4)
    np.testing.assert_allclose(features[100, 40:43], middle, atol=2e-4)
    assert float(features.double().sum()) == pytest.approx(total, rel=1e-5)
    normalized = frontend(chirp())[0]
    assert float(normalized.double().abs().sum()) == pytest.approx(magnitude, rel=1e-4)


def test_speechbrain_keeps_a_range_of_80_decibels():
    frontend = Frontend(FRONTENDS["speechbrain"]).eval()
    waveforms = chirp()
    waveforms[:, :16000] = 0.0
    features = frontend.features(waveforms)
    assert features.shape == (1, 202, 80)
    assert float(features.max() - features.min()) == pytest.approx(80.0, abs=1e-4)
    assert float(frontend(waveforms).mean(dim=1).abs().max()) < 1e-4


@pytest.mark.parametrize("name", FRONTENDS)
def test_a_batch_is_its_items(name):
    frontend = Frontend(FRONTENDS[name]).eval()
    waveforms = torch.cat([chirp(), chirp().flip(1) * 0.1, chirp().square()])
    batch = frontend(waveforms)
    assert batch.shape == (3, frontend.num_frames(32240), frontend.feat_dim)
    for item, waveform in zip(batch, waveforms, strict=True):
        torch.testing.assert_close(item, frontend(waveform[None])[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [n for n in FRONTENDS if FRONTENDS[n].kind != "waveform"])
def test_short_waveforms_have_no_frames(name):
    frontend = Frontend(FRONTENDS[name]).eval()
    assert frontend(torch.zeros(2, 150)).shape == (2, 0, frontend.feat_dim)
    assert frontend.num_frames(150) == 0


def test_normalize_is_the_second_half():
    frontend = Frontend(FRONTENDS["wespeaker"]).eval()
    features = frontend.features(chirp())
    torch.testing.assert_close(frontend.normalize(features), frontend(chirp()))
    plain = Frontend(FRONTENDS["wespeaker"].model_copy(update={"mean_norm": False})).eval()
    torch.testing.assert_close(plain(chirp()), features)


def test_dither_acts_in_training_alone_and_follows_the_generator():
    frontend = Frontend(FRONTENDS["wespeaker"])
    still = frontend.eval()(chirp())
    torch.testing.assert_close(still, frontend(chirp()), atol=0, rtol=0)
    frontend.train()
    draws = [frontend(chirp(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    torch.testing.assert_close(draws[0], draws[1], atol=0, rtol=0)
    assert not torch.equal(draws[0], draws[2])
    assert float((draws[0] - still).abs().median()) < 0.2


def test_the_scale_of_wespeaker_is_that_of_kaldi():
    settings = FRONTENDS["wespeaker"].model_copy(update={"dither": 0.0})
    scaled = settings.model_copy(update={"sample_scale": 1.0})
    expected = fbank(chirp() * 32768, scaled)
    torch.testing.assert_close(fbank(chirp(), settings), expected, atol=0, rtol=0)


def test_names():
    assert frontend_name(find_frontend("3dspeaker")) == "3dspeaker"
    assert frontend_name(FrontendSettings(num_mel_bins=64)) == "custom"
    with pytest.raises(SettingsError, match="did you mean `wespeaker`"):
        find_frontend("wespeeker")


def test_features_are_ready_for_training():
    features = Frontend(FRONTENDS["3dspeaker"]).train()(chirp())
    layer = torch.nn.Linear(80, 2)
    layer(features).sum().backward()
    assert layer.weight.grad is not None


def test_features_of_rdino_against_torchaudio_and_torch():
    transforms = load_torchaudio("torchaudio.transforms")
    power = transforms.MelSpectrogram(
        16000, n_fft=512, win_length=400, hop_length=160, f_min=0, f_max=8000, n_mels=80
    )
    noise = torch.randn(1, 32240, generator=torch.Generator().manual_seed(3))
    waveforms = chirp() + 0.01 * noise
    expected = torch.nn.InstanceNorm1d(80)((power(waveforms) + 1e-6).log())
    features = Frontend(FRONTENDS["3dspeaker-ssl"]).eval()(waveforms)
    torch.testing.assert_close(features, expected.transpose(1, 2), atol=2e-4, rtol=0)


def tfmel():
    return Frontend(FRONTENDS["tfmel"]).eval()


def test_tfmel_against_the_authors_figures(shared: Path):
    packed = (shared / "golden/redimnet2/frontend/tfmel-72.json.gz").read_bytes()
    cases = json.loads(gzip.decompress(packed))["cases"]
    assert len(cases) == 8
    for case in cases:
        samples, _ = read_waveform(str(shared / "golden/kaldi/wav" / f"{case['utt']}.wav"))
        features = tfmel()(torch.from_numpy(samples)[None])[0]
        assert len(features) == tfmel().num_frames(case["samples"]) == case["frames"]
        np.testing.assert_allclose(features[case["at"]], case["values"], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("num_samples", "count"), [(239, 0), (240, 1), (719, 3), (720, 4), (32240, 201), (96240, 601)]
)
def test_frames_of_tfmel(num_samples, count):
    assert tfmel().num_frames(num_samples) == count
    assert tfmel()(torch.ones(1, num_samples)).shape == (1, count, 72)


def test_tfmel_is_float32_under_autocast_and_needs_no_gradient():
    waveforms = chirp().requires_grad_()
    expected = tfmel()(chirp())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = tfmel()(waveforms)
    assert features.dtype == torch.float32 and not features.requires_grad
    torch.testing.assert_close(features, expected, atol=0, rtol=0)


def test_tfmel_does_not_hear_level_and_offset():
    expected = tfmel()(chirp())
    torch.testing.assert_close(tfmel()(0.01 * chirp() + 0.3), expected, atol=5e-3, rtol=0)


def test_a_hop_of_240_and_a_normalised_signal_against_torchaudio():
    transforms = load_torchaudio("torchaudio.transforms")
    power = transforms.MelSpectrogram(
        16000, n_fft=512, win_length=400, hop_length=240, f_min=20, f_max=7600, n_mels=72,
        window_fn=torch.hamming_window,
    )  # fmt: skip
    x = chirp() + 0.01 * torch.randn(1, 32240, generator=torch.Generator().manual_seed(3))
    values = {"num_mel_bins": 72, "frame_shift_ms": 15.0, "signal_norm": True}
    frontend = Frontend(FRONTENDS["taoruijie"].model_copy(update=values)).eval()
    normed = (x - x.mean()) / (x.std(correction=0) + 1e-6)
    emphasised = normed - 0.97 * torch.cat([normed[:, 1:2], normed[:, :-1]], dim=1)
    expected = (power(emphasised) + 1e-6).log().transpose(1, 2)
    features = frontend.features(x)
    assert features.shape == (1, frontend.num_frames(32240), 72)
    torch.testing.assert_close(features, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"signal_norm": True}, "`signal_norm` needs a front-end of kind mel or tfmel"),
        ({"kind": "tfmel", "window_type": "povey"}, "kind tfmel has a hamming or hanning window"),
        ({"kind": "tfmel", "dither": 1.0}, "kind tfmel has neither dither nor energy"),
    ],
)
def test_what_a_kind_does_not_have_is_refused(values, words):
    with pytest.raises(SettingsError, match=words):
        build_settings(FrontendSettings, values)
