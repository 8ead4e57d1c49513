"""Make a table of features or VAD decisions: parts, joined into the files that were asked for."""

import json
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sv_cli import logs
from sv_cli.atomic import atomic_open, make_folder, refuse_overwrite
from sv_cli.audio.notices import say_part
from sv_cli.errors import SettingsError, SvError, TableError
from sv_cli.features.job import FeatureJob
from sv_cli.features.parts import Part, make_parts, make_share
from sv_cli.features.pieces import copy_pieces, offsets_of, pieces_of
from sv_cli.lock import lock_file
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.kaldi.specifier import WriteSpec, open_output
from sv_cli.tables.lineage import Lineage, Step, describe_inputs, write_lineage
from sv_cli.tables.text import write_table
from sv_cli.workers import torchrun_rank


@dataclass(frozen=True)
class Made:
    """What was written: frames of each utterance, how many were left out, under which digest.

    `sources` is a digest of the recordings of the utterances that were not left out.

    `size` is that of the archive in bytes; `offsets` are those of its objects, kept only where
    utterances were left out, so that these can be added.
    """

    fingerprint: str
    frames: dict[str, int]
    skipped: int
    sources: str = ""
    size: int = 0
    offsets: dict[str, int] = field(default_factory=dict)


def make_table(
    job: FeatureJob,
    utterances: Sequence[Utterance],
    spec: WriteSpec,
    *,
    data: str,
    num_procs: int = 1,
    resume: bool = False,
    force: bool = False,
) -> Made | None:
    """Compute every utterance and write the table; the files appear whole, the scp last.

    A table in a file gets a record of its lineage, and `.NAME.resume.json`, from which `resume`
    starts. Under torchrun the processes share the work; all but the first return None.

    Parameters
    ----------
    data : str
        What names the recordings, for the lineage.

    Raises
    ------
    SvError
        When outputs exist already, or no utterance could be read.
    """
    if spec.ark is None:
        raise TableError(f"`{spec.source}`: an archive is needed", hint="use `ark,scp:ARK,SCP`")
    fingerprint = job.fingerprint(utterances)
    rank, world_size = torchrun_rank()
    if spec.path is None and world_size > 1:
        raise SettingsError("under torchrun the output is a file, for the parts next to it")
    if spec.path is None:
        with tempfile.TemporaryDirectory() as temporary:
            return _join(job, utterances, spec, Path(temporary), num_procs)
    record = Path(spec.ark).with_name(f".{Path(spec.ark).name}.resume.json")
    outputs = [Path(name) for name in (spec.ark, spec.scp) if name]
    there = resume and all(path.exists() for path in outputs)
    before = _read_record(record, Path(spec.ark), fingerprint) if there else None
    if before is not None and before.sources != _sources(job, utterances, before.frames):
        raise SvError(
            f"`{spec.ark}` was made of recordings that were replaced since",
            hint="`--force` without `--resume` makes it again",
        )
    if before is not None and not before.skipped:
        logs.info(f"`{spec.ark}` is complete already")
        return before if rank == 0 else None
    wanted = utterances if before is None else _left_out(before, utterances)
    if rank > 0:
        folder = _part_folder_name(Path(spec.ark))
        make_share(job, wanted, folder, rank=rank, world_size=world_size)
        return None
    refuse_overwrite(*outputs, force=force or resume)
    with (
        lock_file(spec.ark, command=job.command),
        _part_folder(Path(spec.ark), keep=resume or world_size > 1) as folder,
    ):
        if before is None:
            record.unlink(missing_ok=True)
            made = _join(job, utterances, spec, folder, num_procs, world_size)
        else:
            parts = make_parts(job, wanted, folder, num_procs=num_procs, world_size=world_size)
            made = _add(before, [u.utt for u in utterances], parts, spec, record)
            made = replace(made, sources=_sources(job, utterances, made.frames))
        with atomic_open(record) as stream:
            json.dump(asdict(made), stream)
        write_lineage([spec.ark, spec.scp], _lineage(job, made, data))
    return made


def _lineage(job: FeatureJob, made: Made, data: str) -> Lineage:
    kind = "features" if job.command == "make-fbank" else "vad"
    notes = {"utterances": len(made.frames), "skipped": made.skipped, "seed": job.seed}
    step = Step(job.command, job.settings.model_dump(mode="json"))
    return Lineage(kind, None, (step,), describe_inputs(data=data), notes)


def _left_out(before: Made, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Return those that were skipped when the table was written."""
    missing = [utterance for utterance in utterances if utterance.utt not in before.frames]
    logs.info(f"trying {len(missing)} utterances again that were skipped")
    return missing


def _part_folder_name(ark: Path) -> Path:
    return ark.with_name(f".{ark.name}.parts")


@contextmanager
def _part_folder(ark: Path, *, keep: bool) -> Iterator[Path]:
    """Give the folder of parts next to an archive; it stays when the block does not end well."""
    folder = _part_folder_name(ark)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    yield make_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _join(
    job: FeatureJob,
    utterances: Sequence[Utterance],
    spec: WriteSpec,
    folder: Path,
    num_procs: int,
    world_size: int = 1,
) -> Made:
    frames: dict[str, int] = {}
    skipped: dict[str, str] = {}
    places: list[tuple[str, str]] = []
    start = 0
    assert spec.ark is not None
    parts = make_parts(job, utterances, folder, num_procs=num_procs, world_size=world_size)
    with closing(parts), open_output(spec.ark) as output:
        for archive, part in parts:
            with archive.open("rb") as stream:
                shutil.copyfileobj(stream, output, 1 << 20)
            if spec.path is None:
                archive.unlink()
            say_part(part.notices, part.skipped, before=len(skipped))
            frames |= part.frames
            skipped |= part.skipped
            places += [(utt, f"{spec.ark}:{start + at}") for utt, at in part.offsets.items()]
            start += part.size
        if not frames:
            raise SvError("no utterance could be read", hint="see the warnings above")
    if spec.scp:
        write_table(spec.scp, places)
    offsets = {utt: int(place.rpartition(":")[2]) for utt, place in places} if skipped else {}
    sources = _sources(job, utterances, frames)
    return Made(job.fingerprint(utterances), frames, len(skipped), sources, start, offsets)


def _sources(job: FeatureJob, utterances: Sequence[Utterance], frames: Mapping[str, int]) -> str:
    """Return the digest of the recordings that were not left out."""
    return job.sources([each for each in utterances if each.utt in frames])


def _add(
    before: Made,
    utts: Sequence[str],
    parts: Generator[tuple[Path, Part], None, None],
    spec: WriteSpec,
    record: Path,
) -> Made:
    """Merge new objects into the existing ones, in the order of `utts`, if there are any."""
    assert spec.ark is not None
    pieces = pieces_of(Path(spec.ark), before.offsets, before.size)
    frames, num_skipped = dict(before.frames), 0
    with closing(parts):
        for archive, part in parts:
            say_part(part.notices, part.skipped, before=num_skipped)
            num_skipped += len(part.skipped)
            frames |= part.frames
            pieces |= pieces_of(archive, part.offsets, part.size)
    if len(frames) == len(before.frames):
        return before
    pieces = {utt: pieces[utt] for utt in utts if utt in pieces}
    offsets = offsets_of(pieces)
    with open_output(spec.ark) as output:
        copy_pieces(pieces.values(), output)
        record.unlink(missing_ok=True)  # the old files are replaced from here on
    if spec.scp:
        write_table(spec.scp, [(utt, f"{spec.ark}:{offset}") for utt, offset in offsets.items()])
    frames = {utt: frames[utt] for utt in pieces}
    size = sum(piece.stop - piece.start for piece in pieces.values())
    kept = offsets if num_skipped else {}
    return replace(before, frames=frames, skipped=num_skipped, size=size, offsets=kept)


def _read_record(path: Path, ark: Path, fingerprint: str) -> Made | None:
    """Return what was made, if it is this; without places what was skipped cannot be added."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        made = Made(**values)
        num_bytes = ark.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if made.fingerprint != fingerprint or made.size != num_bytes:
        return None
    return made if not made.skipped or len(made.offsets) == len(made.frames) else None
