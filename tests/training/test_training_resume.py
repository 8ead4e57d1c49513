"""A run that was killed and resumed ends with the same bits as one that was not."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

COMMON = [
    "--model", "ecapa_glob_c512",
    "--set", "model_options={channels=32, embedding_dim=16}",
    "--set", "batch_size=4",
    "--set", "num_epochs=4",
    "--set", "data.chunk_seconds=0.8",
    "--set", "data.num_workers=0",
    "--set", "schedule.warmup_epochs=1",
    "--set", "engine.save_every_steps=2",
    "--set", "engine.log_every_steps=1",
]  # fmt: skip


def command(data: Path, exp: Path, *extra: str) -> list[str]:
    base = [sys.executable, "-m", "sv_cli", "train", "--data", str(data), "--exp-dir", str(exp)]
    return [*base, *COMMON, *extra]


def run(line: list[str]) -> None:
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def lines_of(exp: Path) -> list[str]:
    """Return the lines of the log, also what broke off when a run was killed and went on."""
    log = exp / "log.jsonl"
    return log.read_text().split("\n")[:-1] if log.exists() else []


def last_step(exp: Path, *, behind: int = 0) -> int:
    """Return the last step in the log behind so many lines, 0 before the first."""
    found = (re.search(r'"event": "step", "step": (\d+),', line) for line in lines_of(exp)[behind:])
    return max((int(step[1]) for step in found if step is not None), default=0)


def kill_after(line: list[str], exp: Path, step: int) -> None:
    """Start a run in a group of its own and SIGKILL all of it once it logged such a step."""
    behind = len(lines_of(exp))
    child = subprocess.Popen(
        line, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while last_step(exp, behind=behind) < step and child.poll() is None:
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def weights(exp: Path) -> dict[str, torch.Tensor]:
    return torch.load(exp / "final.pt", weights_only=True)["weights"]


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key


# The mean of the weights, gradients added up, a share of the classes, steps of the rate.
ALL_AT_ONCE = (
    "--set", "engine={accumulate=2, ema_decay=0.9, save_every_steps=2, log_every_steps=1}",
    "--set", "loss={class_share=0.8, rise_end_epoch=3.0}",
    "--set", "schedule={shape='step', lr=0.02, gamma=0.5, warmup_epochs=0.5, reference_batch=2}",
    "--set", "optim={name='adamw', clip_norm=3.0, decay_norm_and_bias=false}",
    "--set", "num_epochs=6",
)  # fmt: skip


@pytest.mark.parametrize(("kill_step", "more"), [(3, ()), (8, ()), (7, ALL_AT_ONCE)])
def test_killed_run_resumes_to_the_same_bits(
    voices: Path, tmp_path: Path, kill_step: int, more: tuple[str, ...]
) -> None:
    run(command(voices, tmp_path / "whole", *more))
    kill_after(command(voices, tmp_path / "killed", *more), tmp_path / "killed", kill_step)
    assert not (tmp_path / "killed" / "final.pt").exists()
    run(command(voices, tmp_path / "killed", *more, "--resume"))
    assert_same_bits(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_killed_run_from_shards_resumes_to_the_same_bits(voices: Path, tmp_path: Path) -> None:
    """Stopped in the middle of an epoch of 15 steps; other workers give the same, too."""
    shar = [sys.executable, "-m", "sv_cli", "data", "to-shar", str(voices), str(tmp_path / "shar")]
    run([*shar, "--shard-size", "7"])
    more = ("--set", "batch_size=2", "--set", "num_epochs=2", "--set", "augment.speeds=[0.9]")
    run(command(tmp_path / "shar", tmp_path / "whole", *more))
    kill_after(command(tmp_path / "shar", tmp_path / "killed", *more), tmp_path / "killed", 19)
    assert not (tmp_path / "killed" / "final.pt").exists()
    run(command(tmp_path / "shar", tmp_path / "killed", *more, "--resume"))
    assert_same_bits(tmp_path / "whole", tmp_path / "killed")
    run(command(tmp_path / "shar", tmp_path / "workers", *more, "--set", "data.num_workers=2"))
    assert_same_bits(tmp_path / "whole", tmp_path / "workers")


def test_two_processes_resume_to_the_same_bits(voices: Path, tmp_path: Path) -> None:
    two = ("--num-procs", "2", "--set", "batch_size=2")
    run(command(voices, tmp_path / "whole", *two))
    kill_after(command(voices, tmp_path / "killed", *two), tmp_path / "killed", 5)
    assert not (tmp_path / "killed" / "final.pt").exists()
    run(command(voices, tmp_path / "killed", *two, "--resume"))
    assert_same_bits(tmp_path / "whole", tmp_path / "killed")


def augmented(rooms: Path, processes: int) -> list[str]:
    """Return options with every effect at work, for steps of four utterances."""
    settings = (
        "augment.chain=speaker-net", f"augment.musan={rooms}/musan", f"augment.rir={rooms}/rir",
        "augment.gain_prob=0.5", "augment.spec.prob=0.7", f"batch_size={4 // processes}",
    )  # fmt: skip
    return [f"--set={item}" for item in settings] + ["--num-procs", str(processes)]


@pytest.fixture(scope="module")
def whole_augmented(voices: Path, rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of runs that were not stopped, by their number of processes."""
    folder = tmp_path_factory.mktemp("augmented")
    for processes in (1, 2):
        run(command(voices, folder / str(processes), *augmented(rooms, processes)))
    return folder


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_augmented_run_killed_three_times_ends_with_the_same_bits(
    voices: Path, rooms: Path, whole_augmented: Path, tmp_path: Path, workers: int, processes: int
) -> None:
    """Killed at three steps drawn at random; every start has the other number of workers."""
    exp = tmp_path / "killed"
    line = command(voices, exp, *augmented(rooms, processes))
    steps = sorted(random.Random(10 * processes + workers).sample(range(1, 22), 3))
    for number, step in enumerate(steps):
        readers = workers if number % 2 == 0 else 2 - workers
        more = ["--set", f"data.num_workers={readers}", *(["--resume"] if number else [])]
        kill_after([*line, *more], exp, step)
        assert not (exp / "final.pt").exists()
    run([*line, "--resume"])
    assert_same_bits(whole_augmented / str(processes), exp)


def test_torchrun_and_num_procs_are_the_same_engine(voices: Path, tmp_path: Path) -> None:
    run(command(voices, tmp_path / "ours", "--num-procs", "2", "--set", "num_epochs=1"))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    python, *rest = command(voices, tmp_path / "torchrun", "--set", "num_epochs=1")
    run([python, *launcher, *rest])
    assert_same_bits(tmp_path / "ours", tmp_path / "torchrun")


def test_a_process_that_dies_is_named(voices: Path, tmp_path: Path) -> None:
    exp = tmp_path / "exp"
    line = command(voices, exp, "--num-procs", "2", "--set", "num_epochs=200")
    parent = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    while last_step(exp) < 3 and parent.poll() is None:
        time.sleep(0.01)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    ranks = {rank_of(int(pid)): int(pid) for pid in children}
    os.kill(ranks[1], signal.SIGKILL)
    _, errors = parent.communicate(timeout=120)
    assert parent.returncode == 1
    assert "process 1" in errors and "SIGKILL" in errors and "--resume" in errors
    assert not Path(f"/proc/{ranks[0]}").exists(), "the other process was left behind"


def rank_of(pid: int) -> int | None:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    found = [entry[5:] for entry in entries if entry.startswith(b"RANK=")]
    return int(found[0]) if found else None


def test_sigterm_saves_and_exits_well(voices: Path, tmp_path: Path) -> None:
    run(command(voices, tmp_path / "whole"))
    exp = tmp_path / "stopped"
    child = subprocess.Popen(command(voices, exp), stderr=subprocess.PIPE, text=True)
    while last_step(exp) < 3 and child.poll() is None:
        time.sleep(0.005)
    child.terminate()
    _, errors = child.communicate()
    assert child.returncode == 0, errors
    assert "--resume" in errors.splitlines()[-1]
    run(command(voices, exp, "--resume"))
    assert_same_bits(tmp_path / "whole", exp)


def test_two_processes_see_what_one_sees(voices: Path, tmp_path: Path) -> None:
    """Two processes of batch 2 take the steps of one of batch 4; the data order is the same."""
    from sv_cli.sampling.plan import EpochPlan

    one, two = EpochPlan(30, 4, 1, 7), EpochPlan(30, 2, 2, 7)
    order = one.order(3)
    for step in range(one.num_steps):
        halves = [two.batch(order, step, rank) for rank in range(2)]
        assert list(one.batch(order, step, 0)) == [*halves[0], *halves[1]]


def test_resume_refuses_another_run(voices: Path, tmp_path: Path) -> None:
    run(command(voices, tmp_path / "exp"))
    again = subprocess.run(
        command(voices, tmp_path / "exp", "--resume", "--set", "schedule.lr=0.5"),
        capture_output=True, text=True,
    )  # fmt: skip
    assert again.returncode == 2
    assert "schedule.lr" in again.stderr
    plain = subprocess.run(command(voices, tmp_path / "exp"), capture_output=True, text=True)
    assert plain.returncode == 1
    assert "--resume" in plain.stderr


def test_readers_work_where_the_name_of_tmpdir_is_too_long_for_a_socket(
    voices: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / ("long-" * 20)
    scratch.mkdir()
    line = command(voices, tmp_path / "exp", "--set", "data.num_workers=2", "--set", "num_epochs=1")
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_sigterm_to_all_processes_of_a_job_saves_too(
    voices: Path, tmp_path: Path, processes: int
) -> None:
    """Batch systems and torchrun tell the reading workers as well."""
    exp = tmp_path / "exp"
    more = ("--set", "data.num_workers=2", "--set", "batch_size=2", "--num-procs", str(processes))
    line = command(voices, exp, *more, "--set", "num_epochs=1000")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    child = subprocess.Popen(
        line, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while last_step(exp) < 3 and child.poll() is None:
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGTERM)
    _, errors = child.communicate(timeout=100)
    assert child.returncode == 0, errors
    assert "`--resume` goes on" in errors and "error" not in errors
    left = [path.name for path in scratch.iterdir() if not path.name.startswith("torchinductor")]
    assert not left, "left behind"
    assert torch.load(exp / "state.pt", weights_only=True)["step"] >= 3


def test_what_stops_all_processes_is_told_once(voices: Path, tmp_path: Path) -> None:
    line = command(tmp_path / "nothing", tmp_path / "exp", "--num-procs", "2")
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("no such data directory") == 1
    assert "see its message above" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "exp").exists()
