"""Batches as a pure function of (seed, epoch, step, rank)."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.errors import AudioError, TableError
from sv_cli.sampling.dataset import WaveformCrops, repeat_to
from sv_cli.sampling.labels import class_speakers
from sv_cli.sampling.plan import EpochPlan, stream
from sv_cli.tables.datadir.directory import Utterance


@given(st.integers(8, 60), st.integers(1, 4), st.integers(1, 3), st.integers(0, 5))
def test_an_epoch_has_each_item_at_most_once(n: int, batch: int, world: int, epoch: int) -> None:
    if n < batch * world:
        return
    plan = EpochPlan(n, batch, world, seed=3)
    order = plan.order(epoch)
    seen = [
        int(item)
        for step in range(plan.num_steps)
        for rank in range(world)
        for item in plan.batch(order, step, rank)
    ]
    assert len(seen) == plan.num_steps * batch * world == len(set(seen))
    assert list(order) == list(EpochPlan(n, batch, world, seed=3).order(epoch))


def test_epochs_and_seeds_differ() -> None:
    plan = EpochPlan(50, 5, 1, seed=1)
    assert list(plan.order(0)) != list(plan.order(1))
    assert list(plan.order(0)) != list(EpochPlan(50, 5, 1, seed=2).order(0))
    assert stream(1, 2, 3).integers(1 << 60) != stream(1, 2, 4).integers(1 << 60)


def test_a_set_smaller_than_a_step_is_refused() -> None:
    with pytest.raises(TableError, match="7 crops do not fill one step"):
        EpochPlan(7, 4, 2, seed=0)


def test_one_speaker_cannot_be_trained_on() -> None:
    with pytest.raises(TableError, match="at least two speakers"):
        class_speakers({"u1": "a", "u2": "a"}, ["u1", "u2"])


def ramp(path: Path, count: int) -> Path:
    soundfile.write(path, (np.arange(count) % 30000).astype(np.int16), 16000, subtype="PCM_16")
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_crop_is_the_span_itself(tmp_path: Path, suffix: str) -> None:
    path = ramp(tmp_path / f"ramp.{suffix}", 20000)
    crops = WaveformCrops(
        [Utterance("u", str(path), None, None, None)], num_samples=500, sample_rate=16000
    )
    starts = set()
    for epoch in range(5):
        crop = np.rint(crops.read(0, stream(0, epoch, 1)) * 32768).astype(int)
        assert list(crop) == list(range(crop[0], crop[0] + 500))
        starts.add(int(crop[0]))
    assert len(starts) == 5
    again = np.rint(crops.read(0, stream(0, 4, 1)) * 32768).astype(int)
    assert int(again[0]) in starts


def test_a_crop_stays_in_its_segment(tmp_path: Path) -> None:
    path = ramp(tmp_path / "ramp.wav", 20000)
    crops = WaveformCrops(
        [Utterance("u", str(path), 0.5, 0.6, None)], num_samples=1000, sample_rate=16000
    )
    for epoch in range(20):
        crop = np.rint(crops.read(0, stream(0, epoch, 1)) * 32768).astype(int)
        assert crop.min() >= 8000 and crop.max() < 9600


def test_a_short_recording_is_repeated() -> None:
    assert list(repeat_to(np.array([1, 2, 3], np.float32), 7)) == [1, 2, 3, 1, 2, 3, 1]


def test_bad_recordings_are_named(tmp_path: Path) -> None:
    slow = tmp_path / "slow.wav"
    soundfile.write(slow, np.zeros(9000, np.int16), 8000)
    for rx, words in ((str(slow), "8000"), (str(tmp_path / "none.wav"), "none.wav")):
        crops = WaveformCrops(
            [Utterance("spk-utt", rx, None, None, None)], num_samples=10, sample_rate=16000
        )
        with pytest.raises(AudioError, match=f"`spk-utt`.*{words}"):
            crops.read(0, stream(0, 0, 1))
