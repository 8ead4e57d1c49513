"""A data directory as a training set: utterances long enough, their classes, and their crops."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.sampling.dataset import NO_SPEEDS, CropReader, FeatureCrops, WaveformCrops
from sv_cli.sampling.labels import SpeedClasses, class_speakers
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
    """

    utts: list[str]
    labels: NDArray[np.int64]
    speakers: list[str]
    crops: CropReader
    kind: Literal["wav", "feats"]
    shape: CropShape
    speeds: SpeedClasses = NO_SPEEDS


def load_training_set(
    data: DataDir,
    shape: CropShape,
    *,
    source: str = "auto",
    min_seconds: float = 0.0,
    audio_root: str | None = None,
    speeds: SpeedClasses = NO_SPEEDS,
) -> TrainingSet:
    """Return the utterances of `data` that training can use.

    Raises
    ------
    TableError
        When the source asked for is not in the directory, or fewer than two speakers are left.
    """
    kind = _choose_source(data, source)
    utts = [utt for utt in data.utts if _is_long_enough(data, utt, min_seconds)]
    if len(utts) < len(data.utts):
        dropped = len(data.utts) - len(utts)
        logs.info(f"left out {dropped} utterances shorter than {min_seconds} s", dropped=dropped)
    speakers = class_speakers(data.utt2spk, utts)
    index = {speaker: number for number, speaker in enumerate(speakers)}
    labels = np.array([index[data.utt2spk[utt]] for utt in utts], dtype=np.int64)
    crops = _make_crops(data, utts, shape, kind=kind, audio_root=audio_root)
    return TrainingSet(utts, labels, speeds.names(speakers), crops, kind, shape, speeds)


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


def _is_long_enough(data: DataDir, utt: str, min_seconds: float) -> bool:
    return data.utt2dur is None or data.utt2dur.get(utt, min_seconds) >= min_seconds


def _make_crops(
    data: DataDir, utts: list[str], shape: CropShape, *, kind: str, audio_root: str | None
) -> CropReader:
    if kind == "feats":
        table = ArrayTable(f"scp:{data.path / 'feats.scp'}")
        return FeatureCrops(table, utts, num_frames=shape.num_frames)
    recordings = {utterance.utt: utterance for utterance in data.recordings()}
    return WaveformCrops(
        [recordings[utt] for utt in utts],
        num_samples=shape.num_samples,
        sample_rate=shape.sample_rate,
        audio_root=audio_root,
    )
