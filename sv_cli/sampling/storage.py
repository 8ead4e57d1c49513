"""The order of an epoch over utterances that are read in long runs, in their order on disk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.sampling.items import CropItems

CHUNK_ITEMS = 64  # utterances read at once: some megabytes
WINDOW_ITEMS = 256  # utterances put in random order among themselves
# Runs that steps take turns with. A number of workers that divides it reads nothing twice.
LANES = (12, 6, 4, 3, 2, 1)
_STEPS_OF_A_LANE = 4


@dataclass(frozen=True)
class StorageOrder:
    """Positions of the items of a data set in storage.

    Attributes
    ----------
    items : (num_items,) int64
        All items, in storage order.
    starts : (num_chunks,) int64
        Position in `items` of the first one of each chunk, a stretch that is read at once.
    window : int
        Neighbours that are put in random order.
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    window: int = WINDOW_ITEMS

    def expand(self, crops: CropItems) -> "StorageOrder":
        """Return the order of all crops of the utterances in this one."""
        per_utt = crops.per_utt[self.items]
        before = np.cumsum(per_utt) - per_utt
        items = np.repeat(crops.first[self.items] - before, per_utt) + np.arange(len(crops))
        window = -(-self.window * len(crops) // len(self.items))
        return StorageOrder(items, before[self.starts], window)

    def order(
        self, rng: np.random.Generator, *, batch_size: int, world_size: int
    ) -> NDArray[np.int64]:
        """Return all items so that each process and lane of steps reads a run of whole chunks.

        The chunks are put in random order and cut into a run for each process and lane; within a
        run, windows of items are put in random order. Steps take turns with the lanes of their
        process. Items that fill no step come last.
        """
        chunks = np.split(self.items, self.starts[1:])
        run = np.concatenate([chunks[number] for number in rng.permutation(len(chunks))])
        num_steps = len(run) // (batch_size * world_size)
        order = run.copy()
        steps = order[: num_steps * world_size * batch_size].reshape(
            num_steps, world_size, batch_size
        )
        lanes, done = num_lanes(num_steps), 0
        for rank in range(world_size):
            for lane in range(lanes):
                share = steps[lane::lanes, rank]
                items = run[done : done + share.size]
                share[...] = _shuffle_windows(items, self.window, rng).reshape(share.shape)
                done += share.size
        return order


def num_lanes(num_steps: int) -> int:
    """Return how many lanes an epoch of `num_steps` has: fewer if they would be short."""
    return next((n for n in LANES if n * _STEPS_OF_A_LANE <= num_steps), 1)


def fitting_workers(asked: int, num_steps: int) -> int:
    """Return the largest number of workers up to `asked` that read no chunk twice."""
    lanes = num_lanes(num_steps)
    return next((n for n in range(asked, 0, -1) if lanes % n == 0), 0)


def _shuffle_windows(
    items: NDArray[np.int64], window: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    windows = [
        rng.permutation(items[start : start + window]) for start in range(0, len(items), window)
    ]
    return np.concatenate(windows) if windows else items
