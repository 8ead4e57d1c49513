"""A long table made part by part, by several processes, and joined.

A part is a finished archive and a record of it; both appear whole. What was interrupted goes on
from the existing parts, and the joined table is the same byte for byte.
"""

import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.atomic import atomic_open
from sv_cli.audio.notices import collect
from sv_cli.errors import AudioError
from sv_cli.features.job import FeatureJob
from sv_cli.features.pieces import head
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.kaldi.arrays import compress
from sv_cli.tables.kaldi.objects import as_kaldi_array, pack_binary, pack_text
from sv_cli.tables.text import check_key
from sv_cli.workers import map_in_workers

_MAX_PART, _MIN_PART = 500, 16
_POLL_SECONDS = 0.2


@dataclass
class Part:
    """Record of a finished part.

    `offsets` are those of the objects in the archive, `skipped` says why for each utterance.
    """

    fingerprint: str
    size: int = 0
    frames: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def split_parts(utterances: Sequence[Utterance], num_procs: int) -> list[Sequence[Utterance]]:
    """Cut a list into parts: a few for each process, none too long to lose at a stop."""
    size = min(_MAX_PART, max(_MIN_PART, -(-len(utterances) // (4 * num_procs))))
    return [utterances[start : start + size] for start in range(0, len(utterances), size)]


def make_parts(
    job: FeatureJob,
    utterances: Sequence[Utterance],
    folder: Path,
    *,
    num_procs: int = 1,
    world_size: int = 1,
) -> Generator[tuple[Path, Part], None, None]:
    """Make the parts that are missing in `folder`; give archive and record of each, in order.

    Of `world_size` processes under torchrun this is the first, which waits for the others' parts.

    Raises
    ------
    SvError
        When a worker process dies.
    """
    lists = split_parts(utterances, world_size if world_size > 1 else num_procs)
    if world_size > 1:
        make_share(job, utterances, folder, rank=0, world_size=world_size)
        make = _when_others_are_done
    else:
        make = _in_workers if num_procs > 1 and len(lists) > 1 else _in_this_process
    with (
        logs.progress("utterances", total=len(utterances)) as progress,
        closing(make(job, lists, folder, num_procs)) as parts,
    ):
        for number, part in enumerate(parts):
            progress.advance(len(lists[number]))
            yield _archive(folder, number), part


def make_share(
    job: FeatureJob, utterances: Sequence[Utterance], folder: Path, *, rank: int, world_size: int
) -> None:
    """Make the parts that fall to one process of torchrun."""
    torch.set_num_threads(1)
    lists = split_parts(utterances, world_size)
    for number in range(rank, len(lists), world_size):
        make_part(job, lists[number], _archive(folder, number))


def _when_others_are_done(
    job: FeatureJob, lists: Sequence[Sequence[Utterance]], folder: Path, num_procs: int
) -> Generator[Part, None, None]:
    """Give parts as they appear; torchrun ends this process when another one fails."""
    for number, utterances in enumerate(lists):
        archive = _archive(folder, number)
        while not archive.with_suffix(".json").exists():
            time.sleep(_POLL_SECONDS)
        yield make_part(job, utterances, archive)


def _in_this_process(
    job: FeatureJob, lists: Sequence[Sequence[Utterance]], folder: Path, num_procs: int
) -> Generator[Part, None, None]:
    torch.set_num_threads(1)
    for number, utterances in enumerate(lists):
        yield make_part(job, utterances, _archive(folder, number))


def _in_workers(
    job: FeatureJob, lists: Sequence[Sequence[Utterance]], folder: Path, num_procs: int
) -> Generator[Part, None, None]:
    tasks = ((job, utterances, _archive(folder, n)) for n, utterances in enumerate(lists))
    return map_in_workers(
        make_part, tasks, num_procs=num_procs, start=torch.set_num_threads, start_args=(1,)
    )


def make_part(job: FeatureJob, utterances: Sequence[Utterance], archive: Path) -> Part:
    """Make one part unless it exists; return its record."""
    fingerprint = job.fingerprint(utterances) + job.sources(utterances)
    record = archive.with_suffix(".json")
    part = _read_record(record, archive, fingerprint)
    if part is not None:
        return part
    part = Part(fingerprint)
    with collect() as messages, atomic_open(archive, "wb") as stream:
        for utterance in utterances:
            try:
                array = job.compute(utterance)
            except AudioError as error:
                part.skipped[utterance.utt] = error.message
                continue
            check_key(utterance.utt)
            before = head(utterance.utt)
            body = _pack(array, job, f"`{utterance.utt}`")
            stream.write(before + body)
            part.frames[utterance.utt] = len(array)
            part.offsets[utterance.utt] = part.size + len(before)
            part.size += len(before) + len(body)
    part.notices = sorted(messages)
    with atomic_open(record) as stream:
        json.dump(asdict(part), stream)
    return part


def _read_record(record: Path, archive: Path, fingerprint: str) -> Part | None:
    try:
        part = Part(**json.loads(record.read_text(encoding="utf-8")))
        present = archive.stat().st_size
    except (OSError, ValueError, TypeError):
        return None
    return part if part.fingerprint == fingerprint and part.size == present else None


def _pack(array: NDArray[np.float32], job: FeatureJob, what: str) -> bytes:
    values = as_kaldi_array(array, what)
    if job.text:
        return pack_text(values)
    if job.compression is not None and values.ndim == 2:
        return compress(values, job.compression, what=what)
    return pack_binary(values)


def _archive(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.ark"
