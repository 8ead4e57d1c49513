"""Which crops make which batch: a pure function of (seed, epoch, step, rank).

Nothing here has a state, so a run that was stopped goes on at any step with any number of workers.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError
from sv_cli.sampling.items import CropItems, Place
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
        Crops in the set.
    batch_size : int
        Crops a step and process.
    world_size : int
        Processes that share a step.
    seed : int
        Seed of the run.
    storage : StorageOrder or None
        Positions of items that are read in long runs; None for those that are read singly.
    items : CropItems or None
        What items are; None where each is an utterance.
    num_drawn : int
        Items an epoch: a part of the set, or several passes over it; 0 is one pass.
    """

    num_items: int
    batch_size: int
    world_size: int
    seed: int
    storage: StorageOrder | None = None
    items: CropItems | None = None
    num_drawn: int = 0

    def __post_init__(self) -> None:
        """Refuse a set that does not fill one step."""
        least = min(self.num_items, self.num_drawn or self.num_items)
        if least < self.step_size:
            raise TableError(
                f"{least} crops do not fill one step of {self.world_size} process(es)"
                f" x batch size {self.batch_size}",
                hint="lower `batch_size`",
            )

    @property
    def step_size(self) -> int:
        """Items of a step, of all processes."""
        return self.batch_size * self.world_size

    @property
    def num_steps(self) -> int:
        """Steps an epoch; the rest that fills no step is left out, another rest each epoch."""
        return (self.num_drawn or self.num_items) // self.step_size

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return all items in the order of this epoch (counted from 0).

        With `num_drawn` it is as many passes, each of whole steps, as its steps need; items of the
        second pass continue the numbers of the first, so that other crops are taken of them.
        """
        rng = stream(self.seed, epoch, 0)
        if self.num_drawn == 0:
            return self._pass(rng)
        whole = self.num_items // self.step_size
        passes = [
            self._pass(rng)[: whole * self.step_size] + number * self.num_items
            for number in range(-(-self.num_steps // whole))
        ]
        return np.concatenate(passes)[: self.num_steps * self.step_size]

    def _pass(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if self.storage is None:
            return rng.permutation(self.num_items)
        return self.storage.order(rng, batch_size=self.batch_size, world_size=self.world_size)

    def batch(self, order: NDArray[np.int64], step: int, rank: int) -> NDArray[np.int64]:
        """Return the items of one process in one step; the step of all ranks is contiguous."""
        start = (step * self.world_size + rank) * self.batch_size
        return order[start : start + self.batch_size]

    def place(self, items: NDArray[np.int64]) -> Place:
        """Return the utterance and the crop of items."""
        if self.items is None:
            return Place(items % self.num_items, np.zeros_like(items))
        return self.items.place(items)


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
