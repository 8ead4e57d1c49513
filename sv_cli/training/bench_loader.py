"""The data path alone: how fast batches come, and how much CPU each utterance takes."""

import time
from dataclasses import dataclass
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from sv_cli.errors import SettingsError
from sv_cli.training.data_path import DataPath


@dataclass(frozen=True)
class LoaderSpeed:
    """What reading took.

    Attributes
    ----------
    num_utts : int
        Utterances read.
    seconds : float
        Wall time, the start of reading processes included.
    cpu_seconds : float
        CPU time of this process and of its reading processes.
    num_workers : int
        Reading processes; 0 reads in line.
    """

    num_utts: int
    seconds: float
    cpu_seconds: float
    num_workers: int

    def describe(self) -> str:
        """Return one line a figure: name, value."""
        return "".join(
            f"{name} {value}\n"
            for name, value in (
                ("utterances", self.num_utts),
                ("utterances_per_second", f"{self.num_utts / self.seconds:.1f}"),
                ("cpu_ms_per_utterance", f"{1000 * self.cpu_seconds / self.num_utts:.3f}"),
                ("utterances_per_cpu_second", f"{self.num_utts / self.cpu_seconds:.1f}"),
                ("num_workers", self.num_workers),
            )
        )


def bench_loader(path: DataPath, num_batches: int) -> LoaderSpeed:
    """Read a number of batches from the first epochs and discard them.

    Raises
    ------
    SettingsError
        When `num_batches` is not positive.
    """
    if num_batches < 1:
        raise SettingsError("`--bench-loader` takes a number of batches")
    cpu, start, left = _cpu_seconds(), time.perf_counter(), num_batches
    num_utts = epoch = 0
    while left:
        batches = iter(path.open(epoch))
        for batch in batches:
            num_utts += len(batch.labels)
            left -= 1
            if not left:
                break
        del batches  # ends the reading processes, whose time counts from then on
        epoch += 1
    seconds = time.perf_counter() - start
    return LoaderSpeed(num_utts, seconds, _cpu_seconds() - cpu, path.num_workers)


def _cpu_seconds() -> float:
    usages = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
