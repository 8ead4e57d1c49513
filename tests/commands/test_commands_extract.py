"""`svtool extract`: sources, outputs, processes, resumption, what is skipped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from sv_cli.audio import notices
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.cli import app
from sv_cli.features.settings import find_frontend
from sv_cli.models.registry import build_model
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.kaldi.arrays import read_arrays

OPTIONS = {"m_channels": 4, "num_blocks": (1, 1, 1, 1), "embedding_dim": 16}
NUM_UTTS = 40
COMMAND = [sys.executable, "-m", "sv_cli", "extract"]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(notices, "_said", set())


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A model, and a data directory of 40 short recordings in no order."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    encoder = build_model("resnet34", **OPTIONS)
    weights = encoder.state_dict()
    save_model("model.pt", ModelFile("resnet34", OPTIONS, find_frontend("wespeaker"), weights))
    draw = np.random.default_rng(0)
    lines = []
    Path("wav").mkdir()
    for number in range(NUM_UTTS):
        samples = (draw.standard_normal(4000 + 160 * number) * 2000).astype(np.int16)
        soundfile.write(f"wav/{number:02d}.wav", samples, 16000)
        lines.append(f"utt{number:02d} wav/{number:02d}.wav\n")
    Path("data").mkdir()
    Path("data/wav.scp").write_text("".join(reversed(lines)))
    return tmp_path


def run(*arguments, status=0, stdin=None):
    arguments = ["extract", "model.pt", *map(str, arguments)]
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exit_code == status, result.stderr + str(result.exception)
    return result


def blank(path, *, keep_time=True):
    """Replace a recording by silence of its size, at the same time of change or later."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def table(folder):
    return Path(folder, "xvector.ark").read_bytes()


TABLE_FILES = [
    ".done",
    ".xvector.ark.lineage.json",
    ".xvector.scp.lineage.json",
    "xvector.ark",
    "xvector.scp",
]


def test_a_directory_receives_all_that_belongs_to_it(data):
    result = run("data", "out")
    assert result.stdout == ""
    assert "precision" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("wrote 40 embeddings, skipped 0")
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == TABLE_FILES
    embeddings = read_embeddings("out")
    assert embeddings.ids == [f"utt{number:02d}" for number in range(NUM_UTTS)]
    assert embeddings.matrix.shape == (NUM_UTTS, 16)
    assert embeddings.info.model == "resnet34"


def test_processes_and_pipes_give_the_same_bytes(data):
    run("data", "one")
    run("data", "two", "--num-procs", 2)
    assert table("two") == table("one")
    assert run("scp:data/wav.scp").stdout_bytes == table("one")
    run("data", "ark:flat.ark")
    assert Path("flat.ark").read_bytes() == table("one")
    assert read_embeddings("flat.ark").info == read_embeddings("one").info


def test_a_recording_and_a_list_of_paths_are_keyed_by_their_names(data):
    run("data", "all")
    expected = read_arrays("all/xvector.scp")
    run("wav/03.wav", "one")
    np.testing.assert_array_equal(read_arrays("one/xvector.scp")["03"], expected["utt03"])
    Path("list.txt").write_text("wav/03.wav\nwav/07.wav\n")
    run("list.txt", "two")
    assert read_embeddings("two").ids == ["03", "07"]
    for arguments in (["make-fbank", "list.txt", "feats"], ["make-vad", "wav/03.wav", "vad"]):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.stderr
    assert sorted(read_arrays("feats/feats.scp")) == ["03", "07"]
    assert sorted(read_arrays("vad/vad.scp")) == ["03"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("wav/03.wav\nother/03.flac\n", "`wav/03.wav` and `other/03.flac` both have the key `03`"),
        ("a wav/03.wav\n", "list:1`: 2 fields, where a list has one path a line"),
        (None, "no such file or directory"),
    ],
)
def test_lists_that_cannot_be_read_are_refused(data, content, problem):
    if content is not None:
        Path("list").write_text(content)
    assert problem in run("list", "out", status=1).stderr
    assert not Path("out").exists()


def test_an_archive_of_recordings_comes_through_a_pipe(data):
    archive = b"".join(
        f"utt{number:02d} ".encode() + Path(f"wav/{number:02d}.wav").read_bytes()
        for number in range(3)
    )
    given = run("ark:-", "ark:-", stdin=archive).stdout_bytes
    Path("given.ark").write_bytes(given)
    run("data", "out")
    expected = read_arrays("out/xvector.scp")
    for utt, embedding in read_arrays("ark:given.ark").items():
        np.testing.assert_array_equal(embedding, expected[utt])


def test_features_give_what_their_recordings_give(data):
    arguments = ["make-fbank", "data", "feats", "--window-type", "hamming"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    run("data", "wavs")
    run("feats/feats.scp", "feats_out")
    assert table("feats_out") == table("wavs")
    run("scp:feats/feats.scp", "told", "--feats")
    assert table("told") == table("wavs")
    stored = Path("feats/feats.ark").read_bytes()
    streamed = run("ark:-", "-", "--feats", stdin=stored).stdout_bytes
    Path("streamed.ark").write_bytes(streamed)
    expected = read_arrays("wavs/xvector.scp")
    for utt, embedding in read_arrays("ark:streamed.ark").items():
        np.testing.assert_array_equal(embedding, expected[utt])


def test_another_speed_is_that_of_recordings_played_so(data):
    """`data perturb-speed` writes 16 bits, hence not the same bits."""
    run("data", "plain")
    run("data", "fast", "--speed", 1.1, "--num-procs", 2)
    write = ("data", "perturb-speed", "data", "played", "--speeds", "1.1", "--only-copies")
    for name in ("utt2spk", "spk2utt"):
        Path("data", name).write_text("".join(f"utt{i:02d} utt{i:02d}\n" for i in range(NUM_UTTS)))
    assert CliRunner().invoke(app, [*write, "--write-audio"]).exit_code == 0
    run("played", "written")
    plain, fast, written = (
        read_arrays(f"{name}/xvector.scp") for name in ("plain", "fast", "written")
    )
    for utt, embedding in fast.items():
        other = written[f"sp1.1-{utt}"]
        away = np.abs(embedding - other).max()
        assert away < 5e-3 * np.abs(other).max() and away < np.abs(embedding - plain[utt]).max() / 3
    assert (
        "another model, data or settings"
        in run("data", "plain", "--speed", 0.9, "--resume", status=1).stderr
    )
    run("data", "again", "--speed", 1.0)
    assert table("again") == table("plain")


def test_shards_join_to_the_whole(data):
    run("data", "whole")
    for shard in (1, 2, 3):
        run("data", f"part{shard}", "--num-shards", 3, "--shard", shard)
    parts = [read_arrays(f"part{shard}/xvector.scp") for shard in (1, 2, 3)]
    whole = read_arrays("whole/xvector.scp")
    assert sum(map(len, parts)) == NUM_UTTS
    for utt, embedding in whole.items():
        (found,) = [part[utt] for part in parts if utt in part]
        np.testing.assert_array_equal(found, embedding)


def test_torchrun_ranks_share_the_parts(data):
    run("data", "one")
    environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_PORT": str(os.getpid())}
    ranks = [
        subprocess.Popen(
            [*COMMAND, "model.pt", "data", "two"],
            env={**environment, "RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    messages = [process.communicate()[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], messages
    assert table("two") == table("one")


def test_outputs_are_not_overwritten_unasked(data):
    run("data", "out")
    first = table("out")
    assert "exists already" in run("data", "out", status=1).stderr
    assert "complete already" in run("data", "out", "--resume").stderr
    Path("out/xvector.ark").write_bytes(b"")
    run("data", "out", "--force")
    assert table("out") == first
    other = run("data", "out", "--resume", "--short", "skip", status=1)
    assert "another model, data or settings" in other.stderr
    assert table("out") == first


def test_finished_parts_are_not_done_again(data):
    run("data", "whole")
    stop_after_a_part("out")
    finished = sorted(Path("out/.parts").glob("part-*.json"))
    assert finished and not Path("out/xvector.ark").exists()
    before = json.loads(finished[0].read_text())
    for utt in range(16):
        blank(Path(f"wav/{utt:02d}.wav"))
    run("data", "out", "--resume")
    assert before["num_done"] == 16
    assert table("out") == table("whole")
    assert not Path("out/.parts").exists()
    assert Path("out/.done").exists()


def test_parts_of_a_recording_that_vanished_are_not_kept(data):
    run("data", "whole")
    stop_after_a_part("out")
    Path("wav/03.wav").unlink()
    result = run("data", "out", "--resume", status=3)
    assert "skipped `utt03`" in result.stderr
    assert "utt03" not in read_embeddings("out").ids


def test_resume_refuses_recordings_that_were_replaced(data):
    run("data", "out")
    assert "complete already" in run("data", "out", "--resume").stderr
    blank(Path("wav/03.wav"), keep_time=False)
    result = run("data", "out", "--resume", status=1)
    assert "recordings that were replaced since" in result.stderr
    shutil.copy("wav/04.wav", "wav/03.wav")
    run("data", "out", "--force")
    matrix = read_embeddings("out").take(["utt03", "utt04"]).matrix
    np.testing.assert_array_equal(matrix[0], matrix[1])


def test_truncated_table_is_not_complete(data):
    run("data", "out")
    Path("out/xvector.ark").write_bytes(b"")
    result = run("data", "out", "--resume", status=1)
    assert "is not the file that its record describes: 0 bytes now" in result.stderr


FRONTENDS = {
    "sample_rate": ["--sample-rate", 8000],
    "window_type": ["--window-type", "povey"],
    "dither": ["--dither", 1],
    "frame_shift_ms": ["--frame-shift-ms", 20],
    "use_log": ["--no-use-log"],
    "use_energy": ["--num-mel-bins", 79, "--use-energy"],
}


@pytest.mark.parametrize("name", FRONTENDS)
@pytest.mark.parametrize("form", ["scp", "ark", "copy", "subset"])
def test_features_of_another_frontend_are_refused(data, name, form):
    own = ["--window-type", "hamming"]
    words = ["make-fbank", "data", "ark,scp:f/feats.ark,f/feats.scp", *own, *FRONTENDS[name]]
    assert CliRunner().invoke(app, list(map(str, words))).exit_code == 0
    source = {"scp": "f/feats.scp", "ark": "ark:f/feats.ark"}.get(form, "g/feats.scp")
    if form == "copy":
        shutil.copytree("f", "g")
        shutil.rmtree("f")
    elif form == "subset":
        Path("g").mkdir()
        lines = Path("f/feats.scp").read_text().splitlines(keepends=True)
        Path("g/feats.scp").write_text("".join(lines[:5]))
    result = run(source, "out", "--feats", status=1)
    assert "holds features of another front-end" in result.stderr
    assert f"{name} " in result.stderr


def stop_after_a_part(out):
    """Start an extraction whose last part waits for ever, and kill it there."""
    lines = Path("data/wav.scp").read_text()
    fifo = Path("wav/39.wav")
    kept = Path("kept.wav")
    shutil.move(fifo, kept)
    os.mkfifo(fifo)
    process = subprocess.Popen([*COMMAND, "model.pt", "data", out], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(Path(out, ".parts").glob("part-000001.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    fifo.unlink()
    shutil.move(kept, fifo)
    assert Path("data/wav.scp").read_text() == lines


def test_terminated_it_leaves_nothing_half_written(data):
    shutil.move("wav/39.wav", "kept.wav")
    os.mkfifo("wav/39.wav")
    arguments = [*COMMAND, "model.pt", "data", "out", "--num-procs", "2"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(Path("out/.parts").glob("part-000001.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130, message
    assert sorted(path.name for path in Path("out").iterdir()) == [".parts"]


def test_bad_recordings_are_named_counted_and_judged(data):
    Path("wav/03.wav").write_bytes(b"RIFFjunk")
    Path("wav/07.wav").unlink()
    soundfile.write("wav/11.wav", np.zeros(0, np.int16), 16000)
    soundfile.write("wav/12.wav", np.full(8000, np.nan, np.float32), 16000, subtype="FLOAT")
    soundfile.write("wav/13.wav", np.zeros(100, np.int16), 16000)
    result = run("data", "out", status=3)
    for utt in ("utt03", "utt07", "utt11", "utt12", "utt13"):
        assert f"skipped `{utt}`" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("wrote 35 embeddings, skipped 5")
    run("data", "again", "--max-skipped", 5)
    assert table("again") == table("out")
    assert run("data", "out", "--resume", status=3).stderr.endswith("skipped 5\n")


@pytest.mark.parametrize("procs", [1, 2])
def test_what_was_skipped_is_tried_again(data, procs):
    run("data", "whole")
    absent = ["00", "17", "18", "39"]
    Path("away").mkdir()
    for number in absent:
        shutil.move(f"wav/{number}.wav", "away")
    run("data", "out", status=3)
    number_of_file = Path("out/xvector.ark").stat().st_ino
    result = run("data", "out", "--resume", status=3)
    assert "trying 4 utterances again that were skipped" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("wrote 36 embeddings, skipped 4")
    assert Path("out/xvector.ark").stat().st_ino == number_of_file  # nothing was new

    for path in Path("wav").iterdir():
        blank(path)  # its row is not computed again
    shutil.move("away/17.wav", "wav")
    result = run("data", "out", "--resume", "--num-procs", procs, status=3)
    assert result.stderr.splitlines()[-1].endswith("wrote 37 embeddings, skipped 3")
    for number in ("00", "18", "39"):
        shutil.move(f"away/{number}.wav", "wav")
    result = run("data", "out", "--resume", "--num-procs", procs)
    assert result.stderr.splitlines()[-1].endswith("wrote 40 embeddings, skipped 0")
    for name in ("ark", "scp"):
        standing = Path(f"whole/xvector.{name}").read_text("latin-1")
        assert (
            Path(f"out/xvector.{name}").read_text("latin-1").replace("out/", "whole/") == standing
        )
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == TABLE_FILES
    assert "complete already" in run("data", "out", "--resume").stderr


def test_a_table_that_was_removed_is_made_again(data):
    run("data", "out")
    first = table("out")
    Path("out/xvector.scp").unlink()
    run("data", "out", "--resume")
    assert table("out") == first and Path("out/xvector.scp").exists()


def test_other_rates_are_resampled_aloud(data):
    noise = np.random.default_rng(5).standard_normal(8000).astype(np.float32) * 0.1
    soundfile.write("wav/39.wav", noise, 8000)
    assert "8000 Hz" in run("data", "out").stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("nothing", "out"), 1, "nothing"),
        (("data", "out", "--num-shards", 2, "--shard", 3), 2, "shards count from 1 to 2"),
        (("data", "-", "--resume"), 2, "need a directory"),
        (("data", "out", "--precision", "fp64"), 2, "fp64"),
        (("data", "out", "--feats"), 1, "feats.scp"),
        (("ark:-", "out", "--feats", "--resume"), 2, "read once"),
        (("ark:-", "out", "--feats", "--speed", 0.9), 2, "`--speed` takes recordings"),
        (("data", "out", "--speed", 0.777), 2, "hundredths"),
        (("data", "out", "--speed", 3), 2, "speed"),
    ],
)
def test_wrong_arguments_are_told(data, arguments, status, message):
    assert message in run(*arguments, status=status).stderr
    assert not Path("out/xvector.ark").exists()


def test_nothing_embedded_is_a_failure(data):
    for path in Path("wav").iterdir():
        path.write_bytes(b"")
    assert "could be embedded" in run("data", "out", status=1).stderr
    assert not Path("out/xvector.ark").exists()


def test_an_unknown_model_is_told(data):
    result = CliRunner().invoke(app, ["extract", "nowhere.pt", "data", "out"])
    assert result.exit_code == 1
    assert "nowhere.pt" in result.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"fingerprint": 1, "done": 1}'])
def test_a_damaged_record_of_the_end_is_no_record(data, text):
    run("data", "out")
    before = Path("out/xvector.ark").read_bytes()
    Path("out/.done").write_text(text)
    run("data", "out", "--resume")
    assert Path("out/xvector.ark").read_bytes() == before
    assert json.loads(Path("out/.done").read_text())["done"] == NUM_UTTS


def test_commands_of_a_data_directory_are_reported_once(data):
    table = Path("data/wav.scp")
    rows = table.read_text().splitlines()
    piped = [f"{row.split()[0]} cat {row.split()[1]} |" for row in rows[:3]]
    table.write_text("\n".join(piped + rows[3:]) + "\n")
    result = run("data", "out")
    said = "`data/wav.scp`: 3 recordings are commands that run as they are read, the first is"
    assert result.stderr.count(said) == 1
