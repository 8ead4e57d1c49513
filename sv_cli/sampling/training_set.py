"""A data directory as a training set: utterances long enough, their classes, and their crops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.sampling.dataset import NO_SPEEDS, CropReader, FeatureCrops, WaveformCrops
from sv_cli.sampling.labels import SpeedClasses, class_speakers
from sv_cli.sampling.shar import is_shar
from sv_cli.sampling.shar_crops import SharCrops, SharItems, say_order
from sv_cli.sampling.storage import StorageOrder
from sv_cli.tables.arrays import ArrayTable
from sv_cli.tables.datadir import DataDir


@dataclass(frozen=True)
class CropShape:
    """The length of every crop, as samples of a waveform and as frames of features."""

    num_samples: int
    num_frames: int
    sample_rate: int


@dataclass(frozen=True)
class TrainingSet:
    """What the trainer sees of the data.

    Attributes
    ----------
    utts : list of str
        Utterances in byte order; the index is the item.
    labels : (num_utts,) int64
        Class of each.
    speakers : list of str
        Names of the classes: speakers, and those of other speeds behind them.
    crops : CropReader
        Reads one crop of an item.
    kind : "wav" or "feats"
        What the crops are.
    shape : CropShape
        Their length.
    speeds : SpeedClasses
        What they are played at.
    storage : StorageOrder or None
        Where they stand, when they are read in long runs.
    """

    utts: list[str]
    labels: NDArray[np.int64]
    speakers: list[str]
    crops: CropReader
    kind: Literal["wav", "feats"]
    shape: CropShape
    speeds: SpeedClasses = NO_SPEEDS
    storage: StorageOrder | None = None


@dataclass(frozen=True)
class _Choice:
    """What is taken of the data, and how it is read."""

    source: str
    min_seconds: float
    audio_root: str | None
    speeds: SpeedClasses
    silence_threshold: float


def open_training_set(
    path: str,
    shape: CropShape,
    *,
    source: str = "auto",
    min_seconds: float = 0.0,
    audio_root: str | None = None,
    speeds: SpeedClasses = NO_SPEEDS,
    silence_threshold: float = 0.0,
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
    choice = _Choice(source, min_seconds, audio_root, speeds, silence_threshold)
    if is_shar(path):
        return _of_shar(path, shape, choice)
    return _of_data_dir(DataDir.load(path), shape, choice)


def _of_shar(path: str, shape: CropShape, choice: _Choice) -> TrainingSet:
    if choice.source == "feats":
        raise TableError(f"`{path}`: shards hold recordings, no features")
    items = SharItems(path, min_seconds=choice.min_seconds)
    _say_dropped(items.dropped, choice.min_seconds)
    say_order(items)
    speakers = class_speakers(items.utt2spk, items.utts)
    labels = _number(items.utts, items.utt2spk, speakers)
    crops = SharCrops(
        items,
        num_samples=shape.num_samples,
        sample_rate=shape.sample_rate,
        silence_threshold=choice.silence_threshold,
    )
    speeds = choice.speeds
    names = speeds.names(speakers)
    return TrainingSet(items.utts, labels, names, crops, "wav", shape, speeds, items.storage)


def _of_data_dir(data: DataDir, shape: CropShape, choice: _Choice) -> TrainingSet:
    kind = _choose_source(data, choice.source)
    utts = [utt for utt in data.utts if _is_long_enough(data, utt, choice.min_seconds)]
    _say_dropped(len(data.utts) - len(utts), choice.min_seconds)
    speakers = class_speakers(data.utt2spk, utts)
    labels = _number(utts, data.utt2spk, speakers)
    crops: CropReader
    if kind == "feats":
        table = ArrayTable(f"scp:{data.path / 'feats.scp'}")
        crops = FeatureCrops(table, utts, num_frames=shape.num_frames)
    else:
        recordings = {utterance.utt: utterance for utterance in data.recordings()}
        crops = WaveformCrops(
            [recordings[utt] for utt in utts],
            num_samples=shape.num_samples,
            sample_rate=shape.sample_rate,
            audio_root=choice.audio_root,
            silence_threshold=choice.silence_threshold,
        )
    names = choice.speeds.names(speakers)
    return TrainingSet(utts, labels, names, crops, kind, shape, choice.speeds)


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


def _say_dropped(dropped: int, min_seconds: float) -> None:
    if dropped:
        logs.info(f"left out {dropped} utterances shorter than {min_seconds} s", dropped=dropped)


def _number(
    utts: Sequence[str], utt2spk: Mapping[str, str], speakers: Sequence[str]
) -> NDArray[np.int64]:
    """Return the number of the speaker of each utterance."""
    index = {speaker: number for number, speaker in enumerate(speakers)}
    return np.array([index[utt2spk[utt]] for utt in utts], dtype=np.int64)


def _is_long_enough(data: DataDir, utt: str, min_seconds: float) -> bool:
    return data.utt2dur is None or data.utt2dur.get(utt, min_seconds) >= min_seconds
