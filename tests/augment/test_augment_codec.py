"""G.711 against the recommendation and libsndfile, the telephone line, and batches of codecs."""

import io

import numpy as np
import pytest
import soundfile
import torch
from known_recordings import NUM_SAMPLES, RATE, shifted_by, vowels

from sv_cli.audio import codec as library
from sv_cli.audio.codec import CODECS, Codec
from sv_cli.augment.codec import PHONE_RATE, Coder, PhoneLine, is_phone_codec
from sv_cli.augment.draw import Coded
from sv_cli.augment.g711 import compand
from sv_cli.augment.settings import CodecSettings
from sv_cli.errors import SettingsError

ALL = ("ulaw", "alaw", *CODECS)
EVERY = torch.arange(-32768, 32768, dtype=torch.float32) / 32768.0

# Rows of ITU-T G.711: (13- or 14-bit sample, decoder output), at and around decision values.
MU_LAW = [
    (0, 0), (1, 2), (2, 2), (3, 4), (30, 30), (31, 33), (34, 33), (35, 37), (94, 93), (95, 99),
    (222, 219), (223, 231), (478, 471), (479, 495), (990, 975), (991, 1023), (2014, 1983),
    (2015, 2079), (4062, 3999), (4063, 4191), (7902, 7775), (7903, 8031), (8158, 8031),
]  # fmt: skip
A_LAW = [
    (0, 1), (1, 1), (2, 3), (62, 63), (63, 63), (64, 66), (127, 126), (128, 132), (255, 252),
    (256, 264), (511, 504), (512, 528), (1023, 1008), (1024, 1056), (2047, 2016), (2048, 2112),
    (3967, 3904), (3968, 4032), (4095, 4032),
]  # fmt: skip


def coded(names: tuple[str, ...], level: float = 0.8) -> Coded:
    count = len(names)
    return Coded(np.arange(count), np.arange(count), np.full(count, level))


def coder(names: tuple[str, ...] = ALL, *, rate: int = RATE) -> Coder:
    settings = CodecSettings(prob=1.0, names=names)
    return Coder(settings, sample_rate=rate, num_samples=NUM_SAMPLES)


@pytest.mark.parametrize(("law", "rows", "width"), [("ulaw", MU_LAW, 4), ("alaw", A_LAW, 8)])
def test_the_values_of_the_recommendation(
    law: str, rows: list[tuple[int, int]], width: int
) -> None:
    samples, outputs = (torch.tensor(x, dtype=torch.float32) for x in zip(*rows, strict=True))
    for sign in (1, -1):
        got = compand(sign * samples * width / 32768, law) * 32768 / width
        got = got if sign == 1 else torch.where(samples == 0, got, -got)
        assert torch.equal(got, outputs)


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_every_16_bit_sample_is_coded_as_libsndfile_does(law: str) -> None:
    stream = io.BytesIO()
    whole = (EVERY * 32768).numpy().astype(np.int16)
    soundfile.write(stream, whole, PHONE_RATE, format="WAV", subtype=law.upper())
    stream.seek(0)
    expected, _ = soundfile.read(stream, dtype="float32")
    got = compand(EVERY, law).numpy()
    differ = got != expected
    # Magnitudes below one step have no sign of their own left in libsndfile's A-law.
    assert set(whole[differ].tolist()) <= set(range(-15, 0))
    assert np.array_equal(np.abs(got), np.abs(expected))
    assert len(np.unique(got)) in (255, 256)


def test_beyond_full_scale_is_the_largest_code() -> None:
    assert compand(torch.tensor([3.0, -3.0]), "ulaw").tolist() == [32124 / 32768, -32124 / 32768]
    assert compand(torch.tensor([3.0, -3.0]), "alaw").tolist() == [32256 / 32768, -32256 / 32768]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100])
def test_a_line_keeps_its_band_and_length(rate: int) -> None:
    line = PhoneLine(rate, 2 * rate)
    time = torch.arange(2 * rate, dtype=torch.float64) / rate
    frequencies = [f for f in (200.0, 1000.0, 3300.0, 4050.0, 7000.0) if f < rate / 2]
    before = torch.stack([torch.sin(2 * torch.pi * f * time) for f in frequencies]).float()
    down = line.down(before)
    assert down.shape == (len(frequencies), 2 * PHONE_RATE)
    after = line.up(down)
    assert after.shape == before.shape
    middle = slice(rate // 2, 3 * rate // 2)
    for frequency, one, other in zip(frequencies, before, after, strict=True):
        if frequency < 3400:
            assert torch.allclose(one[middle], other[middle], atol=2e-3)
        else:
            assert float(other[middle].abs().max()) < 2e-3
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(2 * PHONE_RATE) / PHONE_RATE)
    inner = slice(4000, 12000)
    assert torch.allclose(down[1, inner], expected[inner], atol=2e-3), "a tone keeps its place"


@pytest.mark.parametrize("name", ALL)
def test_a_codec_keeps_length_and_place(name: str) -> None:
    before = vowels(1, NUM_SAMPLES)
    after = coder((name,))(before, coded((name,)))
    assert after.shape == before.shape and torch.isfinite(after).all()
    assert abs(shifted_by(before[0].numpy(), after[0].numpy())) <= 1
    if is_phone_codec(name):
        power = torch.fft.rfft(after[0].double()).abs().square()
        upper = power[len(power) // 2 :].sum() / power.sum()
        assert 10 * torch.log10(upper) < -45


def test_rows_of_a_batch_are_what_each_is_alone() -> None:
    crops = vowels(len(ALL), NUM_SAMPLES)
    code = coder()
    together = code(crops, coded(ALL))
    for row, name in enumerate(ALL):
        one = Coded(np.array([0]), np.array([row]), np.array([0.8]))
        alone = code(crops[row : row + 1], one)
        # What comes into the codec may differ in its last bit, which one sample's code tells.
        apart = (alone[0] - together[row]).double().norm() / together[row].double().norm()
        assert float(apart) < 2e-3, name


def test_a_row_beyond_full_scale_is_not_clipped() -> None:
    crops = vowels(1, NUM_SAMPLES)
    names = ("alaw", "adpcm")
    for row in range(2):
        one = Coded(np.array([0]), np.array([row]), np.array([0.8]))
        peak = float(crops.abs().max())
        quiet = coder(names)(crops / peak, one)
        assert torch.allclose(coder(names)(crops / peak * 8, one), quiet * 8, atol=1e-4)


def test_the_batch_that_came_in_stays() -> None:
    crops = vowels(len(ALL), NUM_SAMPLES)
    before = crops.clone()
    coder()(crops, coded(ALL))
    assert torch.equal(crops, before)


def test_a_codec_that_the_library_lacks_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(library.CODECS, "opus", Codec("WAV", "OPUS"))
    with pytest.raises(SettingsError) as caught:
        coder(("ulaw", "opus"))
    assert caught.value.message.startswith("`augment.codec.names`: opus at 16000 Hz: ")
    assert "\n" not in caught.value.message and "leave `opus` out" in str(caught.value.hint)


def test_a_rate_that_a_codec_has_not_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="opus at 22050 Hz"):
        coder(("opus",), rate=22050)
