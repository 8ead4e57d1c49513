"""Make a table of features or VAD decisions: parts, joined into the files that were asked for."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sv_cli import logs
from sv_cli.atomic import atomic_open, refuse_overwrite
from sv_cli.audio.notices import say_part
from sv_cli.errors import SettingsError, SvError, TableError
from sv_cli.features.job import FeatureJob
from sv_cli.features.parts import make_parts, make_share
from sv_cli.lock import lock_file
from sv_cli.tables.datadir import Utterance
from sv_cli.tables.specifier import WriteSpec, open_output
from sv_cli.tables.text import write_table
from sv_cli.workers import torchrun_rank


@dataclass(frozen=True)
class Made:
    """What was written: frames of each utterance, how many were left out, under which digest."""

    fingerprint: str
    frames: dict[str, int]
    skipped: int


def make_table(
    job: FeatureJob,
    utterances: Sequence[Utterance],
    spec: WriteSpec,
    *,
    num_procs: int = 1,
    resume: bool = False,
    force: bool = False,
) -> Made | None:
    """Compute every utterance and write the table; the files appear whole, the scp last.

    Beside a table in a file stands `NAME.json`: what it was made from, written last of all. Under
    torchrun the processes share the work; all but the first give None.

    Raises
    ------
    SvError
        When outputs exist already, or no utterance could be read.
    """
    if spec.ark is None:
        raise TableError(f"`{spec.source}`: an archive is needed", hint="use `ark,scp:ARK,SCP`")
    fingerprint = job.fingerprint(utterances)
    rank, world_size = torchrun_rank()
    if spec.beside is None and world_size > 1:
        raise SettingsError("under torchrun the output is a file, for the parts beside it")
    if spec.beside is None:
        with tempfile.TemporaryDirectory() as temporary:
            return _join(job, utterances, spec, Path(temporary), num_procs)
    record = Path(spec.ark).with_suffix(".json")
    outputs = [Path(name) for name in (spec.ark, spec.scp) if name]
    if resume and all(path.exists() for path in outputs):
        made = _read_record(record)
        if made and made.fingerprint == fingerprint:
            logs.info(f"`{spec.ark}` is complete already")
            return made if rank == 0 else None
    if rank > 0:
        folder = _part_folder_name(Path(spec.ark))
        make_share(job, utterances, folder, rank=rank, world_size=world_size)
        return None
    refuse_overwrite(*outputs, force=force or resume)
    with (
        lock_file(spec.ark, command=job.command),
        _part_folder(Path(spec.ark), keep=resume or world_size > 1) as folder,
    ):
        made = _join(job, utterances, spec, folder, num_procs, world_size)
        with atomic_open(record) as stream:
            json.dump(asdict(made) | {"settings": job.settings.model_dump()}, stream)
    return made


def _part_folder_name(ark: Path) -> Path:
    return ark.with_name(f".{ark.name}.parts")


@contextmanager
def _part_folder(ark: Path, *, keep: bool) -> Iterator[Path]:
    """Give the folder of parts beside an archive; it stays when the block does not end well."""
    folder = _part_folder_name(ark)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
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
            if spec.beside is None:
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
    return Made(job.fingerprint(utterances), frames, len(skipped))


def _read_record(path: Path) -> Made | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Made(values["fingerprint"], values["frames"], values["skipped"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
