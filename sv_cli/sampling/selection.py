"""Which utterances training takes, by their length and by what is there of their speakers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.audio.info import audio_info
from sv_cli.errors import TableError
from sv_cli.sampling.settings import DataSettings
from sv_cli.tables.datadir.directory import DataDir, Utterance
from sv_cli.tables.text import read_floats

Seconds = NDArray[np.float64]


def needs_lengths(settings: DataSettings) -> bool:
    """Return whether the length of every utterance has to be known."""
    return settings.crops != "one" or settings.min_speaker_seconds > 0


def choose_utterances(
    utts: Sequence[str], utt2spk: Mapping[str, str], seconds: Seconds, settings: DataSettings
) -> NDArray[np.int64]:
    """Return the numbers of the utterances that are left, and say how many are not.

    Parameters
    ----------
    utts : sequence of str
    utt2spk : mapping
    seconds : (num_utts,) float64
        NaN where unknown; such ones are taken.
    settings : DataSettings
    """
    unknown = int(np.isnan(seconds).sum())
    if unknown and settings.min_seconds > 0:
        logs.info(f"utt2dur lacks the length of {unknown} utterances, which are kept")
    taken = ~(seconds < settings.min_seconds)
    _say_dropped(int((~taken).sum()), f"utterances shorter than {settings.min_seconds} s")
    least = settings.min_speaker_seconds
    if least > 0:
        numbers: dict[str, int] = {}
        speaker = np.array([numbers.setdefault(utt2spk[utt], len(numbers)) for utt in utts])
        total = np.bincount(speaker, weights=np.where(taken, seconds, 0.0))
        present = np.bincount(speaker, weights=taken) > 0
        _say_dropped(int(((total < least) & present).sum()), f"speakers of less than {least} s")
        taken &= (total >= least)[speaker]
    return np.flatnonzero(taken)


def _say_dropped(dropped: int, what: str) -> None:
    if dropped:
        logs.info(f"left out {dropped} {what}", dropped=dropped)


def lengths_in_tables(data: DataDir, utts: Sequence[str]) -> Seconds:
    """Return the seconds of utt2dur, NaN where it has none."""
    durations = data.utt2dur or {}
    return np.array([durations.get(utt, np.nan) for utt in utts], dtype=np.float64)


def lengths_of_features(data: DataDir, utts: Sequence[str], *, frame_shift: float) -> Seconds:
    """Return the seconds of stored features, from utt2num_frames or else utt2dur.

    Raises
    ------
    TableError
        When neither holds them all.
    """
    frames = _optional_floats(data.path / "utt2num_frames")
    seconds = np.array([frames.get(utt, np.nan) for utt in utts]) * frame_shift
    seconds = np.where(np.isnan(seconds), lengths_in_tables(data, utts), seconds)
    if np.isnan(seconds).any():
        raise TableError(
            f"`{data.path}`: the lengths of {int(np.isnan(seconds).sum())} utterances are unknown",
            hint="write utt2dur, or make the features with `svtool make-fbank`",
        )
    return seconds


def lengths_of_recordings(
    data: DataDir, *, sample_rate: int, audio_root: str | None = None
) -> Seconds:
    """Return the seconds of each utterance, (num_utts,) float64 in the order of `data.utts`.

    Each is taken from the first of utt2dur, utt2num_samples, segments and reco2dur that holds it,
    and else from the header of its recording.

    Raises
    ------
    AudioError
        When a header cannot be read.
    """
    recordings = data.recordings()
    utts = [utterance.utt for utterance in recordings]
    seconds = lengths_in_tables(data, utts)
    samples = _optional_floats(data.path / "utt2num_samples")
    whole = _optional_floats(data.path / "reco2dur")
    reco = {utt: cut.recording for utt, cut in (data.segments or {}).items()}
    unknown: list[int] = []
    for number in np.flatnonzero(np.isnan(seconds)).tolist():
        utterance = recordings[number]
        if utterance.utt in samples:
            seconds[number] = samples[utterance.utt] / sample_rate
            continue
        length = whole.get(reco.get(utterance.utt, utterance.utt))
        if length is None and _is_open(utterance):
            unknown.append(number)
        else:
            seconds[number] = _between(utterance, length)
    if unknown:
        _read_headers(recordings, unknown, seconds, audio_root)
    return seconds


def _is_open(utterance: Utterance) -> bool:
    return utterance.end is None or utterance.end < 0


def _between(utterance: Utterance, whole: float | None) -> float:
    """Return the length of an utterance, given that of its recording where it is known."""
    bounds = [whole] if _is_open(utterance) else [utterance.end, whole]
    return min(bound for bound in bounds if bound is not None) - (utterance.start or 0.0)


def _read_headers(
    recordings: Sequence[Utterance], numbers: Sequence[int], seconds: Seconds, root: str | None
) -> None:
    logs.info(
        f"the lengths of {len(numbers)} utterances are read from their recordings; utt2dur would "
        "spare that"
    )
    with logs.progress("headers", total=len(numbers)) as progress:
        for number in numbers:
            utterance = recordings[number]
            whole = audio_info(utterance.rx, audio_root=root).duration
            seconds[number] = _between(utterance, whole)
            progress.advance()


def _optional_floats(path: Path) -> dict[str, float]:
    return read_floats(str(path), what=path.name) if path.exists() else {}
