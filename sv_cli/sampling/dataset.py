"""Training batches: random crops read by seek from recordings, or by row from feature archives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

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
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.kaldi.arrays import ArrayTable

NO_SPEEDS = SpeedClasses()

_TRIES = 10  # other places that are tried where a crop is too quiet


class Batch(NamedTuple):
    """One process's part of a step.

    Attributes
    ----------
    signals : (batch, num_samples) or (batch, frames, bins) float32
        Waveform crops in [-1, 1], or feature crops. Where some are to be played faster or slower,
        as many samples as the longest needs, zeros after the others.
    labels : (batch,) int64
        Class of each.
    items : (batch,) int64
        Item of each; `EpochPlan.place` returns its utterance and crop.
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


@dataclass(frozen=True)
class CropRule:
    """Where in an utterance crops are taken; lengths are samples or frames.

    Attributes
    ----------
    hop : int
        From the start of one crop to that of the next; 0 takes each anywhere.
    max_length : int
        Of longer utterances a stretch of this length is drawn first; 0 draws out of the whole.
    padding : "repeat" or "zeros"
        What fills up utterances that are shorter than a crop.
    min_level : float
        Mean magnitude below which a crop of a recording is taken elsewhere.
    """

    hop: int = 0
    max_length: int = 0
    padding: Literal["repeat", "zeros"] = "repeat"
    min_level: float = 0.0

    def stretch(self, first: int, last: int, rng: np.random.Generator) -> tuple[int, int]:
        """Return the bounds within which a crop is taken."""
        spare = last - first - self.max_length
        if self.max_length == 0 or spare <= 0:
            return first, last
        first += int(rng.integers(spare + 1))
        return first, first + self.max_length

    def start(self, crop: int, spare: int, slack: int, rng: np.random.Generator) -> int:
        """Return where crop number `crop` starts, counted from the start of its utterance.

        `spare` is how much longer the utterance is. By `slack` a crop is shorter than its place on
        the grid, at any position in it; a longer one extends past both sides.
        """
        if spare <= 0:
            return 0
        if self.hop == 0:
            return int(rng.integers(spare + 1))
        inside = int(rng.integers(slack + 1)) if slack > 0 else slack // 2
        return max(0, min(min(crop * self.hop, spare - slack) + inside, spare))

    def fill(self, array: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """Return the first `length` rows of `array`, filled up where there are fewer."""
        missing = length - len(array)
        if missing <= 0 or self.padding == "repeat":
            return repeat_to(array, length)
        return np.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)])


ANYWHERE = CropRule()


class CropReader(Protocol):
    """Where crops come from."""

    def read(
        self, utt: int, rng: np.random.Generator, *, factor: float = 1.0, crop: int = 0
    ) -> NDArray[np.float32]:
        """Return crop number `crop` of utterance `utt`, of the length that `factor` needs."""


class _Wanted(NamedTuple):
    """A crop: its samples, how many more on both sides, its number, and the rule for it."""

    num_samples: int
    context: int
    crop: int
    rule: CropRule


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
        rule: CropRule = ANYWHERE,
    ) -> None:
        self._silence_threshold = silence_threshold
        self._utterances = utterances
        self._num_samples = num_samples
        self._sample_rate = sample_rate
        self._audio_root = audio_root
        self._rule, self._elsewhere = rule, replace(rule, hop=0)

    def read(
        self, utt: int, rng: np.random.Generator, *, factor: float = 1.0, crop: int = 0
    ) -> NDArray[np.float32]:
        """Return `num_samples` samples of an utterance, filled up where it has fewer.

        With another `factor` it is what `change_speed_batch` takes to give `num_samples`.
        """
        context = 0 if factor == 1.0 else num_context_samples(factor)
        count = self._num_samples
        if factor != 1.0:
            count = num_input_samples(count, factor) - 2 * context
        read = self._read_crop if self._silence_threshold == 0.0 else self._read_speech
        try:
            samples = read(utt, rng, _Wanted(count, context, crop, self._rule))
            for _ in range(_TRIES):
                if self._is_loud(samples):
                    break
                samples = read(utt, rng, _Wanted(count, context, crop, self._elsewhere))
        except AudioError as error:
            name = self._utterances[utt].utt
            raise AudioError(f"utterance `{name}`: {error.message}", hint=error.hint) from error
        return samples

    def _is_loud(self, samples: NDArray[np.float32]) -> bool:
        least = self._rule.min_level
        return least == 0 or float(np.abs(samples).mean()) >= least

    def _read_span(
        self, utt: int, choose: Callable[[AudioInfo], tuple[int, int]]
    ) -> NDArray[np.float32]:
        """Return the samples (start, count) of a recording that `choose` picks by its form."""
        utterance = self._utterances[utt]
        return read_chosen_span(
            utterance.rx, choose, channel=utterance.channel, audio_root=self._audio_root
        )

    def _read_crop(
        self, utt: int, rng: np.random.Generator, wanted: _Wanted
    ) -> NDArray[np.float32]:
        """Return the samples of a crop and those around it, zeros past the ends."""
        count, context, crop, rule = wanted
        before = 0

        def choose(info: AudioInfo) -> tuple[int, int]:
            nonlocal before
            first, last = rule.stretch(*self._bounds(utt, info), rng)
            slack = self._num_samples - count
            start = first + rule.start(crop, last - first - count, slack, rng)
            begin = max(first, start - context)
            before = context - (start - begin)
            return begin, min(last, start + count + context) - begin

        samples = self._read_span(utt, choose)
        if context == 0 or len(samples) < count:
            samples = rule.fill(samples, count)
        after = count + 2 * context - before - len(samples)
        return np.pad(samples, (before, after)) if before or after else samples

    def _read_speech(
        self, utt: int, rng: np.random.Generator, wanted: _Wanted
    ) -> NDArray[np.float32]:
        """Return the same out of the whole utterance, without what is silent in it."""
        count, context, _, rule = wanted

        def choose(info: AudioInfo) -> tuple[int, int]:
            first, last = rule.stretch(*self._bounds(utt, info), rng)
            return first, last - first

        whole = self._read_span(utt, choose)
        speech = remove_silence(whole, self._sample_rate, threshold=self._silence_threshold)
        speech = rule.fill(speech, max(count, len(speech)))
        start = int(rng.integers(len(speech) - count + 1))
        padded = np.pad(speech, context) if context else speech
        return padded[start : start + count + 2 * context]

    def _bounds(self, utt: int, info: AudioInfo) -> tuple[int, int]:
        if info.sample_rate != self._sample_rate:
            raise AudioError(
                f"sample rate {info.sample_rate} instead of {self._sample_rate}",
                hint="bring the recordings to one rate before training",
            )
        return span_in_samples(self._utterances[utt], info.num_samples, info.sample_rate)


class FeatureCrops:
    """Crops of feature matrices from an scp."""

    def __init__(
        self,
        table: ArrayTable,
        utts: Sequence[str],
        *,
        num_frames: int,
        rule: CropRule = ANYWHERE,
    ) -> None:
        self._table = table
        self._utts = utts
        self._num_frames = num_frames
        self._rule = rule

    def read(
        self, utt: int, rng: np.random.Generator, *, factor: float = 1.0, crop: int = 0
    ) -> NDArray[np.float32]:
        """Return `num_frames` rows of an utterance, filled up where it has fewer."""
        if factor != 1.0:
            raise TableError("features on disk cannot be played at another speed")
        feats = self._table[self._utts[utt]]
        if feats.ndim != 2 or feats.shape[0] == 0:
            raise TableError(f"features of `{self._utts[utt]}` have shape {feats.shape}")
        first, last = self._rule.stretch(0, feats.shape[0], rng)
        start = first + self._rule.start(crop, last - first - self._num_frames, 0, rng)
        rows = np.asarray(feats[start : min(start + self._num_frames, last)], dtype=np.float32)
        return self._rule.fill(rows, self._num_frames)


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
        place = self._plan.place(items)
        crops = [
            self._crops.read(
                int(utt),
                stream(seed, epoch, int(item) + 1),
                factor=self._speeds.played[speed],
                crop=int(crop),
            )
            for item, utt, crop, speed in zip(items, *place, speeds, strict=True)
        ]
        labels = self._speeds.labels(self._labels[place.utts], speeds, self._num_speakers)
        numbers = chances(seed, epoch, items, count=self._num_chances, purpose=Purpose.AUGMENT)
        return Batch(
            signals=torch.from_numpy(stack_crops(crops)),
            labels=torch.from_numpy(labels),
            items=torch.from_numpy(items.copy()),
            speeds=torch.from_numpy(speeds),
            chances=torch.from_numpy(numbers),
        )


def span_in_samples(utterance: Utterance, num_samples: int, sample_rate: int) -> tuple[int, int]:
    """Return the first sample of an utterance and the one after its last."""
    first = 0 if utterance.start is None else round(utterance.start * sample_rate)
    whole = utterance.end is None or utterance.end < 0
    last = (
        num_samples if whole else min(num_samples, round(float(utterance.end or 0) * sample_rate))
    )
    if last <= first:
        raise AudioError(f"no samples between {first} and {last} of {num_samples}")
    return first, last


def stack_crops(crops: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return crops as one array, zeros after the shorter ones."""
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
