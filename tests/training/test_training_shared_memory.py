"""Runs where `/dev/shm` is small, as in a container, or read-only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from survival_jobs import REPOSITORY, TRAIN, make_inputs

MOUNT = "mount -t tmpfs -o size=256k none /dev/shm || exit 99; {more} exec "


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("shm") / "inputs")


def run(folder: Path, *line: str, more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line of svtool with its own `/dev/shm` of 256 KiB."""
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "sv_cli", *line))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", MOUNT.format(more=more) + words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    return done


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "they go through pipes"),
        ("mount -o remount,ro /dev/shm;", "no reading processes can be started"),
    ],
    ids=["small", "read-only"],
)
def test_a_run_trains_to_the_same_weights(
    inputs: Path, tmp_path: Path, more: str, said: str
) -> None:
    folder = tmp_path / "case"
    shutil.copytree(inputs, folder)
    big = ["--set", "data.chunk_seconds=0.45", "--set", "batch_size=8"]
    done = run(folder, *TRAIN, *big, more=more)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count(said) == 1
    weights = torch.load(folder / "out" / "final.pt", weights_only=True)["weights"]
    shutil.rmtree(folder / "out")
    alone = [*TRAIN, *big, "--set", "data.num_workers=0"]
    assert run(folder, *alone, more="umount /dev/shm;").returncode == 0
    expected = torch.load(folder / "out" / "final.pt", weights_only=True)["weights"]
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_worker_processes_need_a_writable_one(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(inputs, folder)
    line = ["make-fbank", "data", "out/f.ark", "--num-procs", "2"]
    done = run(folder, *line, more="mount -o remount,ro /dev/shm;")
    assert done.returncode == 1
    assert "cannot start worker processes: " in done.stderr
    assert "Traceback" not in done.stderr
    assert run(folder, *line[:3], more="mount -o remount,ro /dev/shm;").returncode == 0
