"""Speeds as classes, and the span that is read for each."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv_cli.audio.speed import num_context_samples, num_input_samples, play
from sv_cli.errors import TableError
from sv_cli.sampling.dataset import EpochBatches, WaveformCrops
from sv_cli.sampling.labels import SpeedClasses, rows_by_name
from sv_cli.sampling.plan import EpochPlan, Purpose, chances, stream
from sv_cli.tables.datadir.directory import Utterance

RATE, NUM_SAMPLES = 16000, 4000
SPEAKERS = ["a", "b", "c"]


def test_classes_are_numbered_speaker_plus_speakers_times_speed() -> None:
    speeds = SpeedClasses((0.9, 1.1), "expand")
    labels, drawn = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0])
    assert list(speeds.labels(labels, drawn, 3)) == [0, 4, 8, 2]
    names = speeds.names(SPEAKERS)
    assert names == [
        "a",
        "b",
        "c",
        "sp0.9-a",
        "sp0.9-b",
        "sp0.9-c",
        "sp1.1-a",
        "sp1.1-b",
        "sp1.1-c",
    ]
    assert [names[i] for i in (4, 8)] == ["sp0.9-b", "sp1.1-c"]


def test_same_and_subset() -> None:
    items, labels = np.arange(300), np.arange(300) % 3
    same, subset = SpeedClasses((0.9, 1.1), "same"), SpeedClasses((0.9, 1.1), "subset")
    assert same.names(SPEAKERS) == SPEAKERS and len(subset.names(SPEAKERS)) == 9
    assert set(same.draw(0, 0, items)) == {0, 1, 2} and set(subset.draw(0, 0, items)) == {0}
    for kind in (same, subset):
        assert np.array_equal(kind.labels(labels, kind.draw(0, 0, items), 3), labels)


def test_speeds_are_drawn_evenly_by_item() -> None:
    speeds = SpeedClasses((0.9, 1.1), "expand")
    items = np.arange(9000)
    drawn = speeds.draw(3, 1, items)
    shares = np.bincount(drawn, minlength=3) / 9000
    assert shares == pytest.approx(np.full(3, 1 / 3), abs=0.02)
    assert np.array_equal(speeds.draw(3, 1, items[::-1]), drawn[::-1])
    assert not np.array_equal(speeds.draw(3, 2, items), drawn)


def test_purposes_do_not_share_numbers() -> None:
    one, other = (
        chances(1, 2, np.arange(4), count=8, purpose=purpose)
        for purpose in (Purpose.SPEED, Purpose.AUGMENT)
    )
    assert not np.intersect1d(one, other).size
    assert stream(1, 2, 3).random() == stream(1, 2, 3, purpose=Purpose.CROP).random()


def test_rows_are_found_by_name() -> None:
    base = SpeedClasses((0.9, 1.1), "expand").names(SPEAKERS)
    assert list(rows_by_name(base, ["b", "new", "c"])) == [1, -1, 2]
    assert list(rows_by_name(SPEAKERS, base)) == [0, 1, 2] + [-1] * 6


@pytest.fixture
def tone(tmp_path: Path) -> list[Utterance]:
    """One long and one short recording of a tone of 500 Hz."""
    utterances = []
    for name, count in (("long", 20000), ("short", 3200)):
        wave = 0.5 * np.sin(2 * np.pi * 500 * np.arange(count) / RATE)
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE, subtype="FLOAT")
        utterances.append(Utterance(name, str(tmp_path / f"{name}.wav")))
    return utterances


def crops_of(utterances: list[Utterance]) -> WaveformCrops:
    return WaveformCrops(utterances, num_samples=NUM_SAMPLES, sample_rate=RATE)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_crop_is_as_long_as_its_speed_needs(tone: list[Utterance], factor: float) -> None:
    needed = num_input_samples(NUM_SAMPLES, factor)
    context = num_context_samples(factor)
    for item in (0, 1):
        crop = crops_of(tone).read(item, stream(0, 0, 1), factor=factor)
        assert crop.shape == (needed,)
        assert np.abs(crop[context : context + 3000]).max() > 0.49
    shorter = crops_of(tone).read(1, stream(0, 0, 1), factor=factor)
    assert (shorter[:context] == 0).all() and (shorter[-context:] == 0).all()


def test_a_played_crop_has_another_pitch(tone: list[Utterance]) -> None:
    crop = crops_of(tone[:1])
    factors = (1.0, 0.9, 1.1)
    for number, factor in enumerate(factors):
        read = torch.from_numpy(crop.read(0, stream(0, 0, 1), factor=factor))[None]
        played = play(read, torch.tensor([number]), factors, NUM_SAMPLES)[0].numpy()
        spectrum = np.abs(np.fft.rfft(played * np.hanning(NUM_SAMPLES), 8 * NUM_SAMPLES))
        assert spectrum.argmax() * RATE / 8 / NUM_SAMPLES == pytest.approx(500 * factor, abs=1)


def test_batches_bring_speeds_labels_and_numbers(tone: list[Utterance]) -> None:
    labels = np.array([0, 1] * 10)
    speeds = SpeedClasses((0.9, 1.1), "expand")
    plan = EpochPlan(20, 8, 1, 5)
    batches = EpochBatches(
        crops_of(tone * 10), labels, plan, epoch=2, rank=0, speeds=speeds, num_chances=7
    )
    batch = batches[1]
    items = batch.items.numpy()
    drawn = speeds.draw(5, 2, items)
    assert len(set(drawn)) == 3
    assert np.array_equal(batch.speeds.numpy(), drawn)
    assert np.array_equal(batch.labels.numpy(), labels[items] + 2 * drawn)
    assert batch.signals.shape == (8, num_input_samples(NUM_SAMPLES, 1.1))
    expected = chances(5, 2, items, count=7, purpose=Purpose.AUGMENT)
    assert np.array_equal(batch.chances.numpy(), expected)


def test_stored_features_have_no_speed() -> None:
    from sv_cli.sampling.dataset import FeatureCrops
    from sv_cli.tables.kaldi.arrays import ArrayTable

    crops = FeatureCrops(ArrayTable.__new__(ArrayTable), ["u"], num_frames=3)
    with pytest.raises(TableError, match="another speed"):
        crops.read(0, stream(0, 0, 1), factor=0.9)


@pytest.mark.parametrize("factor", [1.0, 0.9])
def test_silence_is_cut_out_before_a_crop_is_taken(tmp_path: Path, factor: float) -> None:
    burst = 0.3 * np.sin(2 * np.pi * 400 * np.arange(1600) / RATE)
    wave = np.concatenate([np.zeros(16000), burst, np.zeros(16000), burst, burst, np.zeros(8000)])
    soundfile.write(tmp_path / "u.wav", wave, RATE, subtype="PCM_16")
    crops = WaveformCrops(
        [Utterance("u", str(tmp_path / "u.wav"))],
        num_samples=NUM_SAMPLES,
        sample_rate=RATE,
        silence_threshold=50.0,
    )
    context = num_context_samples(factor) if factor != 1.0 else 0
    read = [crops.read(0, stream(0, epoch, 1), factor=factor) for epoch in range(5)]
    for crop in read:
        inner = crop[context : len(crop) - context]
        assert len(crop) == (num_input_samples(NUM_SAMPLES, factor) if context else NUM_SAMPLES)
        level = np.abs(inner[: len(inner) // 400 * 400].reshape(-1, 400)).mean(axis=1)
        assert level.min() > 0.15
    assert not np.array_equal(read[0], read[1])
