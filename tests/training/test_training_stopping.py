"""Stopped where it hurts: at the last step of an epoch, while validating, in one process of two."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import small_run

from sv_cli import logs
from sv_cli.errors import AudioError
from sv_cli.extraction.extractor import Extractor
from sv_cli.training.run import RunPaths, run_training
from sv_cli.training.trainer import Trainer

SETTINGS = small_run(num_epochs=2, schedule={"warmup_epochs": 0, "lr": 0.01})


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SIGTERM come in the middle of this step."""
    train_step = Trainer._train_step

    def stopped(self: Trainer, batches: Any) -> None:
        train_step(self, batches)
        if self.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_train_step", stopped)


def told(exp: Path, event: str) -> list[dict[str, Any]]:
    records = map(json.loads, (exp / "log.jsonl").read_text().splitlines())
    return [record for record in records if record["event"] == event]


def same_models(one: Path, other: Path) -> bool:
    for name in ("best.pt", "epoch-001.pt", "epoch-002.pt", "final.pt"):
        files = [torch.load(folder / name, weights_only=True) for folder in (one, other)]
        assert files[0]["notes"] == files[1]["notes"], name
        assert all(torch.equal(v, files[1]["weights"][k]) for k, v in files[0]["weights"].items())
    return True


@pytest.fixture(scope="module")
def whole(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of seven steps that nobody stopped."""
    exp = tmp_path_factory.mktemp("whole") / "exp"
    run_training(SETTINGS, RunPaths(str(voices), str(exp), str(voices)))
    return exp


@pytest.mark.parametrize("step", [7, 14])
def test_stopped_at_the_last_step_of_an_epoch(
    voices: Path, tmp_path: Path, whole: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(str(voices), str(tmp_path / "stopped"), str(voices))
    with monkeypatch.context() as patch:
        stop_at(step, patch)
        result = run_training(SETTINGS, paths)
    assert result.stopped and result.steps == step
    assert not (tmp_path / "stopped" / f"epoch-{step // 7:03d}.pt").exists()
    result = run_training(SETTINGS, paths, resume=True)
    assert result.steps == 14 and not result.stopped
    assert [one["epoch"] for one in told(tmp_path / "stopped", "validation")] == [1, 2]
    assert same_models(whole, tmp_path / "stopped")


def test_stopped_while_validating(
    voices: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dev set is not waited for: it may take longer than the grace time."""
    paths = RunPaths(str(voices), str(tmp_path / "stopped"), str(voices))
    extract, embedded = Extractor.extract, []

    def stopped(self: Extractor, *given: Any, **named: Any) -> Iterator[tuple[str, Any]]:
        for number, item in enumerate(extract(self, *given, **named)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            embedded.append(item[0])
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "extract", stopped)
        result = run_training(SETTINGS, paths)
    assert result.stopped and result.steps == 7 and len(embedded) == 3
    assert run_training(SETTINGS, paths, resume=True).steps == 14
    assert same_models(whole, tmp_path / "stopped")


def test_a_broken_dev_recording_costs_no_epoch(voices: Path, tmp_path: Path) -> None:
    dev, exp = tmp_path / "dev", tmp_path / "exp"
    dev.mkdir()
    for path in voices.iterdir():
        (dev / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but no more")
    rows = (dev / "wav.scp").read_text().splitlines()
    (dev / "wav.scp").write_text("\n".join([f"s0-u0 {broken}", *rows[1:]]) + "\n")
    paths = RunPaths(str(voices), str(exp), str(dev))
    with pytest.raises(AudioError, match="s0-u0"):
        run_training(SETTINGS, paths)
    (dev / "wav.scp").write_text("\n".join(rows) + "\n")
    behind = len((exp / "log.jsonl").read_text())
    assert run_training(SETTINGS, paths, resume=True).steps == 14
    steps = [json.loads(line) for line in (exp / "log.jsonl").read_text()[behind:].splitlines()]
    assert min(one["step"] for one in steps if one["event"] == "step") > 7


ONE_IS_STOPPED = """
import hashlib, os, signal, sys
from pathlib import Path
from sv_cli.cli import main
from sv_cli.training import trainer, validation

train_step, make = trainer.Trainer._train_step, validation.Extractor
folder, stop_step = Path(sys.argv.pop()), int(sys.argv.pop())

def stopped(self, batches):
    train_step(self, batches)
    if self.step == stop_step and self.world.rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)

def noted(encoder, *given):
    tensors = [value.numpy().tobytes() for value in encoder.state_dict().values()]
    digest = hashlib.sha256(b"".join(tensors)).hexdigest()
    (folder / f"network-{os.environ['RANK']}").write_text(digest)
    return make(encoder, *given)

trainer.Trainer._train_step, validation.Extractor = stopped, noted
main()
"""


@pytest.mark.slow
def test_two_processes_stop_together_and_validate_one_network(voices: Path, tmp_path: Path) -> None:
    """The second hears of the stop behind the last question of its epoch."""
    script, exp = tmp_path / "script.py", tmp_path / "exp"
    script.write_text(ONE_IS_STOPPED)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ("model=ecapa_glob_c512", "model_options={channels=16, embedding_dim=8}",
               "batch_size=2", "num_epochs=2", "data.chunk_seconds=0.6", "data.num_workers=0",
               "engine={precision='fp32', ema_decay=0.9}")  # fmt: skip
    pairs = [f"--set={option}" for option in options]
    line = [sys.executable, *launcher, str(script), "train", "--data", str(voices),
            "--exp-dir", str(exp), "--dev-data", str(voices), *pairs]  # fmt: skip
    done = subprocess.run([*line, "6", str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    state = torch.load(exp / "state.pt", weights_only=True)
    assert (state["step"], state["epoch_is_closed"]) == (7, False)
    resumed = [*line, "--resume", "-1", str(tmp_path)]
    done = subprocess.run(resumed, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert [one["epoch"] for one in told(exp, "validation")] == [1, 2]
    assert (tmp_path / "network-0").read_text() == (tmp_path / "network-1").read_text()


def test_what_was_done_before_tells_nothing_of_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_INTERVAL_SECONDS", 0.0)
    clock = iter([0.0, 2.0])
    monkeypatch.setattr(logs.time, "monotonic", lambda: next(clock))
    with logs.progress("train", total=1000, done=900) as progress:
        progress.advance(20)
    assert "train: 920/1000, 0:08 left, 10.0 utt/s" in capsys.readouterr().err
