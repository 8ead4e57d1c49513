"""Training on a CPU: the data path alone, steps against a plain loop, memory, in one run.

Usage: python benchmarks/train.py DATA_DIR [--audio-root DIR] [--steps 3] [--batch 8] [--large]

The plain loop is the same network and loss in float32, contiguous, autograd and SGD and nothing
else. Each measurement runs in a process of its own, one thread, and counts CPU seconds of the best
step, the first left out; peak memory is that of the process. `--large` measures instead a step of
ERes2NetV2 over 32 x 300 frames, with and without recomputation, and a classifier of 600,000
speakers.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sv_cli.logs import format_table
from sv_cli.losses.registry import build_loss
from sv_cli.memory import keep_freed_memory
from sv_cli.models.registry import build_model
from sv_cli.settings.model import build_settings
from sv_cli.training.distributed import World
from sv_cli.training.learner import Learner
from sv_cli.training.run import RunPaths, measure_data_path
from sv_cli.training.settings import TrainSettings

NETWORKS = ("eres2net_base", "ecapa_glob_c512", "resnet34", "campplus")
FORMS = ("plain loop", "fp32", "bf16")
NUM_CLASSES = 5994
WORLD = World(0, 1, torch.device("cpu"))
Step = Callable[[torch.Tensor, torch.Tensor], object]


def plain_step(network: str) -> Step:
    """Return a step of the loop that anybody writes."""
    encoder = build_model(network)
    head = build_loss("aam", embedding_dim=encoder.embedding_dim, num_classes=NUM_CLASSES)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)

    def step(feats: torch.Tensor, labels: torch.Tensor) -> None:
        loss, _ = head(encoder(feats), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_step(network: str, **engine: object) -> Step:
    """Return a step of the trainer behind its features."""
    keep_freed_memory()
    settings = build_settings(TrainSettings, {"model": network, "engine": engine})
    learner = Learner(settings, num_classes=NUM_CLASSES, world=WORLD)
    learner.module.train()

    def step(feats: torch.Tensor, labels: torch.Tensor) -> None:
        learner.backward(feats, labels, is_last=True)
        learner.update(0, lr=0.01)

    return step


def class_step(share: float, *, num_classes: int, dim: int) -> Step:
    """Return a step of a classifier alone; `feats` are taken for embeddings."""
    from sv_cli.losses.class_sample import sample_classes

    head = build_loss("aam", embedding_dim=dim, num_classes=num_classes)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def step(feats: torch.Tensor, labels: torch.Tensor) -> None:
        embeddings = feats.mean(dim=1)[:, :1].expand(-1, dim) + torch.randn(len(labels), dim)
        if share < 1:
            classes, places = sample_classes(labels, num_classes=num_classes, share=share)
            loss, _ = head(embeddings, places, classes)
        else:
            loss, _ = head(embeddings, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(step: Step, *, batch: int, frames: int, steps: int) -> dict[str, float]:
    """Return the CPU seconds of the best step and the peak memory (GB) of this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    feats, labels = torch.randn(batch, frames, 80), torch.randint(NUM_CLASSES, (batch,))
    seconds = []
    for _ in range(steps + 1):
        start = time.process_time()
        step(feats, labels)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": min(seconds[1:] or seconds), "gigabytes": peak}


def measure_apart(**job: object) -> dict[str, float]:
    """Return what `measure` does in a new process."""
    line = [sys.executable, __file__, "--job", json.dumps(job)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_job(job: dict[str, object]) -> None:
    """Measure one thing and print it as JSON."""
    network, form = str(job.pop("network", "")), str(job.pop("form", ""))
    share, recompute = job.pop("share", None), bool(job.pop("recompute", False))
    if share is not None:
        step = class_step(float(str(share)), num_classes=600_000, dim=192)
    elif form == "plain loop":
        step = plain_step(network)
    else:
        step = our_step(network, precision=form, recompute=recompute)
    print(json.dumps(measure(step, **{name: int(str(value)) for name, value in job.items()})))


def show_data_path(data: str, audio_root: str) -> None:
    """Print how many utterances a CPU second reads."""
    values = {"batch_size": 32, "data": {"num_workers": 0}}
    settings = build_settings(TrainSettings, values)
    paths = RunPaths(data, "", audio_root=audio_root)
    speeds = [measure_data_path(settings, paths, 20) for _ in range(3)]
    best = min(speeds, key=lambda speed: speed.cpu_seconds)
    print(f"\ndata path, crops of {settings.data.chunk_seconds} s\n{best.describe()}", end="")


def show_networks(*, batch: int, frames: int, steps: int) -> None:
    """Print steps of each network in each form."""
    rows = []
    for network in NETWORKS:
        size = {"batch": batch, "frames": frames, "steps": steps}
        found = {form: measure_apart(network=network, form=form, **size) for form in FORMS}
        plain = found["plain loop"]
        for form, result in found.items():
            rate, ratio = batch / result["seconds"], plain["seconds"] / result["seconds"]
            memory = f"{result['gigabytes']:.2f}"
            rows.append([network, form, f"{rate:.1f}", f"{ratio:.2f}", memory])
    print(f"\nsteps of {batch} x {frames} frames")
    columns = ["network", "form", "utt / CPU s", "x plain loop", "peak GB"]
    print(format_table(columns, rows), end="")


def show_large() -> None:
    """Print what large batches and many classes take."""
    size = {"batch": 32, "frames": 300, "steps": 0}
    jobs: dict[str, dict[str, object]] = {
        "ERes2NetV2 32 x 300, bf16": {"network": "eres2netv2", "form": "bf16", **size},
        "the same, recomputed": {
            "network": "eres2netv2", "form": "bf16", "recompute": True, **size
        },
        "the same in fp32, recomputed": {
            "network": "eres2netv2", "form": "fp32", "recompute": True, **size
        },
    }  # fmt: skip
    for share in (1.0, 0.1, 0.01):
        name = f"600,000 x 192 classes, batch 128, share {share:g}"
        jobs[name] = {"share": share, "batch": 128, "frames": 2, "steps": 2}
    rows = []
    for name, job in jobs.items():
        result = measure_apart(**job)
        rows.append([name, f"{result['seconds']:.1f}", f"{result['gigabytes']:.2f}"])
        print(*rows[-1], flush=True)
    print("\n" + format_table(["step", "CPU s", "peak GB"], rows), end="")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="")
    parser.add_argument("--audio-root", default=".")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(json.loads(arguments.job))
        return
    if arguments.data and Path(arguments.data).is_dir():
        show_data_path(arguments.data, arguments.audio_root)
    if arguments.large:
        show_large()
        return
    show_networks(batch=arguments.batch, frames=arguments.frames, steps=arguments.steps)


if __name__ == "__main__":
    main()
