"""A data directory as a training set: chosen utterances, their classes, and their crops."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError
from sv_cli.sampling.dataset import NO_SPEEDS, CropReader, CropRule, FeatureCrops, WaveformCrops
from sv_cli.sampling.items import CropItems, Ints, count_crops
from sv_cli.sampling.labels import SpeedClasses, class_speakers
from sv_cli.sampling.selection import (
    Seconds,
    choose_utterances,
    lengths_in_tables,
    lengths_of_features,
    lengths_of_recordings,
    needs_lengths,
)
from sv_cli.sampling.settings import DataSettings
from sv_cli.sampling.shar import is_shar
from sv_cli.sampling.shar_crops import SharCrops, SharItems, say_order
from sv_cli.sampling.storage import StorageOrder
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.kaldi.arrays import ArrayTable


@dataclass(frozen=True)
class CropShape:
    """The length of every crop, as samples of a waveform and as frames of features.

    `frame_shift` is the time from frame to frame in seconds.
    """

    num_samples: int
    num_frames: int
    sample_rate: int
    frame_shift: float = 0.01


ALL_LENGTHS = DataSettings(min_seconds=0.0)


@dataclass(frozen=True)
class TrainingSet:
    """What the trainer sees of the data.

    Attributes
    ----------
    utts : list of str
        Utterances in byte order.
    labels : (num_utts,) int64
        Class of each.
    speakers : list of str
        Names of the classes: speakers, followed by those of other speeds.
    crops : CropReader
        Reads a crop of an utterance.
    items : CropItems
        The crops of each, which an epoch is made of.
    kind : "wav" or "feats"
        What the crops are.
    shape : CropShape
        Their length.
    speeds : SpeedClasses
        What they are played at.
    storage : StorageOrder or None
        Positions of the items, when they are read in long runs.
    """

    utts: list[str]
    labels: NDArray[np.int64]
    speakers: list[str]
    crops: CropReader
    items: CropItems
    kind: Literal["wav", "feats"]
    shape: CropShape
    speeds: SpeedClasses = NO_SPEEDS
    storage: StorageOrder | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Two sets of the same fingerprint make the same batches of the same utterances."""
        digest = hashlib.sha256("\n".join(self.utts).encode())
        order = None if self.storage is None else self.storage.items
        for array in (self.labels, self.items.per_utt, order):
            digest.update(b"" if array is None else array.tobytes())
        return digest.hexdigest()

    def describe(self, items: Ints) -> list[tuple[str, str]]:
        """Return the utterance of each item, and the number of its crop where there are several."""
        utts, crops = self.items.place(items)
        several = self.items.num_crops > len(self.utts)
        return [
            (self.utts[utt], f" {crop}" if several else "")
            for utt, crop in zip(utts.tolist(), crops.tolist(), strict=True)
        ]


def open_training_set(
    path: str,
    shape: CropShape,
    settings: DataSettings = ALL_LENGTHS,
    *,
    audio_root: str | None = None,
    speeds: SpeedClasses = NO_SPEEDS,
) -> TrainingSet:
    """Return what training can use of a data directory or of a Shar directory.

    With a `silence_threshold` above 0 windows whose mean magnitude is below it (in 16-bit steps)
    are cut out of recordings before crops are taken.

    Raises
    ------
    TableError
        When the source asked for is not in the directory, fewer than two speakers are left, or a
        shard breaks off or is missing.
    """
    if is_shar(path):
        return _of_shar(path, shape, settings, speeds)
    data = DataDir.load(path)
    if _choose_source(data, settings.source) == "feats":
        return _of_features(data, shape, settings, speeds)
    return _of_recordings(data, shape, settings, audio_root=audio_root, speeds=speeds)


def _of_shar(
    path: str, shape: CropShape, settings: DataSettings, speeds: SpeedClasses
) -> TrainingSet:
    if settings.source == "feats":
        raise TableError(f"`{path}`: shards hold recordings, no features")
    shards = SharItems(path, settings)
    say_order(shards)
    speakers = class_speakers(shards.utt2spk, shards.utts)
    counts = count_crops(shards.seconds, settings, sample_rate=shape.sample_rate)
    items = CropItems(counts, copies=speeds.copies)
    crops = SharCrops(
        shards,
        items,
        num_samples=shape.num_samples,
        sample_rate=shape.sample_rate,
        silence_threshold=settings.silence_threshold,
        rule=_crop_rule(settings, shape.sample_rate),
    )
    return TrainingSet(
        shards.utts,
        _number(shards.utts, shards.utt2spk, speakers),
        speeds.names(speakers),
        crops,
        items,
        "wav",
        shape,
        speeds,
        shards.storage.expand(items),
    )


def _of_recordings(
    data: DataDir,
    shape: CropShape,
    settings: DataSettings,
    *,
    audio_root: str | None,
    speeds: SpeedClasses,
) -> TrainingSet:
    rate = shape.sample_rate
    if needs_lengths(settings):
        seconds = lengths_of_recordings(data, sample_rate=rate, audio_root=audio_root)
    else:
        seconds = lengths_in_tables(data, data.utts)
    chosen, seconds = _choose(data, seconds, settings)
    recordings = data.recordings()
    crops = WaveformCrops(
        [recordings[number] for number in chosen.tolist()],
        num_samples=shape.num_samples,
        sample_rate=rate,
        audio_root=audio_root,
        silence_threshold=settings.silence_threshold,
        rule=_crop_rule(settings, rate),
    )
    utts = [recordings[number].utt for number in chosen.tolist()]
    items = CropItems(count_crops(seconds, settings, sample_rate=rate), copies=speeds.copies)
    speakers = class_speakers(data.utt2spk, utts)
    labels = _number(utts, data.utt2spk, speakers)
    return TrainingSet(utts, labels, speeds.names(speakers), crops, items, "wav", shape, speeds)


def _of_features(
    data: DataDir, shape: CropShape, settings: DataSettings, speeds: SpeedClasses
) -> TrainingSet:
    all_utts, rate = data.utts, shape.sample_rate
    if needs_lengths(settings):
        seconds = lengths_of_features(data, all_utts, frame_shift=shape.frame_shift)
    else:
        seconds = lengths_in_tables(data, all_utts)
    chosen, seconds = _choose(data, seconds, settings)
    utts = [all_utts[number] for number in chosen.tolist()]
    table = ArrayTable(f"scp:{data.path / 'feats.scp'}")
    rule = _crop_rule(settings, 1.0 / shape.frame_shift)
    crops = FeatureCrops(table, utts, num_frames=shape.num_frames, rule=rule)
    items = CropItems(count_crops(seconds, settings, sample_rate=rate), copies=speeds.copies)
    speakers = class_speakers(data.utt2spk, utts)
    labels = _number(utts, data.utt2spk, speakers)
    return TrainingSet(utts, labels, speeds.names(speakers), crops, items, "feats", shape, speeds)


def _choose(data: DataDir, seconds: Seconds, settings: DataSettings) -> tuple[Ints, Seconds]:
    chosen = choose_utterances(data.utts, data.utt2spk, seconds, settings)
    return chosen, seconds[chosen]


def _crop_rule(settings: DataSettings, per_second: float) -> CropRule:
    """Return where crops are taken, in samples or frames at this rate per second."""
    hop = settings.hop_seconds if settings.crops == "grid" else 0.0
    return CropRule(
        hop=round(hop * per_second),
        max_length=round(settings.max_seconds * per_second),
        padding=settings.padding,
        min_level=settings.min_level,
    )


def _choose_source(data: DataDir, source: str) -> Literal["wav", "feats"]:
    if source == "wav" or (source == "auto" and data.wav):
        if not data.wav:
            raise TableError(f"`{data.path}`: no wav.scp to take crops from")
        return "wav"
    if not data.feats:
        raise TableError(
            f"`{data.path}`: no feats.scp to take crops from",
            hint="make it with `svtool make-fbank`",
        )
    return "feats"


def _number(
    utts: Sequence[str], utt2spk: Mapping[str, str], speakers: Sequence[str]
) -> NDArray[np.int64]:
    """Return the number of the speaker of each utterance."""
    index = {speaker: number for number, speaker in enumerate(speakers)}
    return np.array([index[utt2spk[utt]] for utt in utts], dtype=np.int64)
