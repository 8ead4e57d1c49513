"""`svtool data perturb-speed`, `resample` and `play`."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from sv_cli.audio.read import read_waveform
from sv_cli.audio.rewrite import file_of
from sv_cli.audio.speed import change_speed_batch, num_context_samples, num_input_samples
from sv_cli.cli import app
from sv_cli.tables.datadir.directory import DataDir, validate


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def noise(count: int, channels: int = 1) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([count, channels]))
    return (3000 * rng.standard_normal((count, channels))).astype(np.int16)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a-1", "a-2", "b-1"):
        soundfile.write(tmp_path / f"{name}.wav", noise(9000 + len(os.fspath(tmp_path))), 16000)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", "wav.scp", *(f"{n} {tmp_path}/{n}.wav" for n in ("a-1", "a-2", "b-1")))
    write(tmp_path / "data", "utt2spk", "a-1 a", "a-2 a", "b-1 b")
    write(tmp_path / "data", "spk2utt", "a a-1 a-2", "b b-1")
    write(tmp_path / "data", "utt2dur", "a-1 3.1", "a-2 0.57", "b-1 12.345")
    write(tmp_path / "data", "utt2num_frames", "a-1 308", "a-2 55", "b-1 1232")
    write(tmp_path / "data", "spk2gender", "a f", "b m")
    return tmp_path / "data"


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """Two channels of one recording, cut; the last segment is too short to stay at 1.1."""
    soundfile.write(tmp_path / "r.wav", noise(32000, 2), 16000)
    (tmp_path / "cut").mkdir()
    write(tmp_path / "cut", "wav.scp", f"r {tmp_path}/r.wav")
    write(tmp_path / "cut", "segments", "u1 r 0.1 1 0", "u2 r 0.5 -1 1", "u3 r 1.5 1.511")
    write(tmp_path / "cut", "utt2spk", "u1 s", "u2 s", "u3 s")
    write(tmp_path / "cut", "spk2utt", "s u1 u2 u3")
    return tmp_path / "cut"


def write(folder: Path, name: str, *lines: str) -> None:
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_names_of_copies_that_are_taken_are_refused(data: Path, tmp_path: Path) -> None:
    write(data, "utt2spk", "a-1 a", "a-2 a", "b-1 sp0.9-a")
    write(data, "spk2utt", "a a-1 a-2", "sp0.9-a b-1")
    speeds = ("--speeds", "0.9", "--write-audio")
    result = run("perturb-speed", data, tmp_path / "sp", *speeds)
    assert result.exit_code == 1
    assert "1 speakers have the name of a copy already: `sp0.9-a`" in result.stderr
    assert not (tmp_path / "sp").exists()
    assert run("perturb-speed", data, tmp_path / "sp", *speeds, "--only-copies").exit_code == 0


def test_copies_have_the_tables_that_kaldi_makes(data: Path, tmp_path: Path) -> None:
    assert run("perturb-speed", data, tmp_path / "sp", "--speeds", "0.9").exit_code == 0
    assert lines(tmp_path / "sp" / "utt2spk") == [
        "a-1 a", "a-2 a", "b-1 b",
        "sp0.9-a-1 sp0.9-a", "sp0.9-a-2 sp0.9-a", "sp0.9-b-1 sp0.9-b",
    ]  # fmt: skip
    assert lines(tmp_path / "sp" / "utt2uniq")[2:4] == ["b-1 b-1", "sp0.9-a-1 a-1"]
    # What `awk '{print $2 / 0.9}'` prints.
    assert lines(tmp_path / "sp" / "utt2dur")[3:] == [
        "sp0.9-a-1 3.44444", "sp0.9-a-2 0.633333", "sp0.9-b-1 13.7167",
    ]  # fmt: skip
    assert lines(tmp_path / "sp" / "spk2gender") == ["a f", "b m", "sp0.9-a f", "sp0.9-b m"]
    assert not (tmp_path / "sp" / "utt2num_frames").exists()
    assert not validate(tmp_path / "sp")


def test_segments_are_divided_and_empty_ones_dropped(cut: Path, tmp_path: Path) -> None:
    result = run("perturb-speed", cut, tmp_path / "sp", "--speeds", "1.1", "--only-copies")
    assert result.exit_code == 0, result.stderr
    assert lines(tmp_path / "sp" / "segments") == [
        "sp1.1-u1 sp1.1-r 0.09 0.91 0",
        "sp1.1-u2 sp1.1-r 0.45 -1 1",
    ]
    assert lines(tmp_path / "sp" / "utt2spk") == ["sp1.1-u1 sp1.1-s", "sp1.1-u2 sp1.1-s"]
    assert [line.split()[0] for line in lines(tmp_path / "sp" / "wav.scp")] == ["sp1.1-r"]
    assert not validate(tmp_path / "sp")


def test_written_copies_are_what_training_plays(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "sp"
    assert run("perturb-speed", data, out, "--only-copies", "--write-audio").exit_code == 0
    assert not validate(out, check_files=True)
    whole, _ = read_waveform(str(tmp_path / "a-1.wav"))
    for factor in (0.9, 1.1):
        played, rate = read_waveform(DataDir.load(out).wav[f"sp{factor}-a-1"])
        assert rate == 16000
        assert len(played) == round(len(whole) / factor)
        # A crop as the trainer makes it, starting where the copy has a sample of its own.
        skip = 1000
        start = round(skip * factor) - num_context_samples(factor)
        crop = whole[start : start + num_input_samples(2000, factor)]
        expected = change_speed_batch(torch.from_numpy(crop[None]), factor, 2000)[0].numpy()
        assert np.abs(played[skip : skip + 2000] - expected).max() <= 0.51 / 32768 + 1e-6


def test_all_rows_are_read_with_the_root_of_the_source(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OUT is given relative to where the command runs, recordings relative to their root."""
    write(data, "wav.scp", *(f"{name} {name}.wav" for name in ("a-1", "a-2", "b-1")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    rooted = ("--audio-root", tmp_path)
    written = run("perturb-speed", data, "sp", "--speeds", "0.9", "--write-audio", *rooted)
    assert written.exit_code == 0
    rows = DataDir.load("sp").wav
    for rx in (rows["a-1"], rows["sp0.9-a-1"]):
        read_waveform(rx, sample_rate=None, audio_root=str(tmp_path))
    assert run("resample", data, "slow", "--rate", "8000", *rooted).exit_code == 0
    monkeypatch.chdir(tmp_path)
    _, rate = read_waveform(DataDir.load("elsewhere/slow").wav["a-1"], sample_rate=None)
    assert rate == 8000


def test_pipes_play_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "bin" / "svtool"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sv_cli "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    name = "it's a-1.wav"
    (tmp_path / name).write_bytes((tmp_path / "a-1.wav").read_bytes())
    write(
        data, "wav.scp", f"a-1 {name}", f"a-2 cat {tmp_path}/a-1.wav |", f"b-1 {tmp_path}/b-1.wav"
    )
    speed = ("--speeds", "0.9", "--only-copies", "--audio-root", tmp_path)
    assert run("perturb-speed", data, tmp_path / "p", *speed).exit_code == 0
    assert run("perturb-speed", data, tmp_path / "w", *speed, "--write-audio").exit_code == 0
    pipes, files = DataDir.load(tmp_path / "p").wav, DataDir.load(tmp_path / "w").wav
    for utt in ("sp0.9-a-1", "sp0.9-a-2"):
        assert pipes[utt].endswith("|")
        np.testing.assert_array_equal(read_waveform(pipes[utt])[0], read_waveform(files[utt])[0])


def test_resampled_recordings_keep_channels_and_segments(cut: Path, tmp_path: Path) -> None:
    result = run("resample", cut, tmp_path / "8k", "--rate", 8000, "--format", "wav")
    assert result.exit_code == 0, result.stderr
    assert lines(tmp_path / "8k" / "segments") == lines(cut / "segments")
    changed, rate = soundfile.read(tmp_path / "8k" / "audio" / "r.wav")
    before = soundfile.read(tmp_path / "r.wav")[0]
    assert (rate, changed.shape) == (8000, (16000, 2))
    for channel in range(2):  # what lies well below 4 kHz is the same
        low = np.abs(np.fft.rfft(before[:, channel]))[:6000] / 2
        assert (
            np.abs(np.abs(np.fft.rfft(changed[:, channel]))[:6000] - low).max() < 0.02 * low.max()
        )


def test_a_stopped_run_goes_on_with_what_is_missing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "8k"
    assert run("resample", data, out, "--rate", 8000).exit_code == 0
    kept, lost = out / "audio" / "a-1.flac", out / "audio" / "b-1.flac"
    before, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    (out / "utt2spk").unlink()
    stopped = run("resample", data, out, "--rate", 8000)
    assert stopped.exit_code == 1
    assert "`--resume` goes on" in stopped.stderr
    other = run("resample", data, out, "--rate", 11025, "--resume")
    assert other.exit_code == 1
    assert "other recordings or settings" in other.stderr
    assert run("resample", data, out, "--rate", 8000, "--resume").exit_code == 0
    assert (lost.read_bytes(), kept.stat().st_mtime_ns) == (before, stamp)
    assert len(lines(out / "wav.scp")) == 3
    assert run("resample", data, out, "--rate", 11025, "--force").exit_code == 0
    assert soundfile.info(lost).samplerate == 11025


def test_what_cannot_be_read_is_left_out_and_counted(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a-2.wav").write_bytes(b"no audio")
    result = run("resample", data, tmp_path / "8k", "--rate", 8000)
    assert result.exit_code == 3
    assert "a-2" in result.stderr
    assert lines(tmp_path / "8k" / "utt2spk") == ["a-1 a", "b-1 b"]
    assert run("resample", data, tmp_path / "x", "--rate", 8000, "--max-skipped", 1).exit_code == 0


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..", "a//b"])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    place = Path(file_of(tmp_path, name, "flac"))
    assert place.parent == tmp_path
    assert file_of(tmp_path, "id1/v/0001", "flac") == str(tmp_path / "id1/v/0001.flac")


@pytest.mark.parametrize("speeds", ["1", "0.9,0.9", "fast", "3", "0.905"])
def test_speeds_that_cannot_be_played(speeds: str, data: Path, tmp_path: Path) -> None:
    result = run("perturb-speed", data, tmp_path / "sp", "--speeds", speeds)
    assert result.exit_code == 2 or result.exit_code == 1
    assert "--speeds" in result.stderr
    assert not (tmp_path / "sp").exists()
