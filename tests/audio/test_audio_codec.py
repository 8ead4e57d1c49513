"""Codecs: length, delay and faithfulness of what comes out, and what is refused."""

import numpy as np
import pytest

from sv_cli.audio import codec
from sv_cli.audio.codec import CODECS, Codec, recode
from sv_cli.errors import AudioError

SECONDS = 2.0
# Least SNR in dB of the voice below after the codec, at its lightest and strongest compression.
SNR_DB = {
    "gsm": (9.0, 9.0),
    "g721": (20.0, 20.0),
    "adpcm": (18.0, 18.0),
    "mp3": (18.0, 8.0),
    "opus": (20.0, 8.0),
    "vorbis": (18.0, 9.0),
}


def voice(rate: int) -> np.ndarray:
    """Harmonics of a gliding pitch under syllables, which no shift maps onto itself."""
    time = np.arange(int(SECONDS * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * time)) / rate
    wave = sum(np.sin(k * phase + k * k) / k for k in range(1, 15))
    noise = np.random.Generator(np.random.PCG64(5)).standard_normal(time.size)
    syllables = 0.2 + 0.8 * np.abs(np.sin(2 * np.pi * 1.9 * time))
    return (0.1 * syllables * (wave + 0.02 * noise)).astype(np.float32)


def lag(before: np.ndarray, after: np.ndarray) -> int:
    """Return by how many samples `after` is late, where the two are most alike."""
    size = 2 * len(before)
    product = np.fft.rfft(after, size) * np.conj(np.fft.rfft(before, size))
    best = int(np.argmax(np.fft.irfft(product, size)))
    return best if best < len(before) else best - size


def snr_db(before: np.ndarray, after: np.ndarray) -> float:
    error = after.astype(np.float64) - before
    return float(10 * np.log10(np.square(before, dtype=np.float64).sum() / np.square(error).sum()))


def rates(name: str) -> list[int]:
    only = CODECS[name].sample_rate
    return [only] if only else [8000, 16000]


CASES = [
    (name, rate, level)
    for name in CODECS
    for rate in rates(name)
    for level in ((0.0, 0.5, 0.85, 0.95) if CODECS[name].has_compression else (0.0,))
]


@pytest.mark.parametrize(("name", "rate", "level"), CASES)
def test_what_comes_out_is_as_long_and_in_line(name: str, rate: int, level: float) -> None:
    before = voice(rate)
    after = recode(before, rate, name, compression=level)
    assert after.shape == before.shape and after.dtype == np.float32
    assert abs(lag(before, after)) <= 1
    assert snr_db(before, after) > SNR_DB[name][level > 0.9]
    assert snr_db(before, after) < 60, "nothing was lost"


def test_the_delay_of_mp3_is_taken_away_at_low_rates_too() -> None:
    """Where no frame has room for the tag that tells the delay, 1105 samples would stay."""
    before = voice(16000)
    assert lag(before, np.roll(before, 1105)) == 1105
    for level in (0.85, 0.9, 0.95):
        assert lag(before, recode(before, 16000, "mp3", compression=level)) == 0


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("num_samples", [4000, 12345])
def test_any_length_stays(name: str, num_samples: int) -> None:
    rate = rates(name)[-1]
    assert recode(voice(rate)[:num_samples], rate, name).shape == (num_samples,)


@pytest.mark.parametrize("name", CODECS)
def test_again_it_is_the_same(name: str) -> None:
    rate = rates(name)[-1]
    one, other = (recode(voice(rate), rate, name, compression=0.7) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "rate", "words"),
    [
        ("opus", 22050, "opus at 22050 Hz"),
        ("gsm", 16000, "gsm works at 8000 Hz, not at 16000 Hz"),
        ("strange", 16000, "strange at 16000 Hz"),
        ("missing", 16000, "missing at 16000 Hz"),
    ],
)
def test_what_the_library_lacks_is_refused(
    name: str, rate: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"strange": Codec("WAV", "VORBIS"), "missing": Codec("AMR", "NB")}
    monkeypatch.setattr(codec, "CODECS", {**CODECS, **more})
    with pytest.raises(AudioError) as caught:
        recode(voice(rate), rate, name)
    assert words in caught.value.message and "\n" not in caught.value.message
