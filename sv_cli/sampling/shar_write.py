"""A data directory written as Shar: utterances cut out, in random order, in archives."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.atomic import atomic_open, refuse_overwrite, remove_unfinished
from sv_cli.audio.info import AudioInfo, file_state
from sv_cli.audio.notices import collect, say_part
from sv_cli.audio.read import read_chosen_span
from sv_cli.audio.write import encode_waveform
from sv_cli.errors import AudioError, SvError, TableError
from sv_cli.sampling.dataset import span_in_samples
from sv_cli.sampling.shar import (
    Shard,
    Stored,
    archive_path,
    cuts_path,
    index_path,
    is_shar,
    read_index,
)
from sv_cli.tables.datadir.directory import DataDir, Utterance
from sv_cli.workers import map_in_workers

_KNOWN = {"utt2lang": "language", "text": "text", "spk2gender": "gender"}


@dataclass(frozen=True)
class SharJob:
    """How shards are written.

    Attributes
    ----------
    folder : Path
        Where to.
    shard_size : int
        Most utterances of a shard.
    seed : int
        Of the random order.
    audio_root : str or None
        Where relative paths start.
    """

    folder: Path
    shard_size: int = 1000
    seed: int = 0
    audio_root: str | None = None


@dataclass(frozen=True)
class _Item:
    """An utterance, its speaker, and further fields of its supervision."""

    utterance: Utterance
    speaker: str
    fields: dict[str, str]


@dataclass(frozen=True)
class _Task:
    job: SharJob
    number: int
    num_shards: int
    items: list[_Item]

    @property
    def fingerprint(self) -> str:
        """Return a digest of all that the shard is made from."""
        root = self.job.audio_root
        rows = [
            [*item.utterance, file_state(item.utterance.rx, root), item.speaker, item.fields]
            for item in self.items
        ]
        text = json.dumps([self.job.audio_root, self.num_shards, rows], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def write_shar(
    data: DataDir, job: SharJob, *, num_procs: int = 1, resume: bool = False, force: bool = False
) -> tuple[int, int]:
    """Write all utterances; return how many there are and how many were left out.

    The lock of the folder must be held. Each shard appears whole, its index last; `resume` keeps
    those whose index fits.

    Raises
    ------
    SvError
        When the folder already holds shards, a worker dies, or no utterance could be read.
    """
    if is_shar(job.folder):
        refuse_overwrite(job.folder, force=force or resume)
    tasks = _plan(data, job)
    _remove_others(job.folder, 0 if force else len(tasks))
    done = 0
    skipped: dict[str, str] = {}
    with (
        logs.progress("utterances", total=len(data.utts)) as progress,
        closing(_results(tasks, num_procs)) as shards,
    ):
        for shard in shards:
            say_part(shard.notices, shard.skipped, before=len(skipped))
            skipped |= shard.skipped
            done += len(shard.stored)
            progress.advance(len(shard.stored) + len(shard.skipped))
    if not done:
        raise SvError("no utterance could be read", hint="see the warnings above")
    return done, len(skipped)


def _plan(data: DataDir, job: SharJob) -> list[_Task]:
    if not data.utt2spk:
        raise TableError(f"`{data.path}`: no utt2spk with the speakers")
    utterances = data.recordings()
    order = np.random.Generator(np.random.Philox(key=[job.seed, 0])).permutation(len(utterances))
    items = [
        _Item(utterance, speaker, _supervision_fields(data, utterance.utt, speaker))
        for utterance in (utterances[number] for number in order)
        for speaker in (data.utt2spk[utterance.utt],)
    ]
    num_shards = -(-len(items) // job.shard_size)
    bounds = np.linspace(0, len(items), num_shards + 1).astype(int)
    return [
        _Task(job, number, num_shards, items[bounds[number] : bounds[number + 1]])
        for number in range(num_shards)
    ]


def _supervision_fields(data: DataDir, utt: str, speaker: str) -> dict[str, str]:
    fields = {}
    for table, name in _KNOWN.items():
        value = data.extra.get(table, {}).get(speaker if table.startswith("spk2") else utt)
        if value is not None:
            fields[name] = value
    return fields


def _remove_others(folder: Path, keep: int) -> None:
    """Remove the shards of a run before, from number `keep` on, and what it left half-written."""
    remove_unfinished(folder)
    for archive in folder.glob("recording.*.tar"):
        number = archive.name.split(".")[1]
        if number.isdigit() and int(number) >= keep:
            for path in (index_path, archive_path, cuts_path):
                path(folder, int(number)).unlink(missing_ok=True)


def _results(tasks: Sequence[_Task], num_procs: int) -> Generator[Shard, None, None]:
    if num_procs == 1 or len(tasks) == 1:
        return (_write_shard(task) for task in tasks)
    work = [(task,) for task in tasks]
    return map_in_workers(_write_shard, work, num_procs=num_procs, start=_start)


def _start() -> None:
    import torch

    torch.set_num_threads(1)


def _write_shard(task: _Task) -> Shard:
    """Write a shard unless it exists; return its record."""
    folder, number, fingerprint = task.job.folder, task.number, task.fingerprint
    archive = archive_path(folder, number)
    shard = read_index(folder, number)
    if shard and shard.fingerprint == fingerprint and _size(archive) == shard.size:
        return shard
    index_path(folder, number).unlink(missing_ok=True)
    shard = Shard(fingerprint, task.num_shards)
    cuts: list[dict[str, Any]] = []
    with collect() as messages, atomic_open(archive, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for item in task.items:
                try:
                    cuts.append(_add(tar, item, task.job, shard))
                except AudioError as error:
                    shard.skipped[item.utterance.utt] = error.message
        shard.size = stream.tell()
    shard.notices = sorted(messages)
    with (
        atomic_open(cuts_path(folder, number), "wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
    ):
        packed.write("".join(f"{_to_json(cut)}\n" for cut in cuts).encode("utf-8"))
    with atomic_open(index_path(folder, number)) as text:
        json.dump(asdict(shard), text)
    return shard


def _add(tar: tarfile.TarFile, item: _Item, job: SharJob, shard: Shard) -> dict[str, Any]:
    """Put an utterance into an archive; return its cut."""
    samples, rate = _read(item.utterance, job.audio_root)
    utt = item.utterance.utt
    audio = encode_waveform(samples, rate, format="flac")
    recording = {
        "id": utt,
        "sources": [{"type": "shar", "channels": [0], "source": ""}],
        "sampling_rate": rate,
        "num_samples": len(samples),
        "duration": len(samples) / rate,
        "channel_ids": [0],
    }
    offset = _add_file(tar, f"{utt}.flac", audio)
    _add_file(tar, f"{utt}.json", f"{_to_json(recording)}\n".encode())
    shard.stored.append(Stored(utt, item.speaker, offset, len(audio), len(samples), rate))
    span = {"start": 0.0, "duration": len(samples) / rate, "channel": 0}
    supervision = {"id": utt, "recording_id": utt, **span, "speaker": item.speaker, **item.fields}
    return {
        "id": utt,
        **span,
        "supervisions": [supervision],
        "recording": recording,
        "type": "MonoCut",
    }


def _read(utterance: Utterance, audio_root: str | None) -> tuple[NDArray[np.float32], int]:
    """Return the samples of an utterance, the same that crops are taken from, and their rate."""
    rate = 0

    def choose(info: AudioInfo) -> tuple[int, int]:
        nonlocal rate
        rate = info.sample_rate
        first, last = span_in_samples(utterance, info.num_samples, rate)
        return first, last - first

    samples = read_chosen_span(
        utterance.rx, choose, channel=utterance.channel, audio_root=audio_root
    )
    return samples, rate


def _add_file(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Add a file; return the place of its bytes."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
    return tar.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _to_json(value: dict[str, Any]) -> str:
    return json.dumps(value)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
