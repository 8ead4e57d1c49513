"""What a run measures of itself: loss, accuracy, rate, time left, and time spent waiting."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from sv_cli.training.waiting import StageClock, shares


@dataclass(frozen=True)
class Reading:
    """Means over the steps since the last reading.

    Attributes
    ----------
    loss : float
        Cross-entropy with margin.
    accuracy : float
        Share of crops whose own class has the highest plain cosine, in percent.
    utts_per_second : float
        Crops a second of wall time, all processes together.
    wait_share : float
        Share of the time spent waiting for data, in percent.
    features_share, network_share : float
        Shares of the time for features with augmentation, and for network and optimiser.
    """

    loss: float
    accuracy: float
    utts_per_second: float
    wait_share: float
    features_share: float
    network_share: float


class Meter:
    """Sums on the device; nothing is read back before a reading is asked for."""

    def __init__(self, device: torch.device) -> None:
        self.clock = StageClock(device)
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._start = time.perf_counter()
        self._stages = self.clock.seconds()

    def add(self, loss: Tensor, correct: Tensor) -> None:
        """Count one batch of this process: () loss, (batch,) bool."""
        with torch.no_grad():
            count = correct.numel()
            self._sums += torch.stack(
                [loss.double() * count, correct.sum().double(), self._sums.new_tensor(count)]
            )

    def sums(self) -> Tensor:
        """Return (loss x count, correct, count) for the reduction over processes."""
        return self._sums

    def read(self, sums: Tensor, *, world_size: int) -> Reading:
        """Return the means and reset them.

        Parameters
        ----------
        sums : (3,) float64
            Mean over the processes of `sums()`.
        world_size : int
            Processes that count.
        """
        loss, correct, count = sums.tolist()
        stages = self.clock.seconds()
        share = shares(self._stages, stages)
        seconds = max(time.perf_counter() - self._start, 1e-9)
        reading = Reading(
            loss=loss / max(count, 1.0),
            accuracy=100.0 * correct / max(count, 1.0),
            utts_per_second=count * world_size / seconds,
            wait_share=share["data"],
            features_share=share["features"],
            network_share=share["network"],
        )
        self._sums.zero_()
        self._start, self._stages = time.perf_counter(), stages
        return reading
