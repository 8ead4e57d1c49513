"""What an epoch takes of each utterance: how many crops, which, and where they lie."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import settings as few
from hypothesis import strategies as st

from sv_cli.errors import SettingsError, TableError
from sv_cli.sampling.dataset import CropRule, EpochBatches, FeatureCrops, WaveformCrops
from sv_cli.sampling.items import CropItems, count_crops
from sv_cli.sampling.labels import SpeedClasses
from sv_cli.sampling.plan import EpochPlan, stream
from sv_cli.sampling.selection import (
    choose_utterances,
    lengths_of_features,
    lengths_of_recordings,
)
from sv_cli.sampling.settings import DataSettings
from sv_cli.sampling.training_set import CropShape, open_training_set
from sv_cli.settings.model import build_settings
from sv_cli.tables.datadir.directory import DataDir, Utterance
from sv_cli.tables.kaldi.arrays import ArrayTable, ArrayWriter

RATE = 16000
SPEAKER_NET = DataSettings(
    chunk_seconds=2.015, crops="grid", crop_hop_seconds=1.8, crop_min_tail_seconds=0.215
)
FINE_TUNING = DataSettings(
    chunk_seconds=6.015, crops="grid", crop_hop_seconds=5.4, crop_min_tail_seconds=0.615
)


def listed(length: int, chunk: int, hop: int, tail: int) -> list[int]:
    """Return the first samples of all chunks of a recording, one after the other."""
    if length < chunk:
        return [0]
    starts = list(range(0, length - chunk + 1, hop))
    if starts[-1] + hop + tail < length:
        starts.append(length - chunk)
    return starts


@few(max_examples=50)
@given(st.integers(100, 400_000))
def test_a_grid_has_the_chunks_of_a_list(length: int) -> None:
    seconds = np.array([length / RATE])
    for settings, sizes in (
        (SPEAKER_NET, (32240, 28800, 3440)),
        (FINE_TUNING, (96240, 86400, 9840)),
    ):
        starts = listed(length, *sizes)
        assert list(count_crops(seconds, settings, sample_rate=RATE)) == [len(starts)]
        rule = CropRule(hop=sizes[1])
        spare = length - sizes[0]
        rng = stream(0, 0, 1)
        assert [rule.start(crop, spare, 0, rng) for crop in range(len(starts))] == starts


def test_chunks_as_counted_by_hand() -> None:
    seconds = np.array([1.0, 2.015, 2.016, 3.815, 4.0, 10.0])
    assert list(count_crops(seconds, SPEAKER_NET, sample_rate=RATE)) == [1, 1, 2, 2, 3, 6]
    by_length = DataSettings(crops="by_length", crop_hop_seconds=4.0)
    seconds = np.array([0.5, 4.0, 7.999, 8.0, 12.1])
    assert list(count_crops(seconds, by_length, sample_rate=RATE)) == [1, 1, 1, 2, 3]
    assert list(count_crops(seconds, DataSettings(), sample_rate=RATE)) == [1] * 5


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.integers(1, 3))
def test_items_count_through_utterances_crops_and_copies(counts: list[int], copies: int) -> None:
    items = CropItems(np.array(counts), copies=copies)
    expected = [(utt, crop) for utt, n in enumerate(counts) for crop in range(n)]
    expected = [pair for pair in expected for _ in range(copies)]
    assert len(items) == len(expected) and items.num_crops == sum(counts)
    for first in (0, len(items)):  # a second pass is of the same crops
        utts, crops = items.place(first + np.arange(len(items)))
        assert list(zip(utts.tolist(), crops.tolist(), strict=True)) == expected
    assert list(items.per_utt) == [count * copies for count in counts]
    assert list(items.place(items.first).crops) == [0] * len(counts)


@pytest.fixture
def ramp(tmp_path: Path) -> list[Utterance]:
    """A long and a short recording whose samples tell their place."""
    utterances = []
    for name, count in (("long", 20500), ("short", 300)):
        wave = (np.arange(count) + 1).astype(np.int16)
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE, subtype="PCM_16")
        utterances.append(Utterance(name, str(tmp_path / f"{name}.wav")))
    return utterances


def reader(utterances: list[Utterance], **rule: object) -> WaveformCrops:
    return WaveformCrops(utterances, num_samples=1000, sample_rate=RATE, rule=build_rule(**rule))


def build_rule(**values: object) -> CropRule:
    return CropRule(**values)  # type: ignore[arg-type]


def places(crop: np.ndarray) -> np.ndarray:
    return np.rint(crop * 32768).astype(int) - 1


def test_crops_of_a_grid_lie_where_they_should(ramp: list[Utterance]) -> None:
    crops = reader(ramp, hop=900)
    starts = [int(places(crops.read(0, stream(0, e, 1), crop=e))[0]) for e in range(23)]
    assert starts == [*range(0, 19500, 900), 19500]  # the last one ends with the recording


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_crop_of_another_speed_keeps_to_its_place(ramp: list[Utterance], factor: float) -> None:
    crops = reader(ramp, hop=900)
    for number in (0, 7, 21, 22):
        start = min(900 * number, 19500)
        for epoch in range(5):
            read = places(crops.read(0, stream(0, epoch, 1), factor=factor, crop=number))
            context = (len(read) - round(1000 * factor)) // 2
            inner = read[context : context + round(1000 * factor)]
            assert list(inner) == list(range(inner[0], inner[0] + len(inner)))
            if factor < 1:
                assert inner[0] >= start and inner[-1] < start + 1000
            else:
                edge = 0 if number in (0, 22) else 50
                assert inner[0] <= start and inner[-1] >= start + 999
                assert start - inner[0] in (edge, 2 * (50 - edge))


@pytest.mark.parametrize("factor", [1.0, 0.9, 1.1])
def test_zeros_stand_behind_what_is_short(ramp: list[Utterance], factor: float) -> None:
    repeated, filled = reader(ramp), reader(ramp, padding="zeros")
    one, two = (crops.read(1, stream(0, 0, 1), factor=factor) for crops in (repeated, filled))
    assert len(one) == len(two)
    spoken = np.flatnonzero(two)
    assert len(spoken) == 300 and list(np.diff(spoken)) == [1] * 299
    assert np.array_equal(two[spoken], one[spoken]) and np.count_nonzero(one) > 850


def test_a_stretch_is_drawn_first(ramp: list[Utterance]) -> None:
    """The sum of two even draws: the ends of a recording are heard more seldom."""
    plain, stretched = reader(ramp), reader(ramp, max_length=6000)
    starts = [
        np.array([places(crops.read(0, stream(1, e, 1)))[0] for e in range(600)])
        for crops in (plain, stretched)
    ]
    shares = [((s < 2000) | (s > 17500)).mean() for s in starts]
    # By hand: 4000 / 19500 against (2000^2 / 2 / (14500 x 5000)) x 2.
    assert shares == pytest.approx([0.205, 0.0552], abs=0.04)
    assert all(s.max() <= 19500 for s in starts)


def test_quiet_crops_are_taken_elsewhere(tmp_path: Path) -> None:
    wave = np.zeros(20000, np.float32)
    wave[9000:12000] = 0.5
    soundfile.write(tmp_path / "u.wav", wave, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", 0 * wave, RATE, subtype="FLOAT")
    utterances = [Utterance("u", str(tmp_path / "u.wav")),
                  Utterance("silent", str(tmp_path / "silent.wav"))]  # fmt: skip
    crops = reader(utterances, hop=1000, min_level=0.0005)
    levels = [np.abs(crops.read(0, stream(0, e, 1), crop=0)).mean() for e in range(100)]
    # Ten tries, of which one in five lands where there is sound.
    assert np.mean(np.array(levels) > 0) == pytest.approx(1 - 0.79**10, abs=0.08)
    assert np.array_equal(crops.read(0, stream(0, 0, 1), crop=9), np.full(1000, 0.5))
    assert not crops.read(1, stream(0, 0, 1)).any()


def write_data(folder: Path, seconds: dict[str, float], *, speakers: int = 2) -> Path:
    """Write a data directory of ramps without utt2dur."""
    folder.mkdir()
    lines = {"wav.scp": "", "utt2spk": ""}
    for number, (utt, length) in enumerate(seconds.items()):
        wave = (np.arange(round(length * RATE)) % 30000).astype(np.int16)
        soundfile.write(folder / f"{utt}.wav", wave, RATE, subtype="PCM_16")
        lines["wav.scp"] += f"{utt} {folder}/{utt}.wav\n"
        lines["utt2spk"] += f"{utt} s{number % speakers}\n"
    for name, text in lines.items():
        (folder / name).write_text(text)
    return folder


LENGTHS = {"a": 0.5, "b": 1.0, "c": 1.25, "d": 0.3}


@pytest.mark.parametrize("table", ["utt2dur", "utt2num_samples", "reco2dur", ""])
def test_lengths_come_from_tables_or_headers(tmp_path: Path, table: str) -> None:
    folder = write_data(tmp_path / "data", LENGTHS)
    told = {utt: length + 1 for utt, length in list(LENGTHS.items())[:3]}
    scale = RATE if table == "utt2num_samples" else 1
    if table:
        lines = [f"{utt} {length * scale:g}\n" for utt, length in told.items()]
        (folder / table).write_text("".join(lines))
    seconds = lengths_of_recordings(DataDir.load(folder), sample_rate=RATE)
    expected = list(told.values()) if table else list(LENGTHS.values())[:3]
    assert list(seconds) == [*expected, 0.3]  # the last is in no table


def test_lengths_of_segments(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data", {"r": 2.0})
    (folder / "segments").write_text("r-a r 0.5 0.9\nr-b r 1.5 -1\nr-c r 1.5 2.3\n")
    (folder / "utt2spk").write_text("r-a s0\nr-b s1\nr-c s1\n")
    data = DataDir.load(folder)
    assert list(lengths_of_recordings(data, sample_rate=RATE)) == pytest.approx([0.4, 0.5, 0.8])
    (folder / "reco2dur").write_text("r 2.2\n")
    assert list(lengths_of_recordings(data, sample_rate=RATE)) == pytest.approx([0.4, 0.7, 0.7])


def test_speakers_with_little_speech_are_left_out() -> None:
    speakers = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z"}
    seconds = np.array([40.0, 20.0, 70.0, 1.0, 59.0])
    settings = DataSettings(min_seconds=2.0, min_speaker_seconds=60.0)
    assert list(choose_utterances(list(speakers), speakers, seconds, settings)) == [0, 1, 2]
    shorter = np.array([40.0, 1.9, 70.0, 1.0, 59.0])
    assert list(choose_utterances(list(speakers), speakers, shorter, settings)) == [2]


def test_lengths_that_no_table_tells_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    speakers = {"a": "x", "b": "x", "c": "y"}
    seconds = np.array([np.nan, 0.3, np.nan])
    taken = choose_utterances(list(speakers), speakers, seconds, DataSettings(min_seconds=0.5))
    assert list(taken) == [0, 2]
    assert "lacks the length of 2 utterances" in capsys.readouterr().err


def test_items_of_a_data_directory(tmp_path: Path) -> None:
    settings = DataSettings(
        chunk_seconds=0.25, min_seconds=0.4, crops="grid", crop_hop_seconds=0.25, padding="zeros"
    )
    data = write_data(tmp_path / "data", LENGTHS)
    speeds = SpeedClasses((0.9, 1.1), draw_each=True)
    found = open_training_set(str(data), CropShape(4000, 23, RATE), settings, speeds=speeds)
    assert found.utts == ["a", "b", "c"] and list(found.items.per_utt) == [6, 12, 15]
    plan = EpochPlan(len(found.items), 3, 1, 0, found.storage, found.items)
    batches = EpochBatches(found.crops, found.labels, plan, epoch=0, rank=0, speeds=speeds)
    seen: Counter[tuple[str, str, int, int]] = Counter()
    for step in range(len(batches)):
        batch = batches[step]
        for name, speed, label in zip(
            found.describe(batch.items.numpy()), batch.speeds, batch.labels, strict=True
        ):
            seen[(*name, int(speed), int(label))] += 1
    expected = {
        (utt, f" {crop}", speed, number % 2 + 2 * speed)
        for number, (utt, count) in enumerate((("a", 2), ("b", 4), ("c", 5)))
        for crop in range(count)
        for speed in range(3)
    }
    assert set(seen) == expected and set(seen.values()) == {1}


def test_stored_features_have_a_grid_too(tmp_path: Path) -> None:
    frames = {"a": 30, "b": 101, "c": 55}
    with ArrayWriter(f"ark,scp:{tmp_path}/feats.ark,{tmp_path}/feats.scp") as writer:
        for utt, count in frames.items():
            writer.write(utt, np.arange(count, dtype=np.float32)[:, None] + np.zeros(3))
    (tmp_path / "utt2spk").write_text("a s\nb s\nc t\n")
    settings = DataSettings(chunk_seconds=0.415, min_seconds=0, crops="grid",
                            crop_hop_seconds=0.3, padding="zeros")  # fmt: skip
    shape = CropShape(6640, 40, RATE)
    with pytest.raises(TableError, match="lengths of 3 utterances are unknown"):
        open_training_set(str(tmp_path), shape, settings)
    (tmp_path / "utt2num_frames").write_text("".join(f"{u} {n}\n" for u, n in frames.items()))
    assert list(lengths_of_features(DataDir.load(tmp_path), ["b"], frame_shift=0.01)) == [1.01]
    found = open_training_set(str(tmp_path), shape, settings)
    assert list(found.items.per_utt) == [1, 3, 2]
    starts = [int(found.crops.read(1, stream(0, 0, 1), crop=crop)[0, 0]) for crop in range(3)]
    assert starts == [0, 30, 60]
    short = found.crops.read(0, stream(0, 0, 1))
    assert short.shape == (40, 3) and not short[30:].any() and short[29, 0] == 29


def test_a_stretch_of_features(tmp_path: Path) -> None:
    path = f"{tmp_path}/feats.scp"
    with ArrayWriter(f"ark,scp:{tmp_path}/feats.ark,{path}") as writer:
        writer.write("u", np.arange(500, dtype=np.float32)[:, None])
    crops = FeatureCrops(ArrayTable(f"scp:{path}"), ["u"], num_frames=100,
                         rule=CropRule(max_length=90))  # fmt: skip
    for epoch in range(20):
        rows = crops.read(0, stream(0, epoch, 1))[:, 0]
        assert list(np.diff(rows[:90])) == [1.0] * 89 and list(rows[90:]) == list(rows[:10])


def test_an_epoch_of_fewer_crops_or_of_several_passes() -> None:
    items = CropItems(np.array([2, 1, 3, 1]))
    few = EpochPlan(7, 2, 1, 0, None, items, 5)
    assert few.num_steps == 2 and len(set(few.order(0))) == 4 == len(few.order(0))
    assert {frozenset(few.order(e)) for e in range(20)} != {frozenset(few.order(0))}
    many = EpochPlan(7, 2, 1, 0, None, items, 21)
    order = many.order(3)
    assert many.num_steps == 10 and len(set(order)) == 20 and order.max() >= 21
    for start in range(0, 18, 6):  # three passes of whole steps, each of other items
        assert len(set(order[start : start + 6] % 7)) == 6
    with pytest.raises(TableError, match="3 crops do not fill one step"):
        EpochPlan(7, 4, 1, 0, None, items, 3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"crops": "grid", "silence_threshold": 50}, "silence_threshold"),
        ({"crops": "grid", "max_seconds": 8}, "max_seconds"),
        ({"max_seconds": 1, "min_seconds": 2}, "below"),
    ],
)
def test_what_does_not_go_together(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        build_settings(DataSettings, values)
