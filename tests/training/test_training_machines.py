"""Two machines over loopback: the same weights as one, and what happens when one of them dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SETTINGS = (
    "model=ecapa_glob_c512", "model_options={channels=16, embedding_dim=8}", "batch_size=2",
    "num_epochs=3", "data.chunk_seconds=0.6", "data.num_workers=0", "engine.precision=fp32",
    "engine.save_every_steps=2", "engine.log_every_steps=1", "engine.timeout_seconds=30",
)  # fmt: skip
LONG = "num_epochs=300"


def arguments(data: Path, exp: Path, *extra: str) -> list[str]:
    pairs = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", "--data", str(data), "--exp-dir", str(exp), *pairs, *extra]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start_nodes(line: list[str], folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start two torchrun agents of one process each; what they say goes to node-N.log."""
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1",
        "--max-restarts", "0", "--master-addr", "127.0.0.1", "--master-port", str(free_port()),
    ]  # fmt: skip
    nodes = []
    for number in range(2):
        with (folder / f"node-{number}.log").open("wb") as log:
            node = ["--node-rank", str(number), "-m", "sv_cli", *line]
            nodes.append(subprocess.Popen([*launcher, *node], stdout=log, stderr=log))
    return nodes


def run_nodes(line: list[str], folder: Path) -> None:
    for number, node in enumerate(start_nodes(line, folder)):
        assert node.wait(timeout=200) == 0, (folder / f"node-{number}.log").read_text()


def kill_node(agent: subprocess.Popen[bytes]) -> None:
    """Kill an agent and its process at once, as a machine that loses its power."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    for pid in (agent.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    agent.wait()


def steps_logged(exp: Path) -> int:
    log = exp / "log.jsonl"
    return log.read_text().count('"event": "step"') if log.exists() else 0


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = (torch.load(p / "final.pt", weights_only=True)["weights"] for p in (one, other))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_two_machines_are_as_good_as_one(voices: Path, tmp_path: Path) -> None:
    one = [sys.executable, "-m", "sv_cli", *arguments(voices, tmp_path / "one"), "--num-procs", "2"]
    assert subprocess.run(one, capture_output=True).returncode == 0
    run_nodes(arguments(voices, tmp_path / "two"), tmp_path)
    assert_same_bits(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("dead", [0, 1])
def test_a_machine_that_dies_is_named_and_both_resume(
    voices: Path, tmp_path: Path, dead: int
) -> None:
    exp = tmp_path / "exp"
    # 21 steps are over before anybody could kill them: more of them, and a stop on the way.
    nodes = start_nodes(arguments(voices, exp, "--set", LONG), tmp_path)
    while steps_logged(exp) < 5 and nodes[0].poll() is None:
        time.sleep(0.01)
    kill_node(nodes[dead])
    begun = time.monotonic()
    assert nodes[1 - dead].wait(timeout=60) != 0
    assert time.monotonic() - begun < 30
    told = (tmp_path / f"node-{1 - dead}.log").read_text()
    assert f"process {1 - dead} of 2 lost process {dead}" in told and "--resume" in told, told
    steps = torch.load(exp / "state.pt", weights_only=True)["step"]
    assert steps >= 4

    again = start_nodes(arguments(voices, exp, "--set", LONG, "--resume"), tmp_path)
    while steps_logged(exp) < steps + 10 and again[0].poll() is None:
        time.sleep(0.01)
    told = (tmp_path / "node-0.log").read_text()
    assert f"resuming after step {steps} " in told
    for node in again:
        node.terminate()
    for node in again:
        node.wait(timeout=60)
    assert torch.load(exp / "state.pt", weights_only=True)["step"] > steps
