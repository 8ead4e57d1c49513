"""Batches of one epoch, shared by training and `--bench-loader`."""

import time
from dataclasses import dataclass
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from sv_cli.augment.draw import NUM_CHANCES
from sv_cli.errors import SettingsError
from sv_cli.sampling.dataset import EpochBatches
from sv_cli.sampling.loader import TimedLoader, choose_num_workers, load_batches
from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.storage import fitting_workers
from sv_cli.sampling.training_set import TrainingSet
from sv_cli.training.distributed import World
from sv_cli.training.meter import DataReaders
from sv_cli.training.settings import TrainSettings
from sv_cli.workers import num_cores

_SPEED_ROOM = 1.25  # crops that are played faster are longer


class DataPath:
    """Reads the batches of one process.

    Parameters
    ----------
    training_set : TrainingSet
    settings : TrainSettings
    world : World
    augmented : bool
        Whether batches carry the random numbers of an augmenter.

    Attributes
    ----------
    steps_per_epoch : int
        Steps of the optimiser, each over `engine.accumulate` batches of every process.
    """

    def __init__(
        self, training_set: TrainingSet, settings: TrainSettings, world: World, *, augmented: bool
    ) -> None:
        self.data, self.world = training_set, world
        self.accumulate = settings.engine.accumulate
        self.plan = EpochPlan(
            len(training_set.items),
            settings.batch_size,
            world.size,
            settings.seed,
            training_set.storage,
            training_set.items,
            settings.data.crops_per_epoch,
        )
        self.steps_per_epoch = self.plan.num_steps // self.accumulate
        asked = settings.data.num_workers
        self.num_workers = choose_num_workers(asked, world_size=world.size)
        if asked < 0 and training_set.storage is not None:
            self.num_workers = fitting_workers(self.num_workers, self.plan.num_steps)
        self._num_chances = NUM_CHANCES if augmented else 0
        self._timeout_seconds = settings.engine.timeout_seconds

    @property
    def batch_total(self) -> int:
        """Crops a step, of all processes together."""
        return self.plan.batch_size * self.world.size * self.accumulate

    @property
    def reading(self) -> DataReaders:
        """Who reads, for advice."""
        return DataReaders(self.num_workers, num_cores(), self.data.kind == "feats")

    def open(self, epoch: int, *, first_step: int = 0) -> TimedLoader:
        """Return the batches of an epoch (counted from 0) from one of its steps on."""
        batches = EpochBatches(
            self.data.crops,
            self.data.labels,
            self.plan,
            epoch=epoch,
            rank=self.world.rank,
            speeds=self.data.speeds,
            num_chances=self._num_chances,
        )
        return load_batches(
            batches,
            first_step=first_step * self.accumulate,
            num_workers=self.num_workers,
            pin_memory=self.world.device.type == "cuda",
            timeout_seconds=self._timeout_seconds,
            batch_bytes=round(4 * _SPEED_ROOM * self.plan.batch_size * self.data.shape.num_samples),
        )


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
