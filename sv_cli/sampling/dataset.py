"""Training batches: random crops read by seek from recordings, or by row from feature archives."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sv_cli.audio.info import audio_info
from sv_cli.audio.read import read_span
from sv_cli.errors import AudioError, TableError
from sv_cli.sampling.plan import EpochPlan, stream
from sv_cli.tables.arrays import ArrayTable
from sv_cli.tables.datadir import Utterance


class Batch(NamedTuple):
    """One process's part of a step.

    Attributes
    ----------
    signals : (batch, num_samples) or (batch, frames, bins) float32
        Waveform crops in [-1, 1], or feature crops.
    labels : (batch,) int64
        Class of each.
    items : (batch,) int64
        Index of each utterance in the data set.
    """

    signals: Tensor
    labels: Tensor
    items: Tensor


class CropReader(Protocol):
    """Where crops come from."""

    def read(self, item: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return one crop of the fixed length of utterance `item`."""


class WaveformCrops:
    """Crops of recordings: only the samples of the crop are decoded."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        num_samples: int,
        sample_rate: int,
        audio_root: str | None = None,
    ) -> None:
        self._utterances = utterances
        self._num_samples = num_samples
        self._sample_rate = sample_rate
        self._audio_root = audio_root

    def read(self, item: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return `num_samples` samples at a random place, repeated where there are fewer."""
        utterance = self._utterances[item]
        try:
            samples = self._read_crop(utterance, rng)
        except AudioError as error:
            raise AudioError(
                f"utterance `{utterance.utt}`: {error.message}", hint=error.hint
            ) from error
        return repeat_to(samples, self._num_samples)

    def _read_crop(self, utterance: Utterance, rng: np.random.Generator) -> NDArray[np.float32]:
        info = audio_info(utterance.rx, audio_root=self._audio_root)
        if info.sample_rate != self._sample_rate:
            raise AudioError(
                f"sample rate {info.sample_rate} instead of {self._sample_rate}",
                hint="bring the recordings to one rate before training",
            )
        first, last = span_in_samples(utterance, info.num_samples, info.sample_rate)
        spare = last - first - self._num_samples
        start = first + (int(rng.integers(spare + 1)) if spare > 0 else 0)
        return read_span(
            utterance.rx,
            start,
            min(self._num_samples, last - start),
            channel=utterance.channel,
            audio_root=self._audio_root,
        )


class FeatureCrops:
    """Crops of feature matrices from an scp."""

    def __init__(self, table: ArrayTable, utts: Sequence[str], *, num_frames: int) -> None:
        self._table = table
        self._utts = utts
        self._num_frames = num_frames

    def read(self, item: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return `num_frames` rows at a random place, repeated where there are fewer."""
        feats = self._table[self._utts[item]]
        if feats.ndim != 2 or feats.shape[0] == 0:
            raise TableError(f"features of `{self._utts[item]}` have shape {feats.shape}")
        spare = feats.shape[0] - self._num_frames
        start = int(rng.integers(spare + 1)) if spare > 0 else 0
        crop = np.asarray(feats[start : start + self._num_frames], dtype=np.float32)
        return repeat_to(crop, self._num_frames)


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch and process, by step."""

    def __init__(
        self,
        crops: CropReader,
        labels: NDArray[np.int64],
        plan: EpochPlan,
        *,
        epoch: int,
        rank: int,
    ) -> None:
        self._crops, self._labels, self._plan = crops, labels, plan
        self._epoch, self._rank = epoch, rank
        self._order = plan.order(epoch)

    def __len__(self) -> int:
        return self._plan.num_steps

    def __getitem__(self, step: int) -> Batch:
        items = self._plan.batch(self._order, step, self._rank)
        seed, epoch = self._plan.seed, self._epoch
        crops = [self._crops.read(int(i), stream(seed, epoch, int(i) + 1)) for i in items]
        return Batch(
            signals=torch.from_numpy(np.stack(crops)),
            labels=torch.from_numpy(self._labels[items]),
            items=torch.from_numpy(items.copy()),
        )


def span_in_samples(utterance: Utterance, num_samples: int, sample_rate: int) -> tuple[int, int]:
    """Return the first sample of an utterance and the one behind its last."""
    first = 0 if utterance.start is None else round(utterance.start * sample_rate)
    whole = utterance.end is None or utterance.end < 0
    last = (
        num_samples if whole else min(num_samples, round(float(utterance.end or 0) * sample_rate))
    )
    if last <= first:
        raise AudioError(f"no samples between {first} and {last} of {num_samples}")
    return first, last


def repeat_to(array: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Return the first `length` rows of `array` repeated as often as needed."""
    if array.shape[0] >= length:
        return array[:length]
    times = -(-length // array.shape[0])
    return np.concatenate([array] * times)[:length]
