"""Shar archives: written from a data directory, read as it is, by svtool and by lhotse."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv_cli.errors import AudioError, TableError
from sv_cli.sampling import shar_crops
from sv_cli.sampling.dataset import EpochBatches
from sv_cli.sampling.labels import SpeedClasses
from sv_cli.sampling.loader import load_batches
from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.settings import DataSettings
from sv_cli.sampling.shar import is_shar
from sv_cli.sampling.shar_write import SharJob, write_shar
from sv_cli.sampling.training_set import CropShape, TrainingSet, open_training_set
from sv_cli.tables.datadir.directory import DataDir

SHAPE = CropShape(2000, 10, 16000)
SPEEDS = SpeedClasses((0.9, 1.1))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of two channels, cut into 60 utterances of 6 speakers."""
    root = tmp_path_factory.mktemp("shar")
    rng = np.random.Generator(np.random.PCG64(1))
    wav, segments, speakers = {}, {}, {}
    for number in range(2):
        path = root / f"r{number}.wav"
        soundfile.write(path, (3000 * rng.standard_normal((96000, 2))).astype(np.int16), 16000)
        wav[f"r{number}"] = str(path)
        for part in range(30):
            utt = f"s{part % 6}-r{number}-{part:02d}"
            start = round(0.18 * part, 3)
            segments[utt] = (f"r{number}", start, round(start + 0.1 + 0.01 * part, 3), number)
            speakers[utt] = f"s{part % 6}"
    table = DataDir.from_tables(wav=wav, utt2spk=speakers, segments=segments)
    table.extra = {
        "text": {utt: f"words of {utt}" for utt in speakers},
        "spk2gender": {f"s{number}": "mf"[number % 2] for number in range(6)},
    }
    table.write(root / "data")
    return root / "data"


@pytest.fixture(scope="module")
def shards(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    assert write(data, out) == (60, 0)
    return out


def write(data: Path, out: Path, *, shard_size: int = 14, seed: int = 0, **how) -> tuple[int, int]:
    return write_shar(DataDir.load(data, extra=True), SharJob(out, shard_size, seed), **how)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def batches(data: TrainingSet, *, epoch: int = 3, num_workers: int = 0, first_step: int = 0):
    plan = EpochPlan(len(data.utts), 4, 1, 7, data.storage)
    epoch_batches = EpochBatches(
        data.crops, data.labels, plan, epoch=epoch, rank=0, speeds=data.speeds, num_chances=2
    )
    loader = load_batches(
        epoch_batches, first_step=first_step, num_workers=num_workers, pin_memory=False
    )
    return list(loader)


def test_the_set_is_that_of_the_directory(data: Path, shards: Path) -> None:
    assert is_shar(shards) and not is_shar(data)
    one = open_training_set(str(data), SHAPE, speeds=SPEEDS)
    two = open_training_set(str(shards), SHAPE, speeds=SPEEDS)
    assert (one.utts, one.speakers) == (two.utts, two.speakers)
    assert list(one.labels) == list(two.labels)


@pytest.mark.parametrize("silence_threshold", [0.0, 1.0])
def test_crops_are_those_of_the_directory(
    data: Path, shards: Path, silence_threshold: float
) -> None:
    settings = DataSettings(min_seconds=0, silence_threshold=silence_threshold)
    one = open_training_set(str(data), SHAPE, settings, speeds=SPEEDS)
    two = open_training_set(str(shards), SHAPE, settings, speeds=SPEEDS)
    rows = {}
    for batch in batches(one):
        for item, row, label in zip(batch.items, batch.signals, batch.labels, strict=True):
            rows[int(item)] = (row[torch.nonzero(row)].ravel(), int(label))
    seen = 0
    for batch in batches(two):
        for item, row, label in zip(batch.items, batch.signals, batch.labels, strict=True):
            signal, expected = rows[int(item)]
            assert torch.equal(row[torch.nonzero(row)].ravel(), signal)
            assert int(label) == expected
            seen += 1
    assert seen == 60


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize(("num_workers", "first_step"), [(1, 0), (2, 0), (3, 0), (0, 6), (2, 7)])
def test_any_number_of_workers_gives_the_same_bits(
    shards: Path, num_workers: int, first_step: int
) -> None:
    whole = batches(open_training_set(str(shards), SHAPE, speeds=SPEEDS))
    part = batches(
        open_training_set(str(shards), SHAPE, speeds=SPEEDS),
        num_workers=num_workers,
        first_step=first_step,
    )
    assert len(part) == len(whole) - first_step
    for one, two in zip(whole[first_step:], part, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_each_chunk_is_read_once(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = shar_crops._read_chunk, []
    monkeypatch.setattr(shar_crops, "CHUNK_ITEMS", 5)
    monkeypatch.setattr(
        shar_crops, "_read_chunk", lambda chunk: (seen.append(chunk), read(chunk))[1]
    )
    data = open_training_set(str(shards), SHAPE)
    assert len(batches(data)) == 15
    assert len(seen) == len(set(seen)) == 15  # 5 shards of 12, in chunks of 5, 5 and 2
    assert not data.crops._held


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_lhotse_reads_the_same(data: Path, shards: Path) -> None:
    from sv_cli.sampling.lhotse_door import load_lhotse

    lhotse = load_lhotse()
    cuts = list(lhotse.CutSet.from_shar(in_dir=str(shards)))
    table = DataDir.load(data)
    assert {cut.id: cut.supervisions[0].speaker for cut in cuts} == table.utt2spk
    cut = next(cut for cut in cuts if cut.id == "s5-r1-17")
    assert (cut.supervisions[0].gender, cut.supervisions[0].text) == ("f", "words of s5-r1-17")
    piece = table.segments["s5-r1-17"]
    samples = soundfile.read(table.wav["r1"], dtype="float32")[0][:, 1]
    first, last = round(piece.start * 16000), round(piece.end * 16000)
    np.testing.assert_array_equal(cut.load_audio()[0], samples[first:last])


def test_archives_without_an_index_are_looked_through(shards: Path, tmp_path: Path) -> None:
    for name, raw in content(shards).items():
        if not name.endswith(".index"):
            (tmp_path / name).write_bytes(raw)
    one = batches(open_training_set(str(shards), SHAPE))
    two = batches(open_training_set(str(tmp_path), SHAPE))
    assert all(torch.equal(a.signals, b.signals) for a, b in zip(one, two, strict=True))
    archive = tmp_path / "recording.000001.tar"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(TableError, match=r"recording\.000001\.tar` breaks off or is no archive"):
        open_training_set(str(tmp_path), SHAPE)


def test_a_shard_that_breaks_off_is_told_in_one_line(shards: Path, tmp_path: Path) -> None:
    for name, raw in content(shards).items():
        (tmp_path / name).write_bytes(raw[:-1024] if name == "recording.000002.tar" else raw)
    with pytest.raises(TableError, match=r"recording\.000002\.tar` breaks off: \d+ of \d+ bytes"):
        open_training_set(str(tmp_path), SHAPE)
    (tmp_path / "recording.000002.tar").unlink()
    with pytest.raises(TableError, match="holds 4 of 5 shards"):
        open_training_set(str(tmp_path), SHAPE)


def test_a_shard_that_breaks_off_during_the_run(shards: Path, tmp_path: Path) -> None:
    for name, raw in content(shards).items():
        (tmp_path / name).write_bytes(raw)
    opened = open_training_set(str(tmp_path), SHAPE)
    archive = tmp_path / "recording.000003.tar"
    archive.write_bytes(archive.read_bytes()[:9000])
    with pytest.raises(AudioError, match=r"recording\.000003\.tar` breaks off at byte 9000"):
        batches(opened)


def test_an_index_of_another_archive_is_noticed(shards: Path, tmp_path: Path) -> None:
    files = content(shards)
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    record = json.loads(files["cuts.000001.index"]) | {"size": len(files["recording.000000.tar"])}
    (tmp_path / "cuts.000000.index").write_text(json.dumps(record))
    with pytest.raises(TableError, match="occur twice"):
        open_training_set(str(tmp_path), SHAPE)
    (tmp_path / "cuts.000001.index").write_text(
        json.dumps(
            json.loads(files["cuts.000000.index"]) | {"size": len(files["recording.000001.tar"])}
        )
    )
    with pytest.raises(AudioError, match=r"holds something else|breaks off"):
        batches(open_training_set(str(tmp_path), SHAPE))


def test_writing_gives_the_same_bytes_and_goes_on(data: Path, shards: Path, tmp_path: Path) -> None:
    write(data, tmp_path, num_procs=2)
    assert content(tmp_path) == content(shards)
    with pytest.raises(Exception, match="exists already"):
        write(data, tmp_path)
    kept = (tmp_path / "recording.000000.tar").stat().st_mtime_ns
    (tmp_path / "recording.000004.tar").write_bytes(b"half")
    (tmp_path / "cuts.000002.index").unlink()
    write(data, tmp_path, resume=True)
    assert content(tmp_path) == content(shards)
    assert (tmp_path / "recording.000000.tar").stat().st_mtime_ns == kept
    write(data, tmp_path, shard_size=30, force=True)
    assert sum(name.endswith(".tar") for name in content(tmp_path)) == 2
    write(data, tmp_path, shard_size=30, seed=1, force=True)
    assert (
        open_training_set(str(tmp_path), SHAPE).utts == open_training_set(str(shards), SHAPE).utts
    )


def test_the_order_of_speakers_is_warned_of(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_training_set(str(shards), SHAPE)
    assert "order of speakers" not in capsys.readouterr().err
    for name, raw in content(shards).items():
        if name.endswith(".jsonl.gz"):
            cuts = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
            for place, cut in enumerate(cuts):
                cut["supervisions"][0]["speaker"] = "first" if place < 6 else "second"
            raw = gzip.compress("".join(f"{json.dumps(cut)}\n" for cut in cuts).encode())
        if not name.endswith(".index"):
            (tmp_path / name).write_bytes(raw)
    open_training_set(str(tmp_path), SHAPE)
    assert "order of speakers" in capsys.readouterr().err


@pytest.mark.parametrize(("place", "value"), [(2, 0), (2, 1 << 40), (3, 1 << 40), (3, -5)])
def test_an_index_that_points_elsewhere(
    shards: Path, tmp_path: Path, place: int, value: int
) -> None:
    for name, raw in content(shards).items():
        (tmp_path / name).write_bytes(raw)
    record = json.loads((tmp_path / "cuts.000001.index").read_text())
    record["stored"][3][place] = value
    (tmp_path / "cuts.000001.index").write_text(json.dumps(record))
    with pytest.raises(TableError, match=r"index of .*recording\.000001\.tar` is damaged"):
        open_training_set(str(tmp_path), SHAPE)


def test_features_are_refused(shards: Path) -> None:
    with pytest.raises(TableError, match="no features"):
        open_training_set(str(shards), SHAPE, DataSettings(source="feats"))


GRID = DataSettings(
    chunk_seconds=0.1, min_seconds=0, crops="grid", crop_hop_seconds=0.05, padding="zeros"
)
EACH = SpeedClasses((0.9, 1.1), draw_each=True)


def crops_of(data: TrainingSet, *, num_workers: int = 0) -> tuple[dict[int, torch.Tensor], int]:
    """Return the signal of each item of an epoch without the zeros, and the batches there were."""
    plan = EpochPlan(len(data.items), 4, 1, 7, data.storage, data.items)
    epoch = EpochBatches(data.crops, data.labels, plan, epoch=1, rank=0, speeds=data.speeds)
    loader = load_batches(epoch, first_step=0, num_workers=num_workers, pin_memory=False)
    found, count = {}, 0
    for batch in loader:
        count += 1
        for item, row in zip(batch.items.tolist(), batch.signals, strict=True):
            found[item] = row[torch.nonzero(row)].ravel()
    return found, count


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_several_crops_of_an_utterance_are_those_of_the_directory(
    data: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = shar_crops._read_chunk, []
    monkeypatch.setattr(
        shar_crops, "_read_chunk", lambda chunk: (seen.append(chunk), read(chunk))[1]
    )
    one = open_training_set(str(data), SHAPE, GRID, speeds=EACH)
    two = open_training_set(str(shards), SHAPE, GRID, speeds=EACH)
    assert list(one.items.per_utt) == list(two.items.per_utt) and len(two.items) > 500
    ours, count = crops_of(one)
    theirs, _ = crops_of(two)
    both = ours.keys() & theirs.keys()
    assert len(both) >= 4 * count - 4
    assert all(torch.equal(ours[item], theirs[item]) for item in both)
    assert len(seen) == len(set(seen)) == 5  # each stretch once for all of its crops
    shared, _ = crops_of(open_training_set(str(shards), SHAPE, GRID, speeds=EACH), num_workers=3)
    assert shared.keys() == theirs.keys()
    assert all(torch.equal(shared[item], theirs[item]) for item in shared)


@pytest.mark.parametrize("world", [1, 2])
def test_the_order_of_shards_holds_every_crop(shards: Path, world: int) -> None:
    data = open_training_set(str(shards), SHAPE, GRID)
    plan = EpochPlan(len(data.items), 4, world, 7, data.storage, data.items)
    assert sorted(plan.order(2)) == list(range(len(data.items)))
    assert data.storage.window > len(data.utts)
    drawn = EpochPlan(len(data.items), 4, world, 7, data.storage, data.items, 50)
    assert len(set(drawn.order(2))) == drawn.num_steps * 4 * world == 48


@pytest.mark.parametrize(
    ("place", "value"), [(5, 0), (5, "x"), (4, None), (4, -1), (0, 3), (2, 1.5), (1, ["s"])]
)
def test_an_index_of_wrong_types_is_made_again_from_the_archive(
    shards: Path, tmp_path: Path, place: int, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, raw in content(shards).items():
        (tmp_path / name).write_bytes(raw)
    record = json.loads((tmp_path / "cuts.000001.index").read_text())
    record["stored"][3][place] = value
    (tmp_path / "cuts.000001.index").write_text(json.dumps(record))
    open_training_set(str(tmp_path), SHAPE)
    assert "looked through 1 archives without an index" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"supervisions": 3}, {"supervisions": ["s"]}, {"supervisions": None}, {"id": ["x"]}]
)
def test_odd_cuts_are_refused(shards: Path, tmp_path: Path, change: dict[str, object]) -> None:
    for name, raw in content(shards).items():
        if name.endswith(".jsonl.gz"):
            first, *rest = gzip.decompress(raw).splitlines()
            rows = [json.dumps({**json.loads(first), **change}).encode(), *rest]
            raw = gzip.compress(b"\n".join(rows) + b"\n")
        if not name.endswith(".index"):
            (tmp_path / name).write_bytes(raw)
    with pytest.raises(TableError, match=r"damaged|speakers, not one|does not hold"):
        open_training_set(str(tmp_path), SHAPE)
    for path in tmp_path.glob("*.jsonl.gz"):
        path.write_bytes(gzip.compress(b"[1]\n"))
    with pytest.raises(TableError, match="a line is no cut"):
        open_training_set(str(tmp_path), SHAPE)
