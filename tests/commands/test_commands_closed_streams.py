"""Standard streams that are closed or full, and signals before a command begins."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from survival_jobs import REPOSITORY

from sv_cli.tables.datadir.directory import DataDir

FULL = Path("/dev/full")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    utts = [f"s{number}-u" for number in range(3)]
    wav = {utt: f"{utt}.wav" for utt in utts}
    DataDir(wav=wav, utt2spk={utt: utt[:2] for utt in utts}).write(tmp_path / "data")
    (tmp_path / "scores").write_text("a b 0.5\na c 0.1\n")
    return tmp_path


def shell(folder: Path, line: str) -> "subprocess.CompletedProcess[bytes]":
    program = f"'{sys.executable}' -m sv_cli"
    return subprocess.run(
        ["sh", "-c", line.replace("svtool", program)],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("svtool data info data >/dev/full", b"cannot write standard output: No space left"),
        ("svtool data info data >&-", b"standard output is closed"),
        ("svtool fuse mean scores scores - >/dev/full", b"cannot write standard output"),
        ("svtool fuse mean scores scores - >&-", b"standard output is closed"),
        ("svtool fuse mean scores - out <&-", b"standard input is closed"),
    ],
)
def test_one_line_says_which_stream_fails(folder: Path, line: str, said: bytes) -> None:
    done = shell(folder, line)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


def test_work_is_done_without_stderr(folder: Path) -> None:
    done = shell(folder, "svtool data copy data out/data 2>&-")
    assert done.returncode == 0
    assert (folder / "out/data/wav.scp").read_bytes() == (folder / "data/wav.scp").read_bytes()
    assert shell(folder, "svtool data copy data out/data 2>&-").returncode == 1


def test_names_of_any_bytes_reach_stdout(folder: Path) -> None:
    (folder / "data").rename(folder / os.fsdecode(b"d\xff"))
    done = shell(folder, "svtool data info d*")
    assert done.returncode == 0, done.stderr
    assert b"d\xff" in done.stdout


def test_an_interrupt_while_starting_is_one_line() -> None:
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "sv_cli", "train", "--help"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert process.stderr is not None
        for line in process.stderr:
            if b"typer" in line or b"click" in line:
                break
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate()
        if process.returncode:  # else it had ended before the signal
            break
    said = [line for line in messages.splitlines() if not line.startswith(b"import time")]
    assert said == [b"svtool: error: interrupted"]
    assert process.returncode == 130


def test_a_hang_up_ends_a_command_as_sigterm_does(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "wav.scp").write_text("a fifo\n")
    line = [sys.executable, "-m", "sv_cli", "make-fbank", "scp:wav.scp", "out/f.ark"]
    for start, expected in (([], 130), (["nohup"], None)):
        process = subprocess.Popen(
            [*start, *line],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        deadline = time.monotonic() + 60
        while not list((folder / "out").glob(".*.parts/*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGHUP)
        if expected is None:
            time.sleep(0.5)
            assert process.poll() is None
            process.terminate()
        _, messages = process.communicate(timeout=30)
        assert process.returncode == 130, messages
        assert not list(folder.rglob("*.tmp"))
        for path in sorted(folder.rglob("out/.*.parts/*")):
            path.unlink()
