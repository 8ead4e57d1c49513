"""The long commands on data small enough to be killed many times, and what must hold after it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch

from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.features.settings import find_frontend
from sv_cli.models.registry import build_model

REPOSITORY = Path(__file__).resolve().parents[1]
RATE = 16000
NUM_UTTS = 48
OPTIONS = {"m_channels": 4, "num_blocks": (1, 1, 1, 1), "embedding_dim": 16}
JOB = """\
model = "model.pt"
recordings = "incoming"
enroll = "enrolled"
out = "out"
settle_seconds = 0
commit_every = 4
"""
SETTINGS = (
    "model_options={channels=16, embedding_dim=8}", "batch_size=4", "num_epochs=2",
    "data.chunk_seconds=0.25", "data.num_workers=1", "schedule.warmup_epochs=1",
    "engine.save_every_steps=2", "engine.log_every_steps=1", "engine.precision=fp32",
)  # fmt: skip
TRAIN = ["train", "--data", "data", "--exp-dir", "out", "--model", "ecapa_glob_c512"]
TRAIN += [word for setting in SETTINGS for word in ("--set", setting)]


@dataclass(frozen=True)
class Job:
    """A command, what it leaves, and how it is started again."""

    name: str
    arguments: list[str]
    again: list[str]
    outputs: tuple[str, ...]
    lock: str = "out/.lock"
    done_status: int = 0
    workers: int = 2
    pool: tuple[str, ...] = ()

    def read(self, folder: Path) -> dict[str, bytes]:
        """Return the bytes of the outputs that are visible; rows of results as a sorted list."""
        found = {}
        for name in self.outputs:
            path = folder / name
            if path.exists():
                data = path.read_bytes()
                found[name] = b"".join(sorted(data.splitlines(True))) if self.appends else data
        return found

    @property
    def appends(self) -> bool:
        return self.name == "score-job"

    def check_visible(self, folder: Path, reference: dict[str, bytes]) -> None:
        """What can be seen after a fault is whole: it is what the undisturbed run wrote."""
        for name, data in self.read(folder).items():
            if not self.appends:
                assert data == reference[name], f"{name} is half-written"
                continue
            rows = (folder / name).read_bytes().splitlines(True)
            whole = reference[name].splitlines(True)
            torn = [row for row in rows if not row.endswith(b"\n")]
            rows = [row for row in rows if row.endswith(b"\n")]
            assert len(torn) <= 1
            assert len(set(rows)) == len(rows), "a row stands twice"
            assert set(rows) <= set(whole), "a row that no undisturbed run writes"

    def check_finished(self, folder: Path, reference: dict[str, bytes]) -> None:
        """Everything is there, with the same bytes, and nothing else is left."""
        assert self.read(folder) == reference
        assert not list(folder.rglob(".*.tmp")), "temporary files are left"
        assert not list(folder.rglob("*.lock")) + list(folder.rglob(".lock"))


JOBS = {
    job.name: job
    for job in (
        Job(
            "make-fbank",
            ["make-fbank", "data", "ark,scp:out/feats.ark,out/feats.scp", "--num-procs", "2"],
            ["--resume"],
            ("out/feats.ark", "out/feats.scp"),
            lock="out/.feats.ark.lock",
        ),
        Job(
            "extract",
            ["extract", "model.pt", "data", "out", "--num-procs", "2"],
            ["--resume"],
            ("out/xvector.ark", "out/xvector.scp"),
        ),
        Job(
            "train",
            TRAIN,
            ["--resume"],
            ("out/final.pt", "out/epoch-001.pt"),
            workers=1,
        ),
        Job(
            "score-job",
            ["score-job", "job.toml"],
            [],
            ("out/results.txt",),
            pool=("--set", "num_procs=2"),
        ),
    )
}


def make_inputs(folder: Path) -> Path:
    """Make recordings, a data directory, a model and an enrolled set."""
    draw = np.random.default_rng(0)
    (folder / "incoming").mkdir(parents=True)
    (folder / "data").mkdir()
    scp, utt2spk, utt2dur, spk2utt = [], [], [], {}
    for number in range(NUM_UTTS):
        speaker = f"s{number // 8}"
        utt = f"{speaker}-{number:02d}"
        samples = (draw.standard_normal(5000 + 160 * number) * 2000).astype(np.int16)
        soundfile.write(folder / "incoming" / f"{utt}.wav", samples, RATE)
        scp.append(f"{utt} incoming/{utt}.wav\n")
        utt2spk.append(f"{utt} {speaker}\n")
        utt2dur.append(f"{utt} {len(samples) / RATE:.4f}\n")
        spk2utt.setdefault(speaker, []).append(utt)
    tables = {
        "wav.scp": scp, "utt2spk": utt2spk, "utt2dur": utt2dur,
        "spk2utt": [f"{spk} {' '.join(utts)}\n" for spk, utts in spk2utt.items()],
    }  # fmt: skip
    for name, lines in tables.items():
        (folder / "data" / name).write_text("".join(lines))
    torch.manual_seed(0)
    weights = build_model("resnet34", **OPTIONS).state_dict()
    model = ModelFile("resnet34", OPTIONS, find_frontend("wespeaker"), weights)
    save_model(folder / "model.pt", model)
    (folder / "first.scp").write_text("".join(scp[:6]))
    (folder / "job.toml").write_text(JOB)
    done = run(folder, ["extract", "model.pt", "scp:first.scp", "enrolled"])
    assert done.returncode == 0, done.stderr
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "sv_cli", *arguments]


def start(folder: Path, arguments: list[str]) -> "subprocess.Popen[str]":
    """Start a command as the leader of a process group of its own."""
    return subprocess.Popen(
        command(arguments), cwd=folder, env=environment(), text=True, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(folder: Path, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(arguments), cwd=folder, env=environment(), text=True, capture_output=True
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for the end; return what it said."""
    _, errors = process.communicate(timeout=300)
    return errors


def wait_for(path: Path, process: "subprocess.Popen[str]") -> bool:
    """Wait until a file appears; False when the process ends before."""
    while not path.exists():
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started from its main thread, python workers alone."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if not any(b"resource_tracker" in word for word in words):
                found.append(int(child))
    return found


def wait_for_group_to_end(group: int, *, seconds: float = 30.0) -> None:
    """Every process of the group ends: no orphan goes on."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline, f"an orphan of {group} goes on"
        time.sleep(0.05)


@dataclass
class Kills:
    """What a chain of kills came to."""

    moments: int = 0
    finished_before: int = 0
    runs: int = 0
    groups: list[int] = field(default_factory=list)


def kill_at_random(
    job: Job, folder: Path, reference: dict[str, bytes], *, moments: int, seed: int
) -> Kills:
    """Kill a run, and the runs that go on from it, at random moments; then let one finish.

    The moments are spread evenly over the length of an undisturbed run, in random order; three of
    four count from the moment on at which the process holds its lock. A run that ends before its
    moment counts as none; its outputs are checked and wiped, and it is begun anew.
    """
    draw = np.random.default_rng([seed, *job.name.encode()])
    spread = draw.permutation((np.arange(moments) + draw.random(moments)) / moments)
    kills = Kills()
    begin = time.monotonic()
    process = start(folder, [*job.arguments, *job.again])
    held = time.monotonic() if wait_for(folder / job.lock, process) else begin
    assert process.wait() == job.done_status, finish(process)
    process.communicate()
    whole, working = time.monotonic() - begin, time.monotonic() - held
    job.check_finished(folder, reference)
    wipe(folder)
    while kills.moments < moments:
        kills.runs += 1
        process = start(folder, [*job.arguments, *job.again])
        delay = float(spread[kills.moments]) * whole
        if kills.moments % 4:
            wait_for(folder / job.lock, process)
            delay = float(spread[kills.moments]) * working
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills.moments += 1
            kills.groups.append(process.pid)
            process.wait()
            process.stderr.close()
            job.check_visible(folder, reference)
            continue
        errors = finish(process)
        assert process.returncode == job.done_status, errors
        job.check_finished(folder, reference)
        kills.finished_before += 1
        wipe(folder)
    process = start(folder, [*job.arguments, *job.again])
    errors = finish(process)
    assert process.returncode == job.done_status, errors
    job.check_finished(folder, reference)
    for group in kills.groups:
        wait_for_group_to_end(group)
    return kills


def wipe(folder: Path) -> None:
    """Take the outputs away."""
    import shutil

    shutil.rmtree(folder / "out", ignore_errors=True)
