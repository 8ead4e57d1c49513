"""From a model and the name of data to a table of embeddings on disk or in a pipe."""

import heapq
import json
import os
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.atomic import atomic_open, is_plain_file, make_folder, refuse_overwrite
from sv_cli.audio.notices import say_part
from sv_cli.audio.sources import open_source, take_shard
from sv_cli.checkpoints.model_file import LoadedModel
from sv_cli.checkpoints.onnx_file import load_any_model
from sv_cli.errors import SettingsError, SvError, TableError
from sv_cli.extraction.crops import describe_embeddings
from sv_cli.extraction.device import choose_device
from sv_cli.extraction.extractor import NUM_SAMPLES_TRIED, Extractor
from sv_cli.extraction.job import ExtractJob, Part, make_parts, split_parts
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.frontend import check_features
from sv_cli.lock import lock_file, lock_folder
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.kaldi.arrays import ArrayTable, ArrayWriter, iterate_arrays
from sv_cli.tables.kaldi.specifier import ReadSpec, WriteSpec, parse_rspecifier, parse_wspecifier
from sv_cli.tables.lineage import (
    Lineage,
    Step,
    content_of,
    describe_inputs,
    read_lineage,
    write_lineage,
)
from sv_cli.tables.text import sort_key, sort_keys
from sv_cli.workers import torchrun_rank

_STREAM_PART = 64
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class ExtractRun:
    """Where embeddings come from and go to, and how the work is shared.

    Attributes
    ----------
    model, data, out : str
        Model; data directory or rspecifier; directory or wspecifier.
    settings : ExtractSettings
    is_feats : bool
        The data are features.
    num_procs, num_shards, shard : int
        Worker processes; jobs that share the data, and which of them this is, from 1.
    """

    model: str
    data: str
    out: str
    settings: ExtractSettings
    is_feats: bool = False
    device: str = "auto"
    audio_root: str | None = None
    num_procs: int = 1
    num_shards: int = 1
    shard: int = 1
    resume: bool = False
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """How many embeddings were written, how many utterances were skipped."""

    done: int
    skipped: int


@dataclass(frozen=True)
class Made:
    """Parts on their way into the table.

    Attributes
    ----------
    parts : generator of Part
        As they are finished, in the order of the utterances.
    total : int or None
        How many utterances they hold, where it is known.
    job, utterances : ExtractJob, sequence of Utterance
        What the table follows from; None for a stream.
    before : Outcome or None
        Of the existing table to which the parts are added.
    """

    parts: Generator[Part, None, None]
    total: int | None = None
    job: ExtractJob | None = None
    utterances: Sequence[Utterance] = ()
    before: Outcome | None = None


def run_extraction(run: ExtractRun) -> Outcome | None:
    """Extract and write; None on all processes of torchrun but the first.

    Raises
    ------
    SvError
        When outputs exist already, the data are wrong, or nothing could be embedded.
    """
    torch.set_num_threads(1)
    output = _Output(run, *torchrun_rank())
    spec = _feats_spec(run)
    if spec is not None:
        _refuse_what_needs_recordings(run)
    loaded = load_any_model(run.model)
    if spec is not None:
        check_features(read_lineage(run.data, wanted="feats.scp"), loaded.frontend)
    device = choose_device(run.device)
    encoder = loaded.encoder.to(device)
    extractor = Extractor(encoder, loaded.frontend, run.settings, device=device)
    if spec is not None and spec.kind == "ark":
        with output.lock():
            return _run_stream(run, extractor, loaded, output)
    with output.lock(), _open_utterances(run) as (utterances, feats):
        if not utterances:
            raise TableError(f"`{run.data}` names no utterances")
        job = _settle(run, extractor, loaded, utterances, feats)
        mine = take_shard(utterances, num_shards=run.num_shards, shard=run.shard)
        before = output.finished(job, mine)
        if before is not None and not before.skipped:
            logs.info(f"`{run.out}` is complete already")
            return before
        wanted = mine if before is None else output.left_out(mine)
        lists = split_parts(wanted)
        if output.rank >= max(1, len(lists)):
            return None  # no part is left for this process
        parts = make_parts(
            job, lists, output.open_folder(), extractor=extractor,
            num_procs=run.num_procs, rank=output.rank, world_size=output.world_size,
        )  # fmt: skip
        made = Made(parts, len(wanted), job, mine, before)
        return output.write(made, loaded)


def _refuse_what_needs_recordings(run: ExtractRun) -> None:
    if run.settings.crops or run.settings.speed != 1.0:
        option = "--crops" if run.settings.crops else "--speed"
        raise SettingsError(
            f"`{option}` takes recordings, and `{run.data}` holds features",
            hint="give the data directory",
        )


def _settle(
    run: ExtractRun,
    extractor: Extractor,
    loaded: LoadedModel,
    utterances: Sequence[Utterance],
    feats: str | None,
) -> ExtractJob:
    """Choose the precision by the first utterances of all the data, the same in every shard."""
    first: Iterable[tuple[str, Any]]
    if feats is None:
        first = extractor.read_utterances(utterances, audio_root=run.audio_root)
    else:
        table = ArrayTable(feats)
        first = ((u.utt, table[u.utt]) for u in utterances)
    samples = extractor.usable_features(
        islice(first, NUM_SAMPLES_TRIED), is_feats=feats is not None
    )
    form = extractor.settle(samples)
    logs.info(f"precision {form}", precision=form.precision)
    model, model_hash = str(loaded.path), loaded.info.model_hash
    content = None if feats is None else content_of(feats, wanted="feats.scp")
    return ExtractJob(
        model, model_hash, run.settings, form, run.device, run.audio_root, feats, content
    )


@contextmanager
def _open_utterances(run: ExtractRun) -> Iterator[tuple[list[Utterance], str | None]]:
    """Give utterances in the order of their keys, and the rspecifier of features if they are."""
    if _feats_spec(run) is not None:
        yield [Utterance(utt, "") for utt in sort_keys(ArrayTable(run.data).keys())], run.data
        return
    with open_source(run.data) as found:
        by_key = {utterance.utt: utterance for utterance in found}
        yield [by_key[utt] for utt in sort_keys(by_key)], None


def _feats_spec(run: ExtractRun) -> ReadSpec | None:
    """Return the feature rspecifier. Tables named `feats` are features without `--feats`."""
    if not run.is_feats and Path(run.data).is_dir():
        return None
    spec = parse_rspecifier(run.data, wanted="feats.scp")
    named = spec.path is not None and spec.path.name.startswith("feats.")
    return spec if run.is_feats or named else None


def _run_stream(
    run: ExtractRun, extractor: Extractor, loaded: LoadedModel, output: "_Output"
) -> Outcome | None:
    """Embed an archive of features as it comes."""
    if run.resume or run.num_shards > 1 or output.world_size > 1:
        raise SettingsError(
            "an archive of features is read once and in one process: no `--resume`, no shards",
            hint="give an scp",
        )
    output.finished()
    parts = _stream_parts(extractor, iterate_arrays(run.data))
    return output.write(Made(parts), loaded)


def _stream_parts(
    extractor: Extractor, items: Iterator[tuple[str, NDArray[Any]]]
) -> Generator[Part, None, None]:
    first = list(islice(items, NUM_SAMPLES_TRIED))
    form = extractor.settle(extractor.usable_features(first, is_feats=True))
    logs.info(f"precision {form}", precision=form.precision)
    items = chain(first, items)
    while taken := list(islice(items, _STREAM_PART)):
        skipped: dict[str, str] = {}

        def skip(utt: str, error: SvError, skipped: dict[str, str] = skipped) -> None:
            skipped[utt] = error.message

        embeddings = dict(extractor.extract_feats(taken, on_skip=skip))
        yield Part("", len(embeddings), skipped, embeddings=embeddings)


class _Output:
    """The table that is written, its finished parts, and the record that all is there."""

    def __init__(self, run: ExtractRun, rank: int, world_size: int) -> None:
        self.run, self.rank, self.world_size = run, rank, world_size
        self.spec: WriteSpec = parse_wspecifier(run.out, wanted="xvector")
        self.folder = _folder_of(run.out, self.spec)
        if self.folder is None and (run.resume or world_size > 1):
            raise SettingsError(
                f"`{run.out}`: `--resume` and torchrun need a directory for the parts"
            )

    @property
    def _done(self) -> Path | None:
        return None if self.folder is None else self.folder / ".done"

    def lock(self) -> AbstractContextManager[None]:
        """Hold the output against another process; pipes have no lock."""
        if self.folder is not None:
            return lock_folder(self.folder, command="extract")
        path = self.spec.path
        if path is None or not is_plain_file(path):
            return nullcontext()
        return lock_file(path, command="extract")

    def finished(
        self, job: ExtractJob | None = None, utterances: Sequence[Utterance] = ()
    ) -> Outcome | None:
        """Return the existing outcome; refuse to write over another one."""
        outputs = [Path(name) for name in (self.spec.ark, self.spec.scp) if name]
        exists = self._done is not None and all(path.exists() for path in (self._done, *outputs))
        if self.run.resume and self._done is not None and exists:
            record = _read_done(self._done)
            read_lineage(self.run.out)  # refuses a table that is not what was written
            fingerprint = None if job is None else self._fingerprint(job, utterances)
            if record is not None and record["fingerprint"] == fingerprint:
                return Outcome(record["done"], record["skipped"])
            if record is not None and not self.run.force:
                raise SvError(
                    f"`{self.run.out}` holds embeddings of another model, data or settings, or of "
                    "recordings that were replaced since",
                    hint="`--force` writes them again, or choose another directory",
                )
        if self.spec.path is not None and self.rank == 0:
            refuse_overwrite(*outputs, force=self.run.force or self.run.resume)
            if self._done is not None:
                self._done.unlink(missing_ok=True)
        return None

    def _fingerprint(self, job: ExtractJob, utterances: Sequence[Utterance]) -> str:
        """Return a digest of the job, and of the recordings that have a row in the table."""
        written = self._written()
        done = [utterance for utterance in utterances if utterance.utt in written]
        return job.fingerprint(utterances) + job.sources(done)

    def _written(self) -> set[str]:
        """Return the utterances that have a row in the table."""
        return set(ArrayTable(str(self.spec.scp)).keys())

    def left_out(self, utterances: Sequence[Utterance]) -> list[Utterance]:
        """Return those that were skipped when the table was written."""
        written = self._written()
        missing = [utterance for utterance in utterances if utterance.utt not in written]
        logs.info(f"trying {len(missing)} utterances again that were skipped")
        return missing

    def open_folder(self) -> Path | None:
        """Return the folder of parts, emptied by the first process unless resumed."""
        if self.folder is None:
            return None
        parts = self.folder / ".parts"
        if self.rank == 0:
            if not self.run.resume:
                shutil.rmtree(parts, ignore_errors=True)
            make_folder(parts)
            with atomic_open(parts / "run") as stream:
                stream.write(_run_token())
        while not _started(parts / "run"):
            time.sleep(_POLL_SECONDS)
        return parts

    def write(self, made: Made, loaded: LoadedModel) -> Outcome | None:
        """Write the parts as they come; the record comes last."""
        if self.rank != 0:
            for _ in made.parts:
                pass
            return None
        outcome = self._write_table(made)
        lineage = Lineage(
            "embeddings",
            asdict(describe_embeddings(loaded.info, self.run.settings)),
            (Step("extract"),),
            describe_inputs(model=str(loaded.path), data=self.run.data),
            {**self.run.settings.identity(), **asdict(outcome)},
        )
        write_lineage([self.spec.ark, self.spec.scp], lineage)
        if self.folder is not None and self._done is not None:
            fingerprint = self._fingerprint(made.job, made.utterances) if made.job else ""
            values = {"fingerprint": fingerprint, **asdict(outcome)}
            with atomic_open(self._done) as stream:
                json.dump(values, stream)
            shutil.rmtree(self.folder / ".parts", ignore_errors=True)
        return outcome

    def _write_table(self, made: Made) -> Outcome:
        """Write new rows among the existing ones; change nothing if there are none."""
        with (
            closing(made.parts),
            logs.progress("embeddings", total=made.total) as progress,
        ):
            rows = _Rows(made.parts, progress)
            new = iter(rows)
            first = list(islice(new, 1))
            if not first and made.before is not None:
                return Outcome(made.before.done, rows.skipped)
            if not first:
                raise SvError(
                    f"no utterance of `{self.run.data}` could be embedded",
                    hint="see the warnings above",
                )
            new = chain(first, new)
            if made.before is not None:
                standing = iterate_arrays(f"ark:{self.spec.ark}")
                new = heapq.merge(standing, new, key=lambda row: sort_key(row[0]))
            done = self._write_rows(new)
        return Outcome(done, rows.skipped)

    def _write_rows(self, rows: Iterator[tuple[str, NDArray[Any]]]) -> int:
        done = 0
        with ArrayWriter(self.run.out, wanted="xvector") as writer:
            for utt, embedding in rows:
                writer.write(utt, embedding)
                done += 1
            if self._done is not None:
                self._done.unlink(missing_ok=True)  # the old files are replaced from here on
        return done


class _Rows:
    """The rows of parts, counted and reported as they come."""

    def __init__(self, parts: Iterable[Part], progress: logs.Progress) -> None:
        self._parts, self._progress = parts, progress
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for part in self._parts:
            yield from part.embeddings.items()
            say_part(part.notices, part.skipped, before=self.skipped)
            self.skipped += len(part.skipped)
            self._progress.advance(part.num_done + len(part.skipped))


def _folder_of(out: str, spec: WriteSpec) -> Path | None:
    """Return the directory that OUT is, or None for a wspecifier."""
    folder = Path(out)
    return folder if spec.scp == str(folder / "xvector.scp") else None


def _read_done(path: Path) -> dict[str, Any] | None:
    """Return the record of a finished table; None where it is damaged: then it is not finished."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        counts = [record["done"], record["skipped"]]
        sound = isinstance(record["fingerprint"], str) and all(type(n) is int for n in counts)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if sound else None


def _run_token() -> str:
    """Return what the processes of one start under torchrun share."""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")
    return " ".join(os.environ.get(name, "-") for name in names)


def _started(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8") == _run_token()
    except OSError:
        return False
