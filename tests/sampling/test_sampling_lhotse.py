"""lhotse's manifests: there and back, and read by lhotse itself."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_cli.audio.read import read_waveform
from sv_cli.errors import TableError
from sv_cli.sampling.lhotse_door import load_lhotse
from sv_cli.sampling.lhotse_manifests import from_lhotse, to_lhotse
from sv_cli.tables.datadir.directory import DataDir, validate


def recording(path: Path, count: int, channels: int = 1) -> str:
    rng = np.random.Generator(np.random.PCG64(count))
    soundfile.write(path, (3000 * rng.standard_normal((count, channels))).astype(np.int16), 16000)
    return str(path)


@pytest.fixture
def whole(tmp_path: Path) -> DataDir:
    """Utterances that are recordings, one of them a command."""
    wav = {f"s{i}-u{i}": recording(tmp_path / f"{i}.wav", 16000 + 37 * i) for i in range(4)}
    wav["s3-u3"] = f"cat {wav['s3-u3']} |"
    data = DataDir.from_tables(
        wav=wav,
        utt2spk={utt: utt[:2] for utt in wav},
        utt2dur={utt: round(1 + 0.0023125 * i, 3) for i, utt in enumerate(wav)},
    )
    data.feats = {utt: f"feats.ark:{i}" for i, utt in enumerate(wav)}
    data.extra = {
        "text": dict.fromkeys(wav, "two words"),
        "utt2lang": {"s0-u0": "ka"},
        "utt2uniq": {utt: utt for utt in wav},
        "spk2gender": {f"s{i}": "mf"[i % 2] for i in range(4)},
        "spk2age": {f"s{i}": str(20 + i) for i in range(4)},
    }
    return data


@pytest.fixture
def cut(tmp_path: Path) -> DataDir:
    """Segments of a recording of two channels, one up to its end."""
    wav = {"r": recording(tmp_path / "r.wav", 48013, 2)}
    segments = {
        "u1": ("r", 0.1, 1.0300625, 0),
        "u2": ("r", 1.23, -1, 1),
        "u3": ("r", 2, 3.2, 1),
    }
    return DataDir.from_tables(
        wav=wav,
        utt2spk={"u1": "a", "u2": "a", "u3": "b"},
        segments=segments,
        utt2dur={"u1": 0.93, "u2": 1.7708125, "u3": 1.2},
    )


@pytest.mark.parametrize("kind", ["whole", "cut"])
@pytest.mark.parametrize("part", ["", "cuts.jsonl.gz", "without cuts"])
def test_there_and_back(
    kind: str, part: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data: DataDir = request.getfixturevalue(kind)
    data.write(tmp_path / "before")
    written = to_lhotse(DataDir.load(tmp_path / "before", extra=True), tmp_path / "m")
    assert (written.num_utts, written.skipped) == (len(data.utts), {})
    if part == "without cuts":
        (tmp_path / "m" / "cuts.jsonl.gz").unlink()
    from_lhotse(tmp_path / "m" / part.removeprefix("without cuts")).write(tmp_path / "after")
    names = sorted(path.name for path in (tmp_path / "before").iterdir())
    assert sorted(path.name for path in (tmp_path / "after").iterdir()) == names
    for name in names:
        assert (tmp_path / "after" / name).read_text() == (tmp_path / "before" / name).read_text()
    assert not validate(tmp_path / "after")


@pytest.mark.parametrize("kind", ["whole", "cut"])
def test_lhotse_cuts_hold_the_samples_of_the_utterances(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data: DataDir = request.getfixturevalue(kind)
    to_lhotse(data, tmp_path / "m")
    lhotse = load_lhotse()
    cuts = lhotse.load_manifest(tmp_path / "m" / "cuts.jsonl.gz")
    assert {cut.id: cut.supervisions[0].speaker for cut in cuts} == data.utt2spk
    for utterance in data.recordings():
        audio = cuts[utterance.utt].load_audio()[0]
        samples, _ = read_waveform(
            utterance.rx, start=utterance.start, end=utterance.end, channel=utterance.channel
        )
        assert abs(len(audio) - len(samples)) <= 1  # lhotse rounds where Kaldi cuts off
        count = min(len(audio), len(samples))
        np.testing.assert_array_equal(audio[:count], samples[:count])


def test_unreadable_recordings_are_left_out(whole: DataDir, tmp_path: Path) -> None:
    whole.wav["s1-u1"] = str(tmp_path / "missing.wav")
    written = to_lhotse(whole, tmp_path / "m")
    assert list(written.skipped) == ["s1-u1"]
    assert from_lhotse(tmp_path / "m").utts == ["s0-u0", "s2-u2", "s3-u3"]


def test_what_has_no_place_in_tables_is_refused(whole: DataDir, tmp_path: Path) -> None:
    to_lhotse(whole, tmp_path / "m")
    lhotse = load_lhotse()
    cuts = lhotse.load_manifest(tmp_path / "m" / "cuts.jsonl.gz")
    cuts.perturb_speed(0.9).to_file(tmp_path / "fast.jsonl.gz")
    with pytest.raises(TableError, match="is changed on the way"):
        from_lhotse(tmp_path / "fast.jsonl.gz")
    cuts.pad(duration=5.0).to_file(tmp_path / "padded.jsonl.gz")
    with pytest.raises(TableError, match="is mixed, padded"):
        from_lhotse(tmp_path / "padded.jsonl.gz")
    with pytest.raises(TableError, match="holds no cuts"):
        from_lhotse(tmp_path / "m" / "recordings.jsonl.gz")
    for cut in cuts:
        cut.supervisions[0].speaker = None
    cuts.to_file(tmp_path / "nobody.jsonl.gz")
    with pytest.raises(TableError, match="has no speaker"):
        from_lhotse(tmp_path / "nobody.jsonl.gz")


def test_damaged_and_missing_manifests(whole: DataDir, tmp_path: Path) -> None:
    to_lhotse(whole, tmp_path / "m")
    path = tmp_path / "m" / "cuts.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TableError, match="cannot be read as manifests"):
        from_lhotse(path)
    with pytest.raises(TableError, match="holds 0 manifests of recordings"):
        from_lhotse(tmp_path)
    with pytest.raises(TableError):
        from_lhotse(tmp_path / "nowhere.jsonl.gz")
