"""Whole chains: batches equal singles, clean utterances keep their bits, effects in order."""

import numpy as np
import pytest
import torch
from known_recordings import NUM_SAMPLES, RATE, vowels

from sv_cli.augment.banks import Banks, hold_banks
from sv_cli.augment.chain import Augmenter
from sv_cli.augment.draw import ALL_SCENES, NUM_CHANCES, SCENE
from sv_cli.augment.settings import CHAINS, AugmentSettings
from sv_cli.sampling.plan import EpochPlan, Purpose, chances

ITEMS = np.arange(32)


def augmenter(files: Banks, name: str, **changes: object) -> Augmenter:
    settings = AugmentSettings.model_validate({"chain": name, **changes})
    return Augmenter(
        settings, files, num_samples=NUM_SAMPLES, sample_rate=RATE, device=torch.device("cpu")
    )


def numbers(items: np.ndarray, *, epoch: int = 1) -> torch.Tensor:
    rows = chances(5, epoch, items, count=NUM_CHANCES, purpose=Purpose.AUGMENT)
    return torch.from_numpy(rows)


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_an_utterance_alone_is_the_one_in_a_batch(
    name: str, files: Banks, crops: torch.Tensor
) -> None:
    chain = augmenter(files, name, gain_prob=0.3)
    rows = numbers(ITEMS)
    draws = chain.draw(rows)
    seen = {ALL_SCENES[scene] for scene in draws.scenes}
    assert seen == {"clean", *chain.settings.scenes}
    before = crops.clone()
    together = chain.waveforms(crops, draws)
    assert torch.equal(crops, before), "the batch that came in was changed"
    for row in range(len(crops)):
        alone = chain.draw(rows[row : row + 1])
        single = chain.waveforms(crops[row : row + 1], alone)
        assert torch.allclose(single[0], together[row], atol=2e-6), ALL_SCENES[draws.scenes[row]]


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_clean_utterances_keep_their_bits_and_others_do_not(
    name: str, files: Banks, crops: torch.Tensor
) -> None:
    chain = augmenter(files, name)
    draws = chain.draw(numbers(ITEMS))
    out = chain.waveforms(crops, draws)
    same = (out == crops).all(dim=1).numpy()
    assert np.array_equal(same, draws.scenes == 0)
    assert torch.isfinite(out).all()


def test_a_room_is_reverberated_before_its_noise(files: Banks, crops: torch.Tensor) -> None:
    """3D-Speaker: each of the two effects is brought to its peak; noise at the drawn ratio."""
    weights = {"noise": 0.0, "reverb": 0.0, "room": 1.0}
    quiet = {"prob": 1.0, "weights": weights, "snr": {"room": [200.0, 200.0]}}
    loud = {"prob": 1.0, "weights": weights, "snr": {"room": [5.0, 5.0]}}
    rows = numbers(ITEMS)
    wet, noisy = (
        chain.waveforms(crops, chain.draw(rows))
        for chain in (augmenter(files, "3d-speaker", **change) for change in (quiet, loud))
    )
    for one, other in zip(wet.double().numpy(), noisy.double().numpy(), strict=True):
        share = (one @ other) / (one @ one)  # what the peak of the mixture left of the speech
        rest = other - share * one
        snr = 10 * np.log10((share * one).var() / rest.var())
        assert snr == pytest.approx(5.0, abs=0.3)
    assert noisy.abs().amax(dim=1).numpy() == pytest.approx(np.ones(32), abs=1e-4)


def test_television_is_music_over_babble(files: Banks, crops: torch.Tensor) -> None:
    weights = dict.fromkeys(("noise", "music", "babble", "reverb"), 0.0)
    chain = augmenter(files, "ecapa-tdnn", prob=1.0, weights=weights, mix={"power_floor": 0.0})
    babble_only = augmenter(
        files,
        "ecapa-tdnn",
        prob=1.0,
        weights={**weights, "television": 0.0, "babble": 1.0},
        mix={"power_floor": 0.0},
    )
    rows = numbers(ITEMS)
    draws = chain.draw(rows)
    out = chain.waveforms(crops, draws).double()
    babbled = babble_only.waveforms(crops, babble_only.draw(rows)).double()
    music = out - babbled
    snr = 10 * torch.log10(babbled.square().mean(1) / music.square().mean(1))
    assert snr.numpy() == pytest.approx(draws.layers[1].snr, abs=1e-2)


def test_processes_see_what_one_sees(files: Banks) -> None:
    """Two processes of batch 4 take the same crops altered in the same way as one of batch 8."""
    chain = augmenter(files, "speaker-net")
    generator = torch.Generator().manual_seed(0)
    corpus = torch.randn(20, NUM_SAMPLES, generator=generator) * 0.1
    one, two = EpochPlan(20, 8, 1, 7), EpochPlan(20, 4, 2, 7)

    def altered(items: np.ndarray) -> torch.Tensor:
        return chain.waveforms(corpus[items], chain.draw(numbers(items, epoch=3)))

    for step in range(one.num_steps):
        order = one.order(3)
        whole = altered(one.batch(order, step, 0))
        halves = torch.cat([altered(two.batch(order, step, rank)) for rank in range(2)])
        assert torch.allclose(whole, halves, atol=2e-6)


def test_prob_one_leaves_none_clean(files: Banks, crops: torch.Tensor) -> None:
    chain = augmenter(files, "speaker-net", prob=1.0)
    rows = numbers(ITEMS)
    rows[:, SCENE] = 1.0 - 2.0**-53
    assert (chain.draw(rows).scenes > 0).all()


CHANNEL = {
    "band": {"prob": 0.5, "high_hz": [3400, 4000]},
    "codec": {"prob": 0.5, "names": ["ulaw", "alaw", "gsm", "adpcm", "vorbis"]},
}


@pytest.mark.parametrize("name", ["none", "speaker-net"])
def test_only_drawn_utterances_pass_bands_and_codecs(name: str, files: Banks) -> None:
    crops = vowels(32, NUM_SAMPLES)
    chain = augmenter(files, name, **CHANNEL)
    rows = numbers(ITEMS)
    draws = chain.draw(rows)
    out = chain.waveforms(crops, draws)
    touched = np.zeros(32, bool)
    touched[draws.bands.rows] = touched[draws.coded.rows] = True
    assert 10 < touched.sum() < 32
    same = (out == crops).all(dim=1).numpy()
    assert np.array_equal(same, ~touched & (draws.scenes == 0))
    plain = augmenter(files, name)
    without = plain.waveforms(crops, plain.draw(rows))
    assert np.array_equal((out == without).all(dim=1).numpy(), ~touched)
    for row in range(32):
        alone = chain.waveforms(crops[row : row + 1], chain.draw(rows[row : row + 1]))[0]
        apart = (alone - out[row]).double().norm() / out[row].double().norm()
        assert float(apart) < 3e-2  # a codec may turn a last bit into a step


def test_a_band_limits_the_noise_too_and_a_codec_comes_after_it(files: Banks) -> None:
    """What is above the limit comes from the codec alone, and goes through the line with it."""
    crops = vowels(32, NUM_SAMPLES)
    noisy = {"prob": 1.0, "weights": {"noise": 1.0, "reverb": 0.0}, "snr": {"noise": [0, 0]}}
    band = {"prob": 1.0, "low_hz": [300, 300], "high_hz": [2000, 2000]}

    def upper_db(**changes: object) -> np.ndarray:
        chain = augmenter(files, "wespeaker", **{**noisy, **changes})
        out = chain.waveforms(crops, chain.draw(numbers(ITEMS))).double()
        power = torch.fft.rfft(out).abs().square()
        edge = 2400 * NUM_SAMPLES // RATE
        return (10 * torch.log10(power[:, edge:].sum(1) / power.sum(1))).numpy()

    assert upper_db().min() > -20
    limited = upper_db(band=band)
    assert limited.max() < -30
    coarse = upper_db(band=band, codec={"prob": 1.0, "names": ["g721"]})
    assert (coarse - limited).mean() > 5 and coarse.max() < -10


def test_spec_augment_alone_leaves_waveforms(files: Banks, crops: torch.Tensor) -> None:
    chain = augmenter(hold_banks([], num_samples=NUM_SAMPLES), "none", spec={"prob": 1.0})
    draws = chain.draw(numbers(ITEMS))
    assert chain.waveforms(crops, draws) is crops
    feats = torch.ones(32, 50, 80)
    assert ((chain.features(feats, draws) == 0).flatten(1).sum(1) > 0).all()
    plain = augmenter(files, "wespeaker")
    assert plain.features(feats, plain.draw(numbers(ITEMS))) is feats
