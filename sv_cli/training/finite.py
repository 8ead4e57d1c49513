"""A loss that is not a number ends the run before anything of it is kept.

Nothing is read back from the device at a step: the losses of the steps since the last look stay
there, and the utterances of each are remembered. A look is taken at every line of the log, before
every save and at the end of an epoch, so that no file ever holds the weights that followed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sv_cli.atomic import atomic_open
from sv_cli.errors import TrainingError, name_some
from sv_cli.training.distributed import World, gather_objects


@dataclass(frozen=True)
class _Remembered:
    step: int
    items: Tensor
    loss: Tensor


# A step, its loss, and the utterances and crops of its batch.
_Broken = tuple[int, float, list[tuple[str, str]]]


class Describes(Protocol):
    """Knows what items are."""

    def describe(self, items: NDArray[np.int64]) -> list[tuple[str, str]]:
        """Return the utterance of each item, and what else identifies its crop."""


class LossWatch:
    """Remembers what was learned from since the last look.

    Parameters
    ----------
    data : Describes
        The training set.
    path : Path
        Where the utterances of a broken step are written.
    world : World
    """

    def __init__(self, data: Describes, path: Path, world: World) -> None:
        self._data, self._path, self._world = data, path, world
        self._since: list[_Remembered] = []
        self._last: list[_Remembered] = []  # of the last step, whose update no loss reflects yet

    def remember(self, step: int, items: Tensor, loss: Tensor) -> None:
        """Keep the loss of a batch of step `step` (counted from 1) on the device."""
        one = _Remembered(step, items, loss.detach())
        self._since.append(one)
        self._last = [before for before in self._last if before.step == step] + [one]

    def look(self, weights: Iterable[Tensor] = ()) -> None:
        """Check all that is remembered, on all processes at once, and forget it.

        Parameters
        ----------
        weights : iterable of Tensor
            Checked too where they are about to be kept: a last step may have broken them with a
            loss that still was finite.

        Raises
        ------
        TrainingError
            Names the step, the utterances and the file that lists them.
        """
        broken = self._first_broken(weights)
        known = [one for one in gather_objects(broken, self._world) if one is not None]
        self._since.clear()
        if known:
            first = min(step for step, _, _ in known)
            parts = [one for one in known if one[0] == first]
            self._stop(first, [name for _, _, names in parts for name in names], parts[0][1])

    def _first_broken(self, weights: Iterable[Tensor]) -> _Broken | None:
        losses = torch.stack([one.loss.float() for one in self._since]) if self._since else None
        for one, loss in zip(self._since, [] if losses is None else losses.tolist(), strict=True):
            if not math.isfinite(loss):
                return one.step, loss, self._names([one])
        flags = [torch.isfinite(weight).all() for weight in weights]
        if flags and not bool(torch.stack(flags).all()):
            return self._last[0].step if self._last else 0, math.nan, self._names(self._last)
        return None

    def _names(self, steps: Sequence[_Remembered]) -> list[tuple[str, str]]:
        return [name for one in steps for name in self._data.describe(one.items.numpy())]

    def _stop(self, step: int, crops: list[tuple[str, str]], loss: float) -> None:
        utts = list(dict.fromkeys(utt for utt, _ in crops))
        if self._world.is_first:
            with atomic_open(self._path) as stream:
                stream.writelines(f"{utt} {step}{crop}\n" for utt, crop in crops)
        raise TrainingError(
            f"loss is {loss} at step {step}; its utterances are in `{self._path}` "
            f"({name_some(utts, limit=3)})",
            hint="lower the learning rate, or look for broken recordings among them; "
            "`--resume` goes on from the last saved state",
        )
