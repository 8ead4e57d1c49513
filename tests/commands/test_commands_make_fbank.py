"""`make-fbank` and `make-vad`: sources, outputs, parts, resumption, what is skipped."""

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
from typer.testing import CliRunner

from sv_cli.audio import notices
from sv_cli.cli import app
from sv_cli.tables.kaldi.arrays import read_arrays
from sv_cli.tables.lineage import read_lineage

RATE = 16000
NUM_UTTS = 40


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(notices, "_said", set())


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data directory of 40 short recordings."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    lines = []
    Path("wav").mkdir()
    for number in range(NUM_UTTS):
        samples = (draw.standard_normal(4000 + 160 * number) * 2000).astype(np.int16)
        soundfile.write(f"wav/{number:02d}.wav", samples, RATE)
        lines.append(f"utt{number:02d} wav/{number:02d}.wav\n")
    Path("data").mkdir()
    Path("data/wav.scp").write_text("".join(lines))
    return tmp_path


def run(*arguments, status=0, stdin=None):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == status, result.stderr + str(result.exception)
    return result


def files(folder="data"):
    return sorted(path.name for path in Path(folder).iterdir())


def frames_of(number):
    return 1 + (4000 + 160 * number - 400) // 160


def test_a_data_directory_gets_its_features(data):
    result = run("make-fbank", "data")
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last == "svtool make-fbank: wrote features of 40 utterances, skipped 0"
    assert files() == [
        ".feats.ark.lineage.json",
        ".feats.ark.resume.json",
        ".feats.scp.lineage.json",
        "feats.ark",
        "feats.scp",
        "frame_shift",
        "utt2num_frames",
        "wav.scp",
    ]
    features = read_arrays("scp:data/feats.scp")
    assert len(features) == NUM_UTTS
    assert features["utt03"].shape == (frames_of(3), 80)
    assert Path("data/utt2num_frames").read_text().splitlines()[3] == f"utt03 {frames_of(3)}"
    assert Path("data/frame_shift").read_text() == "0.01\n"
    for name, array in read_arrays("ark:data/feats.ark").items():
        np.testing.assert_array_equal(array, features[name])


def test_outputs_stand_until_force(data):
    run("make-fbank", "data")
    before = Path("data/feats.ark").read_bytes()
    result = run("make-fbank", "data", "--num-mel-bins", 40, status=1)
    assert "exists already" in result.stderr
    assert Path("data/feats.ark").read_bytes() == before
    run("make-fbank", "data", "--num-mel-bins", 40, "--force")
    assert read_arrays("data/feats.scp")["utt00"].shape == (frames_of(0), 40)


def test_sources_agree(data):
    run("make-fbank", "data", "out/a")
    expected = Path("out/a/feats.ark").read_bytes()
    ark = b""
    for number in range(NUM_UTTS):
        ark += f"utt{number:02d} ".encode() + Path(f"wav/{number:02d}.wav").read_bytes()
    Path("wav.ark").write_bytes(ark)
    piped = "".join(f"utt{n:02d} cat wav/{n:02d}.wav |\n" for n in range(NUM_UTTS))
    Path("pipes.scp").write_text(piped)
    for number, (source, stdin) in enumerate(
        [
            ("scp:data/wav.scp", None),
            ("wav.ark", None),
            ("ark:wav.ark", None),
            ("ark:-", ark),
            ("-", ark),
            ("scp:-", piped.encode()),
            ("ark:cat wav.ark |", None),
        ]
    ):
        run("make-fbank", source, f"out/{number}", stdin=stdin)
        assert Path(f"out/{number}/feats.ark").read_bytes() == expected, source
    assert run("make-fbank", "wav.ark").stdout_bytes == expected
    assert run("make-fbank", "data", "-").stdout_bytes == expected
    run("make-fbank", "wav.ark", "ark:| cat > piped.ark")
    assert Path("piped.ark").read_bytes() == expected
    result = run("make-fbank", "scp:pipes.scp", "--no-pipes", status=1)
    assert "pipes are refused" in result.stderr


def test_a_compression_that_cannot_hold_the_features_is_refused(data):
    result = run("make-fbank", "data", "packed", "--compress", 7, status=1)
    assert "`utt00` has" in result.stderr
    assert "compression method 7 holds 0 to 1" in result.stderr
    assert not Path("packed/feats.scp").exists()


def test_text_and_compression(data):
    run("make-fbank", "data", "ark:plain.ark")
    plain = read_arrays("plain.ark")
    run("make-fbank", "data", "ark,t,scp:text.ark,text.scp")
    assert Path("text.ark").read_text().startswith("utt00  [\n  ")
    run("make-fbank", "data", "packed", "--compress", 3)
    assert Path("packed/feats.ark").stat().st_size < 0.6 * Path("plain.ark").stat().st_size
    for source, tolerance in (("text.scp", 1e-6), ("packed", 1e-3)):
        for utt, array in read_arrays(source, wanted="feats.scp").items():
            np.testing.assert_allclose(array, plain[utt], atol=tolerance)


def test_segments(data):
    Path("data/segments").write_text(
        "s1 utt00 0.05 0.2\ns2 utt39 0.1 -1\ns3 utt39 0 9\ns4 utt01 0.1 0.25 0\n"
    )
    result = run("make-fbank", "data", status=3)
    assert "skipped `s3`" in result.stderr
    assert "past the end" in result.stderr
    features = read_arrays("data/feats.scp")
    assert {utt: len(array) for utt, array in features.items()} == {
        "s1": 13,
        "s2": 1 + (4000 + 160 * 39 - 1600 - 400) // 160,
        "s4": 13,
    }
    Path("data/segments").write_text("s1 nobody 0.05 0.2\n")
    assert "nobody" in run("make-fbank", "data", "x", status=1).stderr
    Path("data/segments").write_text("s1 utt00 a 0.2\n")
    assert "data/segments:1" in run("make-fbank", "data", "x", status=1).stderr


def spoil():
    """Make six recordings unreadable, each in its way."""
    Path("wav/01.wav").unlink()
    Path("wav/02.wav").write_bytes(b"")
    Path("wav/03.wav").write_bytes(Path("wav/03.wav").read_bytes()[:44])
    Path("wav/04.wav").write_bytes(b"this is not audio, whatever its name says")
    soundfile.write("wav/05.wav", np.full(8000, np.nan), RATE, subtype="FLOAT")
    soundfile.write("wav/06.wav", np.zeros(399, np.int16), RATE)


def test_bad_recordings_are_named_and_counted(data):
    spoil()
    result = run("make-fbank", "data", status=3)
    for number in range(1, 7):
        assert f"skipped `utt{number:02d}`: " in result.stderr
    assert result.stderr.splitlines()[-1].endswith("wrote features of 34 utterances, skipped 6")
    assert len(read_arrays("data/feats.scp")) == 34
    assert len(Path("data/utt2num_frames").read_text().splitlines()) == 34
    run("make-fbank", "data", "--force", "--max-skipped", 6)
    run("make-fbank", "data", "--force", "--max-skipped", 5, status=3)


def test_nothing_done_is_a_failure(data):
    shutil.rmtree("wav")
    result = run("make-fbank", "data", status=1)
    assert "no utterance could be read" in result.stderr
    assert result.stderr.count("skipped `") == 20
    assert "feats.ark" not in files()
    assert "feats.scp" not in files()
    assert "has no wav.scp" in run("make-fbank", ".", status=1).stderr
    assert "nowhere/wav.scp" in run("make-fbank", "nowhere/wav.scp", status=1).stderr
    assert "nowhere.ark" in run("make-fbank", "nowhere.ark", status=1).stderr


def test_audio_root_channel_and_rate(data, tmp_path):
    expected = run("make-fbank", "scp:data/wav.scp").stdout_bytes
    os.chdir("/")
    try:
        scp = f"scp:{tmp_path}/data/wav.scp"
        assert run("make-fbank", scp, "--audio-root", tmp_path).stdout_bytes == expected
        run("make-fbank", scp, status=1)
    finally:
        os.chdir(tmp_path)
    stereo = np.zeros((8000, 2), np.int16)
    soundfile.write("stereo.wav", stereo, 8000)
    Path("one.scp").write_text("a stereo.wav\nb stereo.wav\n")
    result = run("make-fbank", "one.scp")
    assert result.stderr.count("resampled") == 1
    assert result.stderr.count("first is taken") == 1
    assert "first is taken" not in run("make-fbank", "one.scp", "--channel", 1).stderr
    run("make-fbank", "one.scp", "--channel", 2, status=1)


def test_shards_together_are_the_whole(data):
    run("make-fbank", "data", "whole")
    for shard in (1, 2, 3):
        run("make-fbank", "data", "--num-shards", 3, "--shard", shard)
    joined = b"".join(Path(f"data/feats.{shard}.ark").read_bytes() for shard in (1, 2, 3))
    assert joined == Path("whole/feats.ark").read_bytes()
    assert Path("data/utt2num_frames.2").exists()
    assert (
        "count from 1 to 3"
        in run("make-fbank", "data", "--num-shards", 3, "--shard", 4, status=2).stderr
    )


def test_dither_depends_on_seed_and_utterance_alone(data):
    options = ("--dither", 1.0, "--seed", 5)
    run("make-fbank", "data", "a", *options)
    run("make-fbank", "data", "b", *options, "--num-procs", 2)
    assert Path("a/feats.ark").read_bytes() == Path("b/feats.ark").read_bytes()
    Path("last.scp").write_text(Path("data/wav.scp").read_text().splitlines()[-1] + "\n")
    run("make-fbank", "last.scp", "c", *options)
    last = f"utt{NUM_UTTS - 1}"
    np.testing.assert_array_equal(
        read_arrays("c", wanted="feats.scp")[last], read_arrays("a", wanted="feats.scp")[last]
    )
    run("make-fbank", "last.scp", "d", "--dither", 1.0, "--seed", 6)
    assert Path("c/feats.ark").read_bytes() != Path("d/feats.ark").read_bytes()


def test_resumption_keeps_finished_parts_and_ends_the_same(data, monkeypatch):
    from sv_cli.features import job

    run("make-fbank", "data", "whole")
    computed = []
    compute = job.FeatureJob.compute

    def stop_at_20(self, utterance):
        if len(computed) == 20:
            raise KeyboardInterrupt
        computed.append(utterance.utt)
        return compute(self, utterance)

    monkeypatch.setattr(job.FeatureJob, "compute", stop_at_20)
    run("make-fbank", "data", status=130)
    assert files() == [".feats.ark.parts", "wav.scp"]
    monkeypatch.setattr(job.FeatureJob, "compute", compute)
    done = [path.name for path in Path("data/.feats.ark.parts").glob("*.json")]
    assert done == ["part-000000.json"]

    computed.clear()
    monkeypatch.setattr(
        job.FeatureJob, "compute", lambda s, u: computed.append(u.utt) or compute(s, u)
    )
    run("make-fbank", "data", "--resume")
    assert computed[0] == "utt16"
    assert len(computed) == 24
    assert Path("data/feats.ark").read_bytes() == Path("whole/feats.ark").read_bytes()
    assert ".feats.ark.parts" not in files()

    computed.clear()
    result = run("make-fbank", "data", "--resume")
    assert not computed
    assert "complete already" in result.stderr
    run("make-fbank", "data", "--resume", "--num-mel-bins", 40)
    assert len(computed) == 40


FORMS = [
    ("make-fbank", "feats", []),
    ("make-fbank", "feats", ["--compress", "2"]),
    ("make-fbank", "feats", ["ark,t,scp:data/feats.ark,data/feats.scp"]),
    ("make-vad", "vad", []),
]


@pytest.mark.parametrize(("command", "name", "options"), FORMS)
def test_what_was_skipped_is_tried_again(command, name, options, data):
    shutil.copytree("data", "kept")
    run(command, "data", *options)
    whole = {path.name: path.read_bytes() for path in Path("data").glob("[!.]*")}
    shutil.rmtree("data")
    shutil.copytree("kept", "data")
    Path("away").mkdir()
    for number in ("00", "17", "18", "39"):
        shutil.move(f"wav/{number}.wav", "away")
    run(command, "data", *options, status=3)
    number_of_file = Path(f"data/{name}.ark").stat().st_ino
    result = run(command, "data", *options, "--resume", status=3)
    assert "trying 4 utterances again that were skipped" in result.stderr
    assert "of 36 utterances, skipped 4" in result.stderr
    assert Path(f"data/{name}.ark").stat().st_ino == number_of_file  # nothing was new

    for path in Path("wav").iterdir():  # its row is not computed again
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.move("away/17.wav", "wav")
    result = run(command, "data", *options, "--resume", status=3)
    assert "of 37 utterances, skipped 3" in result.stderr
    for number in ("00", "18", "39"):
        shutil.move(f"away/{number}.wav", "wav")
    result = run(command, "data", *options, "--resume")
    assert "of 40 utterances, skipped 0" in result.stderr
    assert {path.name: path.read_bytes() for path in Path("data").glob("[!.]*")} == whole
    assert "complete already" in run(command, "data", *options, "--resume").stderr


def test_an_archive_that_was_changed_is_made_again(data):
    run("make-fbank", "data")
    whole = Path("data/feats.ark").read_bytes()
    shutil.move("wav/03.wav", "kept.wav")
    run("make-fbank", "data", "--force", status=3)
    with Path("data/feats.ark").open("ab") as stream:
        stream.write(b"more")
    shutil.move("kept.wav", "wav/03.wav")
    run("make-fbank", "data", "--resume")
    assert Path("data/feats.ark").read_bytes() == whole


def is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_half_written_output_and_no_orphan(number, data):
    lines = [f"u{i:05d} wav/{i % NUM_UTTS:02d}.wav\n" for i in range(30000)]
    Path("many.scp").write_text("".join(lines))
    command = [sys.executable, "-m", "sv_cli", "make-fbank", "many.scp", "out", "--num-procs", "2"]
    root = str(Path(__file__).parent.parent.parent)
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(Path("out").glob(".feats.ark.parts/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert files("out") == [".feats.ark.parts"]
    assert "Traceback" not in stderr
    while is_alive(process.pid):
        assert time.monotonic() < deadline, "a worker goes on alone"
        time.sleep(0.05)


def test_vad_of_waveforms_and_of_features(data):
    silent = np.zeros(16000, np.int16)
    silent[6000:9000] = (np.random.default_rng(1).standard_normal(3000) * 3000).astype(np.int16)
    soundfile.write("wav/00.wav", silent, RATE)
    result = run("make-vad", "data")
    assert result.stderr.splitlines()[-1] == (
        "svtool make-vad: wrote VAD decisions of 40 utterances, skipped 0"
    )
    decisions = read_arrays("data/vad.scp")
    assert decisions["utt00"].shape == (98,)
    assert set(decisions["utt00"].tolist()) == {0.0, 1.0}
    assert decisions["utt00"][:33].max() == 0.0
    assert decisions["utt00"][38:56].min() == 1.0
    feats = run("make-fbank", "data", "-", "--use-energy").stdout_bytes
    run("make-vad", "-", "out/vad", "--from-feats", stdin=feats)
    assert Path("out/vad/vad.ark").read_bytes() == Path("data/vad.ark").read_bytes()
    run("make-vad", "-", "out/vad", "--from-feats", stdin=feats, status=1)
    text = run("make-vad", "scp:data/wav.scp", "ark,t:-").stdout
    assert text.splitlines()[0].startswith("utt00  [ 0 0 0 ")


def test_processes_of_torchrun_share_the_parts(data, monkeypatch):
    run("make-fbank", "data", "whole")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):  # the first would wait for the second
        monkeypatch.setenv("RANK", rank)
        result = run("make-fbank", "data")
        assert ("wrote features of 40 utterances" in result.stderr) == (rank == "0")
    assert Path("data/feats.ark").read_bytes() == Path("whole/feats.ark").read_bytes()
    assert ".feats.ark.parts" not in files()
    run("make-fbank", "data", "-", status=2)


def test_the_record_says_what_was_made(data):
    run("make-fbank", "data", "--window-type", "hamming")
    for name in ("feats.scp", "ark:data/feats.ark"):
        lineage = read_lineage(name if ":" in name else f"data/{name}")
        assert (lineage.kind, lineage.command) == ("features", "make-fbank")
        assert lineage.steps[-1].values["window_type"] == "hamming"
        assert lineage.notes["skipped"] == 0


def test_resume_refuses_recordings_that_were_replaced(data):
    run("make-fbank", "data")
    assert "complete already" in run("make-fbank", "data", "--resume").stderr
    shutil.copy("wav/04.wav", "wav/03.wav")
    result = run("make-fbank", "data", "--resume", status=1)
    assert "recordings that were replaced since" in result.stderr


def test_vad_needs_features_with_an_energy(data):
    run("make-fbank", "data")
    result = run("make-vad", "data/feats.scp", "-", "--from-feats", status=1)
    assert "the first column is not the log energy" in result.stderr
