"""Embeddings of a long list part by part, by several processes, resumable.

The list is cut by its length alone, and a part is computed the same way wherever it is computed:
the table has the same bytes for any number of processes and after any number of stops.
"""

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sv_cli.atomic import atomic_open
from sv_cli.audio.info import hash_sources
from sv_cli.audio.notices import collect
from sv_cli.checkpoints.onnx_file import load_any_model
from sv_cli.errors import SvError
from sv_cli.extraction.device import choose_device
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.precision import Form
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.kaldi.arrays import ArrayTable, ArrayWriter, read_arrays
from sv_cli.workers import map_in_workers

_MAX_PART, _MIN_PART, _PARTS = 500, 16, 64
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class ExtractJob:
    """What every process needs to know.

    Attributes
    ----------
    model : str
        Model file.
    model_hash : str
        Identity of its weights.
    settings : ExtractSettings
    form : Form
        Settled once, so that all processes compute alike.
    device : str
        `auto`, `cpu` or `cuda`.
    audio_root : str or None
        Where relative paths start.
    feats : str or None
        Rspecifier of features to read in place of recordings.
    feats_content : str or None
        Hash of these features.
    """

    model: str
    model_hash: str
    settings: ExtractSettings
    form: Form
    device: str = "auto"
    audio_root: str | None = None
    feats: str | None = None
    feats_content: str | None = None

    def fingerprint(self, utterances: Sequence[Utterance]) -> str:
        """Return a digest of all that a part follows from, but the samples."""
        form = [self.form.precision, self.form.fused]
        feats = [self.feats, self.feats_content]
        values = [self.model_hash, self.settings.identity(), form, self.audio_root, feats]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
        for utterance in utterances:
            digest.update(repr(utterance).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def sources(self, utterances: Sequence[Utterance]) -> str:
        """Return a digest that changes when a recording is replaced or vanishes."""
        return hash_sources(utterances, self.audio_root)


@dataclass
class Part:
    """A finished part: embeddings, why utterances were skipped, messages for the user."""

    fingerprint: str
    num_done: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class PartMaker:
    """One process's worth of a job: a loaded model that makes parts."""

    def __init__(self, job: ExtractJob, extractor: Extractor | None = None) -> None:
        self.job = job
        self.extractor = load_extractor(job) if extractor is None else extractor
        self._feats = None if job.feats is None else ArrayTable(job.feats)

    def make(self, utterances: Sequence[Utterance], archive: Path | None) -> Part:
        """Return a part; with an archive it is taken from there, or left there."""
        fingerprint = self.job.fingerprint(utterances) + self.job.sources(utterances)
        if archive is not None:
            stored = read_part(archive, fingerprint)
            if stored is not None:
                return stored
        part = self._compute(utterances, Part(fingerprint))
        if archive is not None:
            _store(archive, part)
        return part

    def _compute(self, utterances: Sequence[Utterance], part: Part) -> Part:
        def skip(utt: str, error: SvError) -> None:
            part.skipped[utt] = error.message

        with collect() as messages:
            if self._feats is None:
                root = self.job.audio_root
                done = self.extractor.extract(utterances, audio_root=root, on_skip=skip)
            else:
                items = (_read_feats(self._feats, u.utt) for u in utterances)
                done = self.extractor.extract_feats(items, on_skip=skip)
            part.embeddings = dict(done)
        part.num_done, part.notices = len(part.embeddings), sorted(messages)
        return part


def load_extractor(job: ExtractJob) -> Extractor:
    """Return the extractor of a job, on this process's device."""
    model = load_any_model(job.model)
    device = choose_device(job.device)
    encoder = model.encoder.to(device)
    return Extractor(encoder, model.frontend, job.settings, device=device, form=job.form)


def split_parts(utterances: Sequence[Utterance]) -> list[Sequence[Utterance]]:
    """Cut a list into parts by its length alone."""
    size = min(_MAX_PART, max(_MIN_PART, -(-len(utterances) // _PARTS)))
    return [utterances[start : start + size] for start in range(0, len(utterances), size)]


def make_parts(
    job: ExtractJob,
    lists: Sequence[Sequence[Utterance]],
    folder: Path | None,
    *,
    extractor: Extractor,
    num_procs: int = 1,
    rank: int = 0,
    world_size: int = 1,
) -> Generator[Part, None, None]:
    """Yield all parts in order on rank 0; other ranks make theirs and yield them alone.

    Raises
    ------
    SvError
        When a worker process dies.
    """
    if world_size > 1:
        maker = PartMaker(job, extractor)
        for number, utterances in enumerate(lists):
            archive = archive_of(folder, number)
            if number % world_size == rank:
                yield maker.make(utterances, archive)
            elif rank == 0:
                yield _wait_for(maker, utterances, archive)
    elif num_procs > 1 and len(lists) > 1:
        yield from _in_workers(job, lists, folder, num_procs)
    else:
        maker = PartMaker(job, extractor)
        for number, utterances in enumerate(lists):
            yield maker.make(utterances, archive_of(folder, number))


def archive_of(folder: Path | None, number: int) -> Path | None:
    """Return the archive of a part."""
    return None if folder is None else folder / f"part-{number:06d}.ark"


def read_part(archive: Path, fingerprint: str) -> Part | None:
    """Return a stored part, or None when it is missing, incomplete or of other data."""
    try:
        record = json.loads(archive.with_suffix(".json").read_text(encoding="utf-8"))
        if record["fingerprint"] != fingerprint:
            return None
        part = Part(**record)
        part.embeddings = read_arrays(f"ark:{archive}") if part.num_done else {}
    except (OSError, ValueError, TypeError, KeyError, SvError):
        return None
    return part if len(part.embeddings) == part.num_done else None


def _store(archive: Path, part: Part) -> None:
    with ArrayWriter(f"ark:{archive}") as writer:
        for utt, embedding in part.embeddings.items():
            writer.write(utt, embedding)
    values = asdict(part)
    del values["embeddings"]
    with atomic_open(archive.with_suffix(".json")) as stream:
        json.dump(values, stream)


def _read_feats(table: ArrayTable, utt: str) -> tuple[str, NDArray[Any] | SvError]:
    try:
        return utt, table[utt]
    except SvError as error:
        return utt, error


def _wait_for(maker: PartMaker, utterances: Sequence[Utterance], archive: Path | None) -> Part:
    """Return a part that another process makes; one of other recordings or settings is replaced."""
    assert archive is not None
    while not archive.with_suffix(".json").exists():
        time.sleep(_POLL_SECONDS)
    return maker.make(utterances, archive)


_maker: PartMaker | None = None


def _in_workers(
    job: ExtractJob, lists: Sequence[Sequence[Utterance]], folder: Path | None, num_procs: int
) -> Generator[Part, None, None]:
    tasks = ((utterances, archive_of(folder, number)) for number, utterances in enumerate(lists))
    return map_in_workers(
        _make_in_worker, tasks, num_procs=num_procs, start=_load_maker, start_args=(job,)
    )


def _load_maker(job: ExtractJob) -> None:
    global _maker
    torch.set_num_threads(1)
    _maker = PartMaker(job)


def _make_in_worker(utterances: Sequence[Utterance], archive: Path | None) -> Part:
    assert _maker is not None
    return _maker.make(utterances, archive)
