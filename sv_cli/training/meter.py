"""What a run measures of itself: loss, accuracy, rate, time left, and time spent waiting."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

STAGES = ("data", "features", "network", "other")
# A device that waits less than this is as good as always busy.
LOW_SHARE = 5.0
_HIGH_FEATURES = 30.0


class StageClock:
    """Counts the seconds that the device spends in each stage, waiting for data among them.

    On a GPU, which works asynchronously, marks are put into its queue and read with the next
    line of the log: `data` is then the time in which it had nothing left to do.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._marks: list[tuple[str, torch.cuda.Event]] = []
        self._stage, self._since = "other", time.perf_counter()

    def enter(self, stage: str) -> None:
        """End the stage before and begin another one."""
        if self._on_gpu:
            mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            mark.record()
            self._marks.append((stage, mark))
            return
        now = time.perf_counter()
        self._seconds[self._stage] += now - self._since
        self._stage, self._since = stage, now

    def seconds(self) -> dict[str, float]:
        """Return the seconds of every stage since the start."""
        if self._marks:
            self._marks[-1][1].synchronize()
            for (stage, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
                self._seconds[stage] += begin.elapsed_time(end) / 1000.0
            del self._marks[:-1]
        return dict(self._seconds)


@dataclass(frozen=True)
class DataReaders:
    """Who reads the data.

    Attributes
    ----------
    num_workers : int
        DataReaders processes of this process.
    num_cores : int
        Cores that this process may use.
    from_features : bool
        Whether features are read, not recordings.
    """

    num_workers: int
    num_cores: int
    from_features: bool = False


def shares(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the percentage of each stage between two readings of the clock."""
    spent = {stage: after[stage] - before[stage] for stage in STAGES}
    total = max(sum(spent.values()), 1e-9)
    return {stage: 100.0 * seconds / total for stage, seconds in spent.items()}


def judge(share: Mapping[str, float], reading: DataReaders) -> str:
    """Return in one line where the time went, and what would make it less."""
    wait = f"data wait took {share['data']:.0f} % of the time"
    if share["data"] > LOW_SHARE:
        return f"{wait}: {_speed_up_reading(reading)}"
    if share["features"] > _HIGH_FEATURES:
        return (
            f"{wait}, features and augmentation {share['features']:.0f} %: a larger "
            "`batch_size` or a lower `augment.prob` makes it less"
        )
    return f"{wait}: the data path is fast enough"


def _speed_up_reading(reading: DataReaders) -> str:
    workers, cores = reading.num_workers, reading.num_cores
    if workers == 0 and cores > 1:
        return "`--set data.num_workers=-1` reads in processes of their own"
    if workers < cores - 1:
        return f"more `data.num_workers` (now {workers}, {cores} cores)"
    if reading.from_features:
        return "all cores read already; recordings (`data.source=wav`) are less to read"
    return (
        "all cores read already; wav or flac at the rate of the model, on a local disk, takes "
        "the least to read"
    )


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
