"""WADA-SNR against its model, and against noise mixed into real speech."""

import numpy as np
import pytest

from sv_cli.audio.read import read_waveform
from sv_cli.audio.snr import HIGHEST, LOWEST, expected_statistic, measure_snr, wada_snr
from sv_cli.errors import AudioError
from sv_cli.tables.datadir.directory import DataDir, Utterance

LEVELS = (0.0, 5.0, 10.0, 20.0)
# dB between the mean estimate and the truth; the Gamma model fits real speech less well where
# there is little noise
TOLERANCE = {0.0: 2.0, 5.0: 2.0, 10.0: 3.0, 20.0: 6.0}


def _model_speech(generator, size):
    amplitudes = generator.gamma(0.4, 1.0, size)
    return amplitudes * generator.choice([-1.0, 1.0], size) / np.sqrt(0.4 * 1.4)


@pytest.mark.parametrize("snr", [-10.0, 0.0, 7.0, 15.0, 30.0, 50.0])
def test_the_expected_statistic_is_that_of_drawn_samples(snr):
    generator = np.random.default_rng(1)
    speech = _model_speech(generator, 1_000_000) * 10 ** (snr / 20)
    mixed = np.abs(speech + generator.standard_normal(len(speech)))
    points, expected = expected_statistic()
    drawn = np.log(mixed.mean()) - np.log(mixed).mean()
    assert np.interp(snr, points, expected) == pytest.approx(drawn, abs=5e-3)


def test_the_statistic_grows_with_the_snr_and_has_its_limits():
    points, expected = expected_statistic()
    assert (np.diff(expected) > 0).all()
    assert (points[0], points[-1]) == (LOWEST, HIGHEST)
    # noise alone: ln E|n| - E ln|n| of a normal n
    alone = 0.5 * np.log(2 / np.pi) + 0.5 * (np.euler_gamma + np.log(2))
    assert expected[0] == pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize("snr", [0.0, 5.0, 10.0, 20.0])
@pytest.mark.parametrize("scale", [1e-3, 32768.0])
def test_drawn_speech_in_noise_of_any_scale(snr, scale):
    generator = np.random.default_rng(2)
    speech = _model_speech(generator, 200_000) * 10 ** (snr / 20)
    mixed = scale * (speech + generator.standard_normal(len(speech)))
    assert wada_snr(mixed) == pytest.approx(snr, abs=0.6)


def test_silence_has_no_snr():
    with pytest.raises(AudioError, match="all samples are zero"):
        wada_snr(np.zeros(100, np.float32))


def _mixed(waveform, noise, snr):
    gain = np.sqrt(np.mean(waveform**2) / np.mean(noise**2) / 10 ** (snr / 10))
    return waveform + gain * noise


@pytest.mark.parametrize("kind", ["gaussian", "rain"])
def test_noise_in_real_speech_is_found(shared, kind):
    folder = shared / "data"
    generator = np.random.default_rng(3)
    rain = next(
        line.split()[1]
        for line in (folder / "data/noise/wav.scp").read_text().splitlines()
        if line.startswith("noise-esc10-rain-1-17367-A ")
    )
    recorded, _ = read_waveform(rain, audio_root=folder)
    found = {snr: [] for snr in LEVELS}
    for utterance in DataDir.load(folder / "data/dev").recordings()[::25]:
        waveform, _ = read_waveform(utterance.rx, audio_root=folder)
        noise = generator.standard_normal(len(waveform))
        noise = noise if kind == "gaussian" else np.resize(recorded, len(waveform))
        estimates = [wada_snr(_mixed(waveform, noise, snr)) for snr in LEVELS]
        assert (np.diff(estimates) > 0).all()
        for snr, estimate in zip(LEVELS, estimates, strict=True):
            found[snr].append(estimate)
    for snr, estimates in found.items():
        assert abs(np.mean(estimates) - snr) < TOLERANCE[snr]


def test_utterances_that_cannot_be_measured_are_named_or_left_out(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    noise = np.random.default_rng(0).standard_normal(4000) * 0.1
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    soundfile.write(tmp_path / "zeros.wav", np.zeros(4000), 16000)
    utterances = [
        Utterance("a", "noise.wav"),
        Utterance("b", "zeros.wav"),
        Utterance("c", "gone.wav"),
        Utterance("d", "noise.wav", 0.0, 0.2),
    ]
    with pytest.raises(AudioError, match="`b`: all samples are zero"):
        measure_snr(utterances, audio_root=str(tmp_path))
    found = measure_snr(utterances, audio_root=str(tmp_path), allow_missing=True)
    assert list(found) == ["a", "d"]
    assert found["a"] < -5  # noise alone
