"""Build the synthetic corpus: speech in parallel, then the tables and trials of each part."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sv_cli import logs
from sv_cli.atomic import refuse_overwrite
from sv_cli.audio.write import write_waveform
from sv_cli.corpora.corpus import Job, Prepared
from sv_cli.corpora.demo import DemoSettings, Size
from sv_cli.corpora.listing import Listed, Measured, utterances_of, write_data_dir, write_done
from sv_cli.corpora.synthesis.utterance import SAMPLE_RATE, synthesize
from sv_cli.corpora.trial_draw import (
    CROSS_GENDER,
    SAME_GENDER,
    TARGET,
    draw_conditions,
    write_trial_rows,
)

WITH_TRIALS = ("dev", "eval")
_CHUNK = 8
_WORTH_A_PROCESS = 100  # utterances; fewer are done before a process has started


class Utterance(NamedTuple):
    """One utterance to be made: its speaker, number and file."""

    spk: str
    gender: str
    number: int
    path: Path


def build(job: Job, settings: DemoSettings, size: Size) -> Prepared:
    """Write the audio and the data directories of a preset."""
    plans = plan_corpus(job.out, settings, size)
    directories = tuple(job.out / name for name in plans)
    for directory in directories:
        refuse_overwrite(directory / "utt2spk", force=job.force)
    every = [utterance for plan in plans.values() for utterance in plan]
    make = partial(make_utterance, seed=settings.seed, seconds=size.seconds)
    lengths: dict[Path, float] = {}
    with logs.progress("synthesising", total=len(every)) as progress:
        for path, seconds in _in_processes(make, every, job.num_procs):
            lengths[path] = seconds
            progress.advance()
    for name, plan in plans.items():
        _write_part(name, plan, lengths, job, settings, size)
    write_done(job.out, utterances=len(every))
    return Prepared(len(every), 0, directories)


def plan_corpus(out: Path, settings: DemoSettings, size: Size) -> dict[str, list[Utterance]]:
    """Return the utterances of each part; speakers are numbered through, so none is in two."""
    plans: dict[str, list[Utterance]] = {}
    start = 0
    for name, part in size.parts.items():
        plans[name] = []
        for index in range(start, start + part.num_speakers):
            spk, gender = f"d{index:04d}", "fm"[index % 2]
            for number in range(part.num_utterances):
                path = out / "audio" / spk / f"{spk}-{number:03d}.{settings.format}"
                plans[name].append(Utterance(spk, gender, number, path))
        start += part.num_speakers
    return plans


def make_utterance(
    utterance: Utterance, *, seed: int, seconds: tuple[float, float]
) -> tuple[Path, float]:
    """Synthesise and write one utterance; return its path and length in seconds."""
    spk, gender, number, path = utterance
    waveform = synthesize(seed, spk, gender, number, seconds=seconds)
    write_waveform(path, waveform, SAMPLE_RATE)
    return path, len(waveform) / SAMPLE_RATE


def _in_processes(
    make: "partial[tuple[Path, float]]", every: Sequence[Utterance], num_procs: int
) -> Iterator[tuple[Path, float]]:
    num_procs = min(num_procs, -(-len(every) // _WORTH_A_PROCESS))
    if num_procs == 1:
        yield from map(make, every)
        return
    # Started afresh, not forked: a fork of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_procs, context, initializer=_leave_interrupts_to_the_parent)
    try:
        yield from pool.map(make, every, chunksize=_CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_part(
    name: str,
    plan: Sequence[Utterance],
    lengths: dict[Path, float],
    job: Job,
    settings: DemoSettings,
    size: Size,
) -> None:
    items = [Listed(utterance.path.stem, utterance.spk, utterance.path) for utterance in plan]
    seconds = {item.utt: lengths[item.path] for item in items}
    gender = {utterance.spk: utterance.gender for utterance in plan}
    out = job.out / name
    write_data_dir(Measured(items, seconds, 0), out, job, gender=gender)
    if name not in WITH_TRIALS:
        return
    counts = {
        TARGET: size.num_targets,
        SAME_GENDER: size.num_same_gender,
        CROSS_GENDER: size.num_cross_gender,
    }
    rows = draw_conditions(utterances_of(items), gender, counts, seed=settings.seed)
    write_trial_rows(out / "trials.cond", rows)
    labels = ((a, b, "target" if c == TARGET else "nontarget") for a, b, c in rows)
    write_trial_rows(out / "trials", labels)
