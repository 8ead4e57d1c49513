"""Which utterances make which batch: a pure function of (seed, epoch, step, rank).

Nothing here has a state, so a run that was stopped goes on at any step with any number of workers.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError
from sv_cli.sampling.storage import StorageOrder


class Purpose(IntEnum):
    """What random numbers of an item are for."""

    CROP = 0
    SPEED = 1
    AUGMENT = 2


@dataclass(frozen=True)
class EpochPlan:
    """The order of one data set.

    Attributes
    ----------
    num_items : int
        Utterances in the set.
    batch_size : int
        Utterances a step and process.
    world_size : int
        Processes that share a step.
    seed : int
        Seed of the run.
    storage : StorageOrder or None
        Where items stand that are read in long runs; None for those that are read one by one.
    """

    num_items: int
    batch_size: int
    world_size: int
    seed: int
    storage: StorageOrder | None = None

    def __post_init__(self) -> None:
        """Refuse a set that does not fill one step."""
        if self.num_steps == 0:
            raise TableError(
                f"{self.num_items} utterances do not fill one step of {self.world_size} process(es)"
                f" x batch size {self.batch_size}",
                hint="lower `batch_size`",
            )

    @property
    def num_steps(self) -> int:
        """Steps an epoch; the rest that fills no step is left out, another rest each epoch."""
        return self.num_items // (self.batch_size * self.world_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the permutation of all items in this epoch (counted from 0)."""
        rng = stream(self.seed, epoch, 0)
        if self.storage is None:
            return rng.permutation(self.num_items)
        return self.storage.order(rng, batch_size=self.batch_size, world_size=self.world_size)

    def batch(self, order: NDArray[np.int64], step: int, rank: int) -> NDArray[np.int64]:
        """Return the items of one process in one step; the step of all ranks is contiguous."""
        start = (step * self.world_size + rank) * self.batch_size
        return order[start : start + self.batch_size]


def stream(
    seed: int, epoch: int, item: int, *, purpose: Purpose = Purpose.CROP
) -> np.random.Generator:
    """Return the random numbers that belong to (seed, epoch, item); item 0 is the epoch's order.

    Streams of one item for different purposes never meet: they start 2^192 numbers apart.
    """
    key = [seed, (epoch << 40) | item]
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, purpose]))


def chances(
    seed: int, epoch: int, items: NDArray[np.int64], *, count: int, purpose: Purpose
) -> NDArray[np.float64]:
    """Return (num_items, count) numbers in [0, 1) that belong to the items of a data set."""
    rows = [stream(seed, epoch, int(item) + 1, purpose=purpose).random(count) for item in items]
    return np.stack(rows) if rows else np.empty((0, count))
