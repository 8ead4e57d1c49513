"""Reading crops one file each against reading them out of Shar archives.

Usage: python benchmarks/shar.py DATA_DIR [--audio-root DIR] [--epochs 3] [--folder DIR]

The same utterances, epochs, crops of 2.0 s and batches of 64, read in line by one process. `cold`
drops the files from the page cache before each epoch; requests are the reads that a disk far away
would have to answer, each with its way there and back: one file, or one stretch of an archive.
`delayed` waits 5 ms before each request, as such a disk would make us wait. CPU seconds and wall
time are those of the best epoch; decoding is part of both.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sv_cli.logs import format_table
from sv_cli.sampling import dataset, shar_crops
from sv_cli.sampling.dataset import EpochBatches
from sv_cli.sampling.loader import load_batches
from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.shar_write import SharJob, write_shar
from sv_cli.sampling.training_set import CropShape, TrainingSet, open_training_set
from sv_cli.tables.datadir.directory import DataDir

BATCH = 64
DELAY = 0.005
SHAPE = CropShape(32000, 198, 16000)


def drop(files: list[Path]) -> None:
    """Ask the system to forget the content of files."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_epoch(data: TrainingSet, epoch: int) -> tuple[int, float, float]:
    """Return how many utterances an epoch gave, in how many wall and CPU seconds."""
    plan = EpochPlan(len(data.utts), BATCH, 1, 0, data.storage)
    batches = EpochBatches(data.crops, data.labels, plan, epoch=epoch, rank=0)
    start, cpu = time.perf_counter(), time.process_time()
    count = sum(
        len(batch.labels)
        for batch in load_batches(batches, first_step=0, num_workers=0, pin_memory=False)
    )
    return count, time.perf_counter() - start, time.process_time() - cpu


@contextmanager
def delayed(seconds: float) -> Iterator[None]:
    """Wait before each file and each stretch that is read."""
    file, stretch = dataset.read_chosen_span, shar_crops._read_chunk

    def slow(read: Callable[..., Any]) -> Callable[..., Any]:
        def wait_and_read(*arguments: Any, **options: Any) -> Any:
            time.sleep(seconds)
            return read(*arguments, **options)

        return wait_and_read

    dataset.read_chosen_span, shar_crops._read_chunk = slow(file), slow(stretch)
    try:
        yield
    finally:
        dataset.read_chosen_span, shar_crops._read_chunk = file, stretch


def measure(
    data: TrainingSet, files: list[Path], epochs: int, *, before: Callable[[list[Path]], None]
) -> tuple[float, float]:
    """Return utterances a second and a CPU second, of the best epoch."""
    wall = cpu = 0.0
    for epoch in range(epochs):
        before(files)
        count, seconds, cpu_seconds = read_epoch(data, epoch)
        wall, cpu = max(wall, count / seconds), max(cpu, count / cpu_seconds)
    return wall, cpu


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--audio-root")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", help="where the archives are written for the time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        table = DataDir.load(arguments.data, extra=True)
        job = SharJob(Path(folder), 500, audio_root=arguments.audio_root)
        write_shar(table, job)
        root = Path(arguments.audio_root or "")
        files = [root / rx for rx in table.wav.values()]
        archives = sorted(Path(folder).glob("*.tar"))
        one = open_training_set(arguments.data, SHAPE, audio_root=arguments.audio_root)
        two = open_training_set(folder, SHAPE)
        for name, data, read in (("one file each", one, files), ("Shar", two, archives)):
            requests = len(data.utts) if data.storage is None else len(data.storage.starts)
            warm = measure(data, read, arguments.epochs, before=lambda _: None)
            cold = measure(data, read, arguments.epochs, before=drop)
            with delayed(DELAY):
                far, _ = measure(data, read, 1, before=lambda _: None)
            figures = (f"{value:,.0f}" for value in (*warm, cold[0], far))
            rows.append([name, str(requests), *figures])
    names = ["", "requests", "utt/s", "utt/CPU s", "cold utt/s", "delayed utt/s"]
    print(format_table(names, rows), end="")


if __name__ == "__main__":
    main()
