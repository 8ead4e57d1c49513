"""Recordings that never come (a FIFO, a command that sleeps): SIGTERM ends a command anyway."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from survival_jobs import REPOSITORY, TRAIN, make_inputs

SECONDS_TO_END = 15
SLEEP = "sleep 7654321"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("hanging") / "inputs")


def hang(folder: Path, how: str) -> None:
    """Make the last recording, the longest, one that never comes."""
    if how == "fifo":
        os.mkfifo(folder / "fifo.wav")
    table = folder / "data" / "wav.scp"
    *rows, last = table.read_text().splitlines()
    rows.append(f"{last.split()[0]} {'fifo.wav' if how == 'fifo' else SLEEP + ' |'}")
    table.write_text("\n".join(rows) + "\n")


def children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            found += [int(folder.name), *children(int(folder.name))]
    return found


def wait_until_reading(process: "subprocess.Popen[str]", how: str) -> list[int]:
    """Wait until the recording is being read; return the processes below."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        below = children(process.pid)
        everyone = [process.pid, *below]
        if how == "fifo":
            stacks = [p for e in everyone for p in Path(f"/proc/{e}/task").glob("*/wchan")]
            if any("fifo" in p.read_text() or "wait_for_partner" in p.read_text() for p in stacks):
                return below
        elif any(SLEEP in _line(each) for each in everyone):
            return below
        time.sleep(0.1)
    if how == "fifo":  # a kernel that does not say where threads wait
        return children(process.pid)
    raise AssertionError("the recording was never read")


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


EXTRACT = ["extract", "model.pt", "data", "out"]


@pytest.mark.parametrize("how", ["fifo", "command"])
@pytest.mark.parametrize(
    "line",
    [EXTRACT, ["make-fbank", "data", "out/f.ark"], TRAIN, [*TRAIN, "--set", "data.num_workers=0"]],
    ids=["extract", "make-fbank", "train", "train-without-workers"],
)
def test_sigterm_ends_a_command_whose_reader_hangs(
    line: list[str], how: str, inputs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "case"
    shutil.copytree(inputs, folder)
    hang(folder, how)
    process = subprocess.Popen(
        [sys.executable, "-m", "sv_cli", *line],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    below = wait_until_reading(process, how)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        _, messages = process.communicate(timeout=60)
    finally:
        process.kill()
    assert time.monotonic() - begun < SECONDS_TO_END, messages
    assert "Traceback" not in messages
    assert process.returncode == (0 if "train" in line[0] else 130), messages
    assert not list(folder.rglob(".*.tmp"))
    time.sleep(0.2)
    assert not [each for each in below if SLEEP in _line(each)], "the command still runs"
