"""Training batches: random crops read by seek from recordings, or by row from feature archives."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sv_cli.audio.info import AudioInfo
from sv_cli.audio.read import read_chosen_span
from sv_cli.audio.silence import remove_silence
from sv_cli.audio.speed import num_context_samples, num_input_samples
from sv_cli.errors import AudioError, TableError
from sv_cli.sampling.labels import SpeedClasses
from sv_cli.sampling.plan import EpochPlan, Purpose, chances, stream
from sv_cli.tables.arrays import ArrayTable
from sv_cli.tables.datadir import Utterance

NO_SPEEDS = SpeedClasses()


class Batch(NamedTuple):
    """One process's part of a step.

    Attributes
    ----------
    signals : (batch, num_samples) or (batch, frames, bins) float32
        Waveform crops in [-1, 1], or feature crops. Where some are to be played faster or slower,
        as many samples as the longest needs, zeros behind the others.
    labels : (batch,) int64
        Class of each.
    items : (batch,) int64
        Index of each utterance in the data set.
    speeds : (batch,) int64
        Number of the factor that each is to be played at, 0 as it is.
    chances : (batch, num_chances) float64
        Random numbers in [0, 1) that belong to (seed, epoch, item), for augmentation.
    """

    signals: Tensor
    labels: Tensor
    items: Tensor
    speeds: Tensor
    chances: Tensor


class CropReader(Protocol):
    """Where crops come from."""

    def read(
        self, item: int, rng: np.random.Generator, *, factor: float = 1.0
    ) -> NDArray[np.float32]:
        """Return one crop of utterance `item`, of the length that `factor` needs."""


class WaveformCrops:
    """Crops of recordings: only the samples of the crop are decoded."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        num_samples: int,
        sample_rate: int,
        audio_root: str | None = None,
        silence_threshold: float = 0.0,
    ) -> None:
        self._silence_threshold = silence_threshold
        self._utterances = utterances
        self._num_samples = num_samples
        self._sample_rate = sample_rate
        self._audio_root = audio_root

    def read(
        self, item: int, rng: np.random.Generator, *, factor: float = 1.0
    ) -> NDArray[np.float32]:
        """Return `num_samples` samples at a random place, repeated where there are fewer.

        With another `factor` it is what `change_speed_batch` takes to give `num_samples`.
        """
        context = 0 if factor == 1.0 else num_context_samples(factor)
        count = self._num_samples
        if factor != 1.0:
            count = num_input_samples(count, factor) - 2 * context
        read = self._read_crop if self._silence_threshold == 0.0 else self._read_speech
        try:
            return read(item, rng, count, context)
        except AudioError as error:
            utt = self._utterances[item].utt
            raise AudioError(f"utterance `{utt}`: {error.message}", hint=error.hint) from error

    def _read_span(
        self, item: int, choose: Callable[[AudioInfo], tuple[int, int]]
    ) -> NDArray[np.float32]:
        """Return the samples (start, count) of a recording that `choose` picks by its form."""
        utterance = self._utterances[item]
        return read_chosen_span(
            utterance.rx, choose, channel=utterance.channel, audio_root=self._audio_root
        )

    def _read_crop(
        self, item: int, rng: np.random.Generator, count: int, context: int
    ) -> NDArray[np.float32]:
        """Return `count` samples, and `context` more before and behind, zeros past the ends."""
        before = 0

        def choose(info: AudioInfo) -> tuple[int, int]:
            nonlocal before
            first, last = self._bounds(item, info)
            spare = last - first - count
            start = first + (int(rng.integers(spare + 1)) if spare > 0 else 0)
            begin = max(first, start - context)
            before = context - (start - begin)
            return begin, min(last, start + count + context) - begin

        samples = self._read_span(item, choose)
        if context == 0 or len(samples) < count:
            samples = repeat_to(samples, count)
        behind = count + 2 * context - before - len(samples)
        return np.pad(samples, (before, behind)) if before or behind else samples

    def _read_speech(
        self, item: int, rng: np.random.Generator, count: int, context: int
    ) -> NDArray[np.float32]:
        """Return the same out of the whole utterance, without what is silent in it."""

        def choose(info: AudioInfo) -> tuple[int, int]:
            first, last = self._bounds(item, info)
            return first, last - first

        whole = self._read_span(item, choose)
        speech = remove_silence(whole, self._sample_rate, threshold=self._silence_threshold)
        speech = repeat_to(speech, max(count, len(speech)))
        start = int(rng.integers(len(speech) - count + 1))
        padded = np.pad(speech, context) if context else speech
        return padded[start : start + count + 2 * context]

    def _bounds(self, item: int, info: AudioInfo) -> tuple[int, int]:
        if info.sample_rate != self._sample_rate:
            raise AudioError(
                f"sample rate {info.sample_rate} instead of {self._sample_rate}",
                hint="bring the recordings to one rate before training",
            )
        return span_in_samples(self._utterances[item], info.num_samples, info.sample_rate)


class FeatureCrops:
    """Crops of feature matrices from an scp."""

    def __init__(self, table: ArrayTable, utts: Sequence[str], *, num_frames: int) -> None:
        self._table = table
        self._utts = utts
        self._num_frames = num_frames

    def read(
        self, item: int, rng: np.random.Generator, *, factor: float = 1.0
    ) -> NDArray[np.float32]:
        """Return `num_frames` rows at a random place, repeated where there are fewer."""
        if factor != 1.0:
            raise TableError("features on disk cannot be played at another speed")
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
        speeds: SpeedClasses = NO_SPEEDS,
        num_chances: int = 0,
    ) -> None:
        self._crops, self._labels, self._plan = crops, labels, plan
        self._epoch, self._rank = epoch, rank
        self._speeds, self._num_chances = speeds, num_chances
        self._num_speakers = int(labels.max()) + 1
        self._order = plan.order(epoch)

    def __len__(self) -> int:
        return self._plan.num_steps

    def __getitem__(self, step: int) -> Batch:
        items = self._plan.batch(self._order, step, self._rank)
        seed, epoch = self._plan.seed, self._epoch
        speeds = self._speeds.draw(seed, epoch, items)
        factors = [self._speeds.played[number] for number in speeds]
        crops = [
            self._crops.read(int(i), stream(seed, epoch, int(i) + 1), factor=factor)
            for i, factor in zip(items, factors, strict=True)
        ]
        labels = self._speeds.labels(self._labels[items], speeds, self._num_speakers)
        numbers = chances(seed, epoch, items, count=self._num_chances, purpose=Purpose.AUGMENT)
        return Batch(
            signals=torch.from_numpy(stack_crops(crops)),
            labels=torch.from_numpy(labels),
            items=torch.from_numpy(items.copy()),
            speeds=torch.from_numpy(speeds),
            chances=torch.from_numpy(numbers),
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


def stack_crops(crops: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return crops as one array, zeros behind the shorter ones."""
    longest = max(len(crop) for crop in crops)
    if all(len(crop) == longest for crop in crops):
        return np.stack(crops)
    stacked = np.zeros((len(crops), longest), np.float32)
    for row, crop in zip(stacked, crops, strict=True):
        row[: len(crop)] = crop
    return stacked


def repeat_to(array: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Return the first `length` rows of `array` repeated as often as needed."""
    if array.shape[0] >= length:
        return array[:length]
    times = -(-length // array.shape[0])
    return np.concatenate([array] * times)[:length]
