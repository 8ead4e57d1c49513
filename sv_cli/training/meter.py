"""What a run measures of itself: loss, accuracy, rate, time left, and time spent waiting."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor


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
        Share of the wall time in which the device waited for data, in percent.
    """

    loss: float
    accuracy: float
    utts_per_second: float
    wait_share: float


class Meter:
    """Sums on the device; nothing is read back before a reading is asked for."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._start = time.perf_counter()
        self._waited = 0.0

    def add(self, loss: Tensor, cosines: Tensor, labels: Tensor) -> None:
        """Count one step of this process."""
        with torch.no_grad():
            count = labels.numel()
            correct = (cosines.argmax(dim=1) == labels).sum()
            self._sums += torch.stack(
                [loss.detach().double() * count, correct.double(), self._sums.new_tensor(count)]
            )

    def sums(self) -> Tensor:
        """Return (loss x count, correct, count) for the reduction over processes."""
        return self._sums

    def read(self, sums: Tensor, *, world_size: int, waited: float) -> Reading:
        """Return the means and start anew.

        Parameters
        ----------
        sums : (3,) float64
            Mean over the processes of `sums()`.
        world_size : int
            Processes that count.
        waited : float
            Seconds waited for data since the start of the run.
        """
        loss, correct, count = sums.tolist()
        seconds = max(time.perf_counter() - self._start, 1e-9)
        reading = Reading(
            loss=loss / max(count, 1.0),
            accuracy=100.0 * correct / max(count, 1.0),
            utts_per_second=count * world_size / seconds,
            wait_share=100.0 * (waited - self._waited) / seconds,
        )
        self._sums.zero_()
        self._start, self._waited = time.perf_counter(), waited
        return reading
