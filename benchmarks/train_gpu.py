"""Training on a GPU end to end: utterances a second, share of waiting for data, FLOP utilisation.

Usage: python benchmarks/train_gpu.py DATA_DIR [--audio-root DIR] [--batch 256]
       [--set NAME=VALUE ...] [--peak-tflops 0]

Each network trains for one epoch on DATA_DIR as `svtool train` does, reading, features and
augmentation (by `--set`) included; the later half of the log counts. FLOPs are counted by torch on
one crop, times three for the gradients; give the peak of the device at the precision that is used
to get the utilisation.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from sv_cli.features.frontend import Frontend
from sv_cli.logs import format_table
from sv_cli.models.registry import build_model
from sv_cli.settings.model import build_settings
from sv_cli.settings.toml import Layers, parse_overrides
from sv_cli.training.run import RunPaths, choose_frontend, crop_shape, run_training
from sv_cli.training.settings import TrainSettings

NETWORKS = ("eres2net_base", "ecapa_glob_c1024", "resnet34", "resnet293")


def make_settings(network: str, *, batch: int, overrides: list[str]) -> TrainSettings:
    """Return the settings of a run that logs every few steps and saves nothing on the way."""
    layers = Layers()
    engine = {"device": "cuda", "log_every_steps": 10, "save_every_steps": 10**9}
    layers.add({"model": network, "batch_size": batch, "engine": engine}, origin="benchmark")
    layers.add(parse_overrides(overrides), origin="--set")
    return build_settings(TrainSettings, layers.values)


def train_flops(settings: TrainSettings) -> float:
    """Return the FLOPs of one training crop: forward, and twice that for the gradients."""
    frontend = choose_frontend(settings)
    waveform = torch.randn(1, crop_shape(settings, frontend).num_samples)
    feats = Frontend(frontend)(waveform)
    encoder = build_model(settings.model, **settings.model_options).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(feats)
    return 3.0 * counter.get_total_flops()


def measure(settings: TrainSettings, data: str, audio_root: str) -> dict[str, float]:
    """Train one epoch and return the means over the later half of its log lines."""
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        paths = RunPaths(data, str(Path(folder) / "exp"), audio_root=audio_root)
        start = time.perf_counter()
        run_training(settings.model_copy(update={"num_epochs": 1}), paths)
        seconds = time.perf_counter() - start
        lines = (Path(folder) / "exp" / "log.jsonl").read_text().splitlines()
    steps = [line for line in map(json.loads, lines) if line["event"] == "step"]
    later = steps[len(steps) // 2 :]
    mean = {name: sum(line[name] for line in later) / len(later)
            for name in ("utts_per_second", "wait_share", "features_share")}  # fmt: skip
    return {**mean, "seconds": seconds, "gigabytes": torch.cuda.max_memory_allocated() / 1e9}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--audio-root", default=".")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--peak-tflops", type=float, default=0.0)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU here")
    print(torch.cuda.get_device_name())
    rows = []
    for network in NETWORKS:
        settings = make_settings(network, batch=arguments.batch, overrides=arguments.overrides)
        result = measure(settings, arguments.data, arguments.audio_root)
        rate = result["utts_per_second"]
        flops = rate * train_flops(settings)
        used = (
            f"{100 * flops / (arguments.peak_tflops * 1e12):.1f}" if arguments.peak_tflops else "-"
        )
        rows.append(
            [network, f"{rate:.0f}", f"{result['wait_share']:.1f}",
             f"{result['features_share']:.1f}", used, f"{result['gigabytes']:.1f}"]
        )  # fmt: skip
    columns = ["network", "utt / s", "waiting %", "features %", "FLOP utilisation %", "peak GB"]
    print(format_table(columns, rows), end="")


if __name__ == "__main__":
    main()
