"""The batches of an epoch as a run reads them, with or without anybody to learn from them."""

from sv_cli.augment.draw import NUM_CHANCES
from sv_cli.sampling.dataset import EpochBatches
from sv_cli.sampling.loader import TimedLoader, choose_num_workers, load_batches
from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.storage import fitting_workers
from sv_cli.sampling.training_set import TrainingSet
from sv_cli.training.distributed import World
from sv_cli.training.settings import TrainSettings
from sv_cli.training.waiting import Reading
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
    def reading(self) -> Reading:
        """Who reads, for advice."""
        return Reading(self.num_workers, num_cores(), self.data.kind == "feats")

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
