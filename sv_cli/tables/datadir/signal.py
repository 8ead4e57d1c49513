"""Data directories of which the signal changes: played at another speed, at another rate."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sv_cli.errors import TableError, name_some
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.datadir.edit import copy, restrict
from sv_cli.tables.datadir.segments import Segment
from sv_cli.tables.datadir.validate import keyed_by

# What was computed from the signal, or counts in it.
_OF_THE_SIGNAL = ("utt2num_frames", "utt2num_samples", "reco2num_samples", "cmvn.scp", "spk2warp")
_SHORTEST_SEGMENT = 0.01


def speed_prefix(factor: float) -> str:
    """Return the prefix of utterances and speakers at a speed: `sp0.9-`."""
    return f"sp{factor:g}-"


def without_features(data: DataDir) -> DataDir:
    """Return the directory without the tables that are valid for the unchanged signal alone."""
    extra = {name: table for name, table in data.extra.items() if name not in _OF_THE_SIGNAL}
    return replace(data, feats=None, vad=None, extra=extra)


def check_copy_names(data: DataDir, factors: Sequence[float]) -> None:
    """Raise when a speaker or utterance has the name that a copy of another one will have."""
    for what, names in (("speakers", data.spk2utt), ("utterances", data.utt2spk)):
        wanted = [speed_prefix(factor) + name for factor in factors for name in names]
        merged = [name for name in wanted if name in names]
        if merged:
            raise TableError(
                f"{len(merged)} {what} have the name of a copy already: {name_some(merged)}",
                hint="was it perturbed before? `--only-copies` leaves the originals out",
            )


def at_speed(data: DataDir, factor: float) -> DataDir:
    """Return the directory of the recordings played `factor` times as fast.

    Utterances, speakers and recordings get a prefix, utt2uniq names the utterances before, and
    times are divided: those of segments to 2 decimals, durations to 6 digits. The entries of
    wav.scp are still those before.

    Raises
    ------
    TableError
        When no utterance is left: segments of no more than 0.01 s are dropped.

    Source: Kaldi's utils/perturb_data_dir_speed.sh.
    """
    prefix = speed_prefix(factor)
    fast = copy(without_features(data), spk_prefix=prefix, utt_prefix=prefix)
    if fast.segments is not None:
        fast = _prefix_recordings(fast, prefix)
        fast.segments = {utt: _faster(cut, factor) for utt, cut in (fast.segments or {}).items()}
    if fast.utt2dur is not None:
        fast.utt2dur = {utt: _divided(value, factor) for utt, value in fast.utt2dur.items()}
    if "reco2dur" in fast.extra:
        durations = fast.extra["reco2dur"].items()
        fast.extra["reco2dur"] = {
            name: f"{_divided(float(value), factor):g}" for name, value in durations
        }
    return restrict(fast, [utt for utt in fast.utts if not _is_empty(fast, utt)])


def with_copies(data: DataDir, copies: list[DataDir]) -> list[DataDir]:
    """Return the directories to combine: the one that the copies are of first."""
    before = data.extra.get("utt2uniq", {})
    original = without_features(data)
    original.extra["utt2uniq"] = {utt: before.get(utt, utt) for utt in data.utts}
    return [original, *copies]


def with_recordings(data: DataDir, wav: Mapping[str, str]) -> DataDir:
    """Return the directory of the recordings that are left, at their new places.

    Raises
    ------
    TableError
        When none is left.
    """
    if data.segments is None:
        kept = [utt for utt in data.utts if utt in wav]
    else:
        cuts = data.segments
        kept = [utt for utt in data.utts if utt in cuts and cuts[utt].recording in wav]
    return restrict(replace(without_features(data), wav=dict(wav)), kept)


def play_command(rx: str, factor: float, *, audio_root: str | None = None) -> str:
    """Return the entry of wav.scp that reads another one at a speed."""
    rx = rx.strip()
    play = f"svtool data play --speed {factor:g}"
    if rx.endswith("|"):
        return f"{rx[:-1].rstrip()} | {play} - |"
    if rx == "-":
        raise TableError("wav.scp reads from stdin, which cannot be played twice")
    place = str(Path(audio_root) / rx) if audio_root else rx
    return f"{play} -- {shlex.quote(place)} |"


def _prefix_recordings(data: DataDir, prefix: str) -> DataDir:
    extra = {
        name: {f"{prefix}{key}": value for key, value in table.items()}
        if keyed_by(name) == "reco"
        else table
        for name, table in data.extra.items()
    }
    cuts = {
        utt: cut._replace(recording=f"{prefix}{cut.recording}")
        for utt, cut in (data.segments or {}).items()
    }
    wav = {f"{prefix}{name}": rx for name, rx in data.wav.items()}
    return replace(data, wav=wav, segments=cuts, extra=extra)


def _faster(cut: Segment, factor: float) -> Segment:
    end = None if cut.end is None else round(cut.end / factor, 2)
    return cut._replace(start=round(cut.start / factor, 2), end=end)


def _is_empty(data: DataDir, utt: str) -> bool:
    cut = (data.segments or {}).get(utt)
    return cut is not None and cut.end is not None and cut.end <= cut.start + _SHORTEST_SEGMENT


def _divided(seconds: float, factor: float) -> float:
    return float(f"{seconds / factor:.6g}")
