"""What an epoch costs before its first step: the plan of a directory as large as VoxCeleb2.

Usage: python benchmarks/epoch.py [--utts 1092009] [--folder DIR]

Makes the tables of a data directory (no recordings) with lengths from 4 s on, 7.8 s on average, and
opens it as training does: with one crop an utterance, and with speaker-net's grid. Each is measured
in a process of its own: CPU seconds and peak memory of reading the tables, those of the plan, and
the CPU time that a batch of 256 takes to find its utterances and places.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.settings import DataSettings
from sv_cli.sampling.training_set import CropShape, open_training_set

NUM_SPEAKERS, BATCH = 5_994, 256
SETTINGS = {
    "one": DataSettings(chunk_seconds=2.015, min_seconds=2.015),
    "grid": DataSettings(
        chunk_seconds=2.015,
        min_seconds=2.015,
        min_speaker_seconds=60,
        crops="grid",
        crop_hop_seconds=1.8,
        crop_min_tail_seconds=0.215,
    ),
}


def make_directory(folder: Path, num_utts: int) -> None:
    """Write wav.scp, utt2spk and utt2dur with keys as long as those of VoxCeleb2."""
    rng = np.random.Generator(np.random.PCG64(0))
    seconds = 4.0 + rng.exponential(3.8, num_utts)
    per_spk = -(-num_utts // NUM_SPEAKERS)
    names = [f"id{row // per_spk:05d}-abcdefghijk-{row % per_spk:05d}" for row in range(num_utts)]
    for name, value in (
        ("wav.scp", lambda row, utt: f"/corpora/vox2/dev/aac/{utt}.flac"),
        ("utt2spk", lambda row, utt: utt[:7]),
        ("utt2dur", lambda row, utt: f"{seconds[row]:.3f}"),
    ):
        lines = (f"{utt} {value(row, utt)}\n" for row, utt in enumerate(names))
        (folder / name).write_text("".join(lines))


def measure(folder: str, kind: str) -> None:
    """Print the row of one kind of epoch."""
    start, before = time.process_time(), peak()
    found = open_training_set(folder, CropShape(32240, 200, 16000), SETTINGS[kind])
    opened, held = time.process_time(), peak()
    plan = EpochPlan(len(found.items), BATCH, 1, 0, found.storage, found.items)
    order = plan.order(0)
    planned, most = time.process_time(), peak()
    steps = range(0, plan.num_steps, max(1, plan.num_steps // 200))
    for step in steps:
        plan.place(plan.batch(order, step, 0))
    each = (time.process_time() - planned) / len(steps)
    print(
        f"{kind:5} {len(found.items):>9,} {plan.num_steps:>7,} {opened - start:6.1f} "
        f"{held - before:5.2f} {planned - opened:6.2f} {most - held:5.2f} {1e6 * each:6.0f}",
        flush=True,
    )


def peak() -> float:
    """Return the highest memory so far in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utts", type=int, default=1_092_009)
    parser.add_argument("--folder", help="where the directory is made for the time")
    parser.add_argument("--only", nargs=2, metavar=("DATA_DIR", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        measure(*arguments.only)
        return
    print("      crops     steps    open s  GB   plan s  GB  us a batch", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        make_directory(Path(folder), arguments.utts)
        for kind in SETTINGS:
            subprocess.run([sys.executable, __file__, "--only", folder, kind], check=True)


if __name__ == "__main__":
    main()
