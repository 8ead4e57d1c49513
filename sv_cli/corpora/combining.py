"""Short utterances of a speaker joined end to end until each is long enough to train on."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from sv_cli import logs
from sv_cli.corpora.corpus import Job
from sv_cli.corpora.listing import Listed, Measured

Group = list[Listed]


def group_short(items: Sequence[Listed], seconds: Mapping[str, float], least: float) -> list[Group]:
    """Return groups of utterances to be joined; one alone stays as it is.

    Within a speaker and a genre, in the order of their ids, utterances shorter than `least`
    seconds are gathered until they sum to it. What is left at the end joins the last gathered
    group, or is a short group of its own where there is none. Utterances that are long
    enough are left alone.

    Notes
    -----
    Kaldi's choose_utts_to_combine.py, which WeSpeaker's CN-Celeb recipe runs, also joins short
    utterances to long neighbours; the number of utterances differs from its.
    """
    groups: list[Group] = []
    for members in _by_speaker_and_genre(items).values():
        gathered: list[Group] = []
        pending: Group = []
        for item in members:
            if seconds[item.utt] >= least:
                groups.append([item])
                continue
            pending.append(item)
            if sum(seconds[other.utt] for other in pending) >= least:
                gathered.append(pending)
                pending = []
        if pending and gathered:
            gathered[-1] += pending
        elif pending:
            gathered.append(pending)
        groups += gathered
    return groups


def combine_short(measured: Measured, least: float, out: Path, job: Job) -> Measured:
    """Write the joined recordings to `out`/audio as FLAC and return the new list.

    The id is the first utterance's with `-comb` and the number of utterances appended.
    """
    groups = group_short(measured.items, measured.seconds, least)
    joined = [group for group in groups if len(group) > 1]
    singles = [group[0] for group in groups if len(group) == 1]
    items, seconds = list(singles), {item.utt: measured.seconds[item.utt] for item in singles}
    with (
        logs.progress("joining short utterances", total=len(joined)) as progress,
        ThreadPoolExecutor(job.num_procs) as pool,
    ):
        for item, length in pool.map(partial(_join, out=out), joined):
            items.append(item)
            seconds[item.utt] = length
            progress.advance()
    count = sum(map(len, joined))
    logs.info(f"{count} utterances under {least:g} s became {len(joined)} joined ones")
    return Measured(items, seconds, measured.num_skipped)


def _by_speaker_and_genre(items: Sequence[Listed]) -> dict[tuple[str, str], Group]:
    members: dict[tuple[str, str], Group] = {}
    for item in sorted(items, key=lambda item: item.utt):
        members.setdefault((item.spk, item.columns.get("genre", "")), []).append(item)
    return members


def _join(group: Group, *, out: Path) -> tuple[Listed, float]:
    import numpy as np

    from sv_cli.audio.read import read_waveform
    from sv_cli.audio.write import write_waveform

    first = group[0]
    waveforms = [read_waveform(str(item.path))[0] for item in group]
    rate = 16000
    utt = f"{first.utt}-comb{len(group)}"
    path = out / "audio" / first.spk / f"{utt}.flac"
    waveform = np.concatenate(waveforms)
    write_waveform(path, waveform, rate)
    return Listed(utt, first.spk, path, columns=first.columns), len(waveform) / rate
