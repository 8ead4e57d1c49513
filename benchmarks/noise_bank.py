"""What the noise of a run costs two processes of a machine: seconds until it is there, and memory.

Usage: python benchmarks/noise_bank.py FOLDER [--files 120] [--seconds 60] [--processes 2]

FOLDER gets a data directory of made noise (wav, 16 kHz) where it has none. `each` reads it in
every process; `shared` is what a run does. Memory is the sum of the proportional set sizes (PSS)
above that before, of all processes, after every sample was used once.
"""

import argparse
import multiprocessing
import os
import resource
import socket
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile
import torch

from sv_cli.augment.recordings import Form, find_series
from sv_cli.augment.settings import AugmentSettings
from sv_cli.augment.sharing import load_banks
from sv_cli.logs import format_table
from sv_cli.training.distributed import any_over_world, join_world
from sv_cli.training.machine import Machine

RATE = 16000


def make_noise(folder: Path, count: int, seconds: int) -> None:
    """Write a data directory of noise, as MUSAN is: 16-bit wav."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).standard_normal(seconds * RATE) * 1000
    samples = np.rint(noise).astype(np.int16)
    for number in range(count):
        rolled = np.roll(samples, 997 * number)
        soundfile.write(folder / f"noise-{number:03d}.wav", rolled, RATE, subtype="PCM_16")
    names = sorted(path.stem for path in folder.glob("*.wav"))
    (folder / "wav.scp").write_text("".join(f"{name} {folder}/{name}.wav\n" for name in names))


def pss_mib() -> float:
    """Return the proportional set size of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def run_rank(
    way: str, folder: str, processes: int, port: int, sender: Connection, rank: int
) -> None:
    """Be one of the processes, and send seconds, CPU seconds and MiB."""
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank), GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    settings = AugmentSettings.model_validate(
        {"prob": 1.0, "weights": {"noise": 1.0}, "noise": folder}
    )
    with join_world("cpu", timeout_seconds=600.0) as world:
        any_over_world(False, world)
        before, start = pss_mib(), time.perf_counter()
        banks = load_banks(
            partial(find_series, settings, Form(RATE)),
            num_samples=2 * RATE,
            sharing=Machine(world) if way == "shared" else None,
        )
        seconds = time.perf_counter() - start
        torch.from_numpy(banks.samples).max()
        any_over_world(False, world)
        held = pss_mib() - before
        any_over_world(False, world)
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        sender.send((seconds, cpu.ru_utime + cpu.ru_stime, held))


def run_all(way: str, folder: str, processes: int) -> list[str]:
    """Return one line of the table."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    ranks = [
        context.Process(target=run_rank, args=(way, folder, processes, port, sender, rank))
        for rank in range(processes)
    ]
    for rank in ranks:
        rank.start()
    told = np.array([receiver.recv() for _ in ranks])
    for rank in ranks:
        rank.join()
    return [way, f"{told[:, 0].max():.1f}", f"{told[:, 1].sum():.1f}", f"{told[:, 2].sum():.0f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not (arguments.folder / "wav.scp").exists():
        make_noise(arguments.folder, arguments.files, arguments.seconds)
    ways = ("each", "shared")
    rows = [run_all(way, str(arguments.folder), arguments.processes) for way in ways]
    print(format_table(["noise", "seconds", "CPU s, all", "MiB, all"], rows), end="")


if __name__ == "__main__":
    main()
