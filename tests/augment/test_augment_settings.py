"""Chains by name, what may be changed in them, and what is refused."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.audio.codec import CODECS
from sv_cli.augment.settings import CHAINS, AugmentSettings, CodecName
from sv_cli.errors import SettingsError
from sv_cli.settings.model import build_settings
from sv_cli.training.settings import TrainSettings

# Probabilities as the published code has them.
PUBLISHED = {
    "wespeaker": {"noise": 0.3, "reverb": 0.3},
    "3d-speaker": {"noise": 0.8 / 3, "reverb": 0.8 / 3, "room": 0.8 / 3},
    "speaker-net": {
        "noise": 1 / 4.1, "babble": 0.5 / 4.1, "reverb": 0.8 / 4.1, "room": 0.8 / 4.1,
    },
    "redimnet2": {
        "noise": 0.195, "music": 0.0975, "babble": 0.0975, "reverb": 0.06, "room": 0.15,
    },
    "ecapa-tdnn": dict.fromkeys(("noise", "music", "babble", "television", "reverb"), 1 / 6),
}  # fmt: skip


def chain(name: str, **changes: object) -> AugmentSettings:
    return build_settings(AugmentSettings, {"chain": name, **changes}, where="augment")


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_a_chain_has_the_published_probabilities(name: str) -> None:
    assert chain(name).scenes == pytest.approx(PUBLISHED[name])


def test_a_run_without_a_chain_does_nothing() -> None:
    settings = AugmentSettings()
    assert not settings.is_active and not settings.changes_waveforms
    assert build_settings(TrainSettings, {}).augment == settings


def test_no_published_chain_limits_a_band_or_codes() -> None:
    for name in ("none", *CHAINS):
        assert chain(name).band.prob == chain(name).codec.prob == 0.0


@pytest.mark.parametrize("what", ["band", "codec"])
def test_bands_and_codecs_alone_need_recordings_and_a_step(what: str) -> None:
    settings = chain("none", **{what: {"prob": 0.1}})
    assert settings.is_active and settings.changes_waveforms and not settings.scenes


def test_every_codec_by_name_is_there() -> None:
    assert set(get_args(CodecName)) == {"ulaw", "alaw", *CODECS}


def test_one_value_of_a_chain_may_be_changed() -> None:
    changed = chain("3d-speaker", prob=0.2, snr={"noise": [3, 4]}, speeds=[])
    assert changed.scenes["room"] == pytest.approx(0.2 / 3)
    assert changed.snr.noise == (3.0, 4.0) and changed.snr.room == (0.0, 15.0)
    assert changed.mix.power_floor == 1e-6 and changed.speeds == ()


@given(st.sampled_from(sorted(CHAINS)), st.floats(0, 1))
def test_settings_written_and_read_again_are_the_same(name: str, prob: float) -> None:
    settings = chain(name, prob=prob)
    assert AugmentSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chain": "wespeakr"}, "`augment.chain`"),
        ({"prob": 1.5}, "`augment.prob`"),
        ({"weights": {"nois": 1.0}}, "did you mean `noise`"),
        ({"weights": {"noise": -1.0}}, "`augment.weights.noise`"),
        ({"chain": "none", "prob": 0.5}, "all `weights` are 0"),
        ({"snr": {"noise": [15, 0]}}, "`augment.snr.noise`: the range 15 to 0 is reversed"),
        ({"gain_db": [3, -3]}, "`augment.gain_db`: the range 3 to -3 is reversed"),
        ({"speeds": [1.0]}, "1.0 is no speed"),
        ({"speeds": [0.9, 0.9]}, "twice"),
        ({"speeds": [0.9123]}, "hundredths"),
        ({"babble_files": [4, 9]}, "1 to 8"),
        ({"mix": {"style": "scaled", "babble": "each"}}, "`babble` sum"),
        ({"band": {"prob": -0.1}}, "`augment.band.prob`"),
        ({"band": {"low_hz": [300, 50]}}, "`augment.band.low_hz`: the range 300 to 50 is reversed"),
        ({"band": {"low_hz": [-1, 50]}}, "`low_hz` -1 is below 0"),
        ({"band": {"low_hz": [50, 3500]}}, "up to 3500 and `high_hz` from 3400 leave no band"),
        ({"band": {"high": [3400, 4000]}}, "did you mean `high_hz`"),
        ({"codec": {"names": ["ulaw", "aac"]}}, "`augment.codec.names"),
        ({"codec": {"names": []}}, "`augment.codec.names`"),
        ({"codec": {"names": ["gsm", "gsm"]}}, "a codec is listed twice"),
        ({"codec": {"compression": [0.5, 1.0]}}, "levels from 0 to below 1 are wanted"),
        ({"codec": {"compression": [0.9, 0.5]}}, "the range 0.9 to 0.5 is reversed"),
        ({"spec": {"min_time": 5, "max_time": 4}}, "`min_time` 5 is above `max_time` 4"),
        ({"spec": {"time_masks": 5}}, "`augment.spec.time_masks`"),
    ],
)
def test_wrong_values_are_told_in_a_line(changes: dict[str, object], words: str) -> None:
    values = {"augment": {"chain": "wespeaker", **changes}}
    with pytest.raises(SettingsError) as caught:
        build_settings(TrainSettings, values)
    assert words in caught.value.message and "\n" not in caught.value.message


def test_a_pool_is_drawn_one_way() -> None:
    assert chain("speaker-net").by_duration == ("noise", "music", "room_noise")
    assert chain("ecapa-tdnn").by_duration == ("noise", "music", "speech")
    assert chain("wespeaker").by_duration == chain("3d-speaker").by_duration == ()
    with pytest.raises(SettingsError, match="part of `pool`: add music or leave all out"):
        build_settings(AugmentSettings, {"pool": ("noise", "music"), "by_duration": ("noise",)})
