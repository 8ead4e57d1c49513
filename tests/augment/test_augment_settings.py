"""Chains by name, what may be changed in them, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.augment.settings import CHAINS, AugmentSettings
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
        ({"spec": {"min_time": 5, "max_time": 4}}, "`min_time` 5 is above `max_time` 4"),
        ({"spec": {"time_masks": 5}}, "`augment.spec.time_masks`"),
    ],
)
def test_wrong_values_are_told_in_a_line(changes: dict[str, object], words: str) -> None:
    values = {"augment": {"chain": "wespeaker", **changes}}
    with pytest.raises(SettingsError) as caught:
        build_settings(TrainSettings, values)
    assert words in caught.value.message and "\n" not in caught.value.message
