"""Lineage: which command wrote a table, with which model and settings, and from which inputs.

Each file of a table gets a hidden record `.NAME.lineage.json` next to it. Archives, scp files and
text tables stay plain Kaldi files. A record names contents, not paths: the table and its inputs
are identified by size and SHA-256, so a copied folder keeps its lineage and a replaced file is
noticed. Tables without a record, and tables that come through a pipe, have an unknown lineage.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sv_cli import __version__, logs
from sv_cli.atomic import atomic_open, is_plain_file
from sv_cli.errors import TableError
from sv_cli.tables.kaldi.scp import archives_of
from sv_cli.tables.kaldi.specifier import parse_rspecifier

SUFFIX = ".lineage.json"
VERSION = 1
_WHOLE_BYTES = 1 << 30
_BLOCK_BYTES, _NUM_BLOCKS = 1 << 16, 1024


@dataclass(frozen=True)
class Fingerprint:
    """Content of a file: `sha256` is of all bytes, above 1 GiB of 1,024 evenly spaced blocks."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> "Fingerprint":
        """Return the fingerprint of a file."""
        with Path(path).open("rb", buffering=0) as stream:
            status = os.fstat(stream.fileno())
            if status.st_size <= _WHOLE_BYTES:
                digest = hashlib.file_digest(stream, "sha256")
            else:
                digest = hashlib.sha256()
                for number in range(_NUM_BLOCKS):
                    last = status.st_size - _BLOCK_BYTES
                    stream.seek(number * last // (_NUM_BLOCKS - 1))
                    digest.update(stream.read(_BLOCK_BYTES))
        return cls(status.st_size, status.st_mtime_ns, digest.hexdigest())

    def matches(self, path: str | Path) -> bool:
        """Return whether a file has this content; it is read only when its time differs."""
        try:
            status = Path(path).stat()
        except OSError:
            return False
        if status.st_size != self.size:
            return False
        return status.st_mtime_ns == self.mtime_ns or Fingerprint.of(path).sha256 == self.sha256


@dataclass(frozen=True)
class Step:
    """One command that the numbers of a table passed through.

    Attributes
    ----------
    command : str
    values : mapping
        Settings and content hashes of inputs that change the numbers. Two tables with a different
        value do not go together; a value that one of them lacks is not compared.
    """

    command: str
    values: Mapping[str, Any] = field(default_factory=dict)


# Precedes the steps of a table whose input has an unknown lineage.
UNKNOWN_STEP = Step("unknown")


@dataclass(frozen=True)
class Lineage:
    """What is known of a table.

    Attributes
    ----------
    kind : str
        features, vad, embeddings, mean, transform, plda, cohort statistics, quality, scores.
    model : mapping or None
        Identity of the embedding model (`tables.embeddings.ModelInfo`); None for unknown.
    steps : tuple of Step
        Commands in their order; empty for unknown.
    inputs : mapping from role to (name, Fingerprint or None)
    notes : mapping
        Further facts for people; never compared.
    source : str
        Name of the table in messages.
    files : mapping from file name to Fingerprint
        The files of the table.
    """

    kind: str = "unknown"
    model: Mapping[str, Any] | None = None
    steps: tuple[Step, ...] = ()
    inputs: Mapping[str, tuple[str, Fingerprint | None]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    files: Mapping[str, Fingerprint] = field(default_factory=dict)
    svtool: str = __version__
    written: str = ""

    @property
    def model_hash(self) -> str | None:
        """Hash of the embedding model; None for unknown."""
        return None if self.model is None else str(self.model["model_hash"])

    @property
    def command(self) -> str | None:
        """The last command."""
        return self.steps[-1].command if self.steps else None

    def then(self, kind: str, step: Step, **changes: Any) -> "Lineage":
        """Return the lineage of a table that `step` makes of this one."""
        steps = (*(self.steps or (UNKNOWN_STEP,)), step)
        return replace(self, kind=kind, steps=steps, files={}, **changes)

    @property
    def content(self) -> str | None:
        """Hash that identifies the content of the table (its archive, where it has one)."""
        hashes = {name: each.sha256 for name, each in self.files.items()}
        arks = [value for name, value in hashes.items() if not name.endswith(".scp")]
        return next(iter(arks or hashes.values()), None)


def record_path(file: str | Path) -> Path:
    """Return the path of the record of a file."""
    path = Path(file)
    return path.with_name(f".{path.name}{SUFFIX}")


def describe_inputs(**sources: str | None) -> dict[str, tuple[str, Fingerprint | None]]:
    """Return name and fingerprint of each input; pipes have none, None is left out."""
    return {
        role: (source, _input_fingerprint(source))
        for role, source in sources.items()
        if source is not None
    }


def content_of(source: str, *, wanted: str | None = "xvector.scp") -> str | None:
    """Return a hash of the content of a table or file; None for a pipe."""
    lineage = read_lineage(source, wanted=wanted)
    if lineage.content is not None:
        return lineage.content
    found = _input_fingerprint(source)
    if found is None:
        return None
    path = Path(source) if wanted is None else parse_rspecifier(source, wanted=wanted).path
    if path is None or path.suffix != ".scp":
        return found.sha256
    states = [(ark.stat().st_size, ark.stat().st_mtime_ns) for ark in archives_of(path)]
    return hash_bytes(found.sha256.encode(), repr(states).encode())


def write_lineage(files: Sequence[str | Path | None], lineage: Lineage) -> None:
    """Write the record of a table that has just been written, one next to each of its files.

    Files that are None or `-`, pipes and devices get no record.
    """
    named = [Path(file) for file in files if file is not None and is_plain_file(file)]
    paths = [path for path in named if path.is_file()]
    prints = {path: Fingerprint.of(path) for path in paths}
    for path in paths:
        content = {
            "format": "svtool-lineage",
            "version": VERSION,
            "svtool": __version__,
            "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "kind": lineage.kind,
            "model": lineage.model,
            "steps": [asdict(step) for step in lineage.steps],
            "inputs": {
                role: {"name": name, **({} if found is None else asdict(found))}
                for role, (name, found) in lineage.inputs.items()
            },
            "notes": dict(lineage.notes),
            "files": {
                other.name if other.parent == path.parent else str(other.absolute()): asdict(found)
                for other, found in prints.items()
            },
        }
        content["digest"] = _digest(content)
        with atomic_open(record_path(path)) as stream:
            stream.write(json.dumps(content, indent=1) + "\n")


def read_lineage(source: str, *, wanted: str | None = "xvector.scp") -> Lineage:
    """Return the lineage of a table; unknown where there is no record.

    An scp without a record of its own has the lineage of the archives that it names.

    Parameters
    ----------
    source : str
        A path, or an rspecifier of arrays.
    wanted : str or None
        Name of the table in a directory; None for a text table.

    Raises
    ------
    TableError
        When a record is damaged, edited or of a newer version, describes other content than the
        file has, or two archives of an scp have different lineages.
    """
    unknown = Lineage(source=source)
    if wanted is None:
        path = None if source in ("", "-") or "|" in source else Path(source)
        is_scp = False
    else:
        spec = parse_rspecifier(source, wanted=wanted)
        path, is_scp = spec.path, spec.kind == "scp"
    if path is None or not path.is_file():
        return unknown
    found = _read_record(path, source)
    if found is None:
        archives = archives_of(path) if is_scp else []
        return _common_lineage([_read_record(ark, source) for ark in archives], source) or unknown
    archives = [path.parent / name for name in found.files if is_scp and name != path.name]
    if not all(ark.is_file() for ark in archives):
        archives = archives_of(path)  # the scp was copied without them
    for ark in archives:
        expected = found.files.get(ark.name) or found.files.get(str(ark.absolute()))
        if expected is not None and not expected.matches(ark):
            raise _stale(path, ark, expected)
        # What the record of the scp has confirmed is not read again; both records must agree.
        of_archive = _read_record(ark, source, confirmed=expected is not None)
        if of_archive is not None and _identity(of_archive) != _identity(found):
            raise TableError(
                f"`{record_path(path)}` and `{record_path(ark)}` disagree: "
                + "; ".join(differences(found, of_archive) or ["they name different content"]),
                hint="write the table again",
            )
    return found


def describe_lineage(lineage: Lineage) -> dict[str, Any]:
    """Return a lineage as name -> value for people, with the state of each input now."""
    found: dict[str, Any] = {"kind": lineage.kind, "command": lineage.command or "unknown"}
    if lineage.written:
        found |= {"written": lineage.written, "svtool": lineage.svtool}
    found |= {f"model {name}": value for name, value in (lineage.model or {}).items()}
    for step in lineage.steps:
        found |= {f"{step.command} {name}": value for name, value in step.values.items()}
    found |= dict(lineage.notes)
    for role, (name, then) in lineage.inputs.items():
        if then is None:
            state = "not recorded"
        elif not Path(name).exists():
            state = "not found"
        else:
            now = _input_fingerprint(name)
            state = "unchanged" if now and now.sha256 == then.sha256 else "changed since"
        found[f"input {role}"] = f"{name} ({state})"
    for name, each in lineage.files.items():
        found[f"file {name}"] = f"{each.size:,} bytes, sha256 {each.sha256[:16]} (unchanged)"
    return found


def read_embedded(record: Mapping[str, Any] | None, source: str) -> Lineage:
    """Return the lineage that a score model stores in its own file."""
    if record is None:
        return Lineage(source=source)
    steps = tuple(Step(step["command"], step["values"]) for step in record["steps"])
    return Lineage(record["kind"], record["model"], steps, source=source)


def embed(lineage: Lineage) -> dict[str, Any] | None:
    """Return what a score model stores of the table that it was trained on."""
    if not lineage.steps and lineage.model is None:
        return None
    steps = [asdict(step) for step in lineage.steps]
    return {"kind": lineage.kind, "model": lineage.model, "steps": steps}


def check_same_model(*lineages: Lineage) -> Mapping[str, Any] | None:
    """Return the one embedding model of several tables; None when none is known.

    Raises
    ------
    TableError
        When two tables come from different models: names both hashes.
    """
    known = [lineage for lineage in lineages if lineage.model is not None]
    for other in known[1:]:
        first = known[0]
        if first.model_hash != other.model_hash:
            raise TableError(
                f"`{first.source}` and `{other.source}` come from different models: "
                f"{_model_name(first)} and {_model_name(other)}",
                hint="make both with the embeddings of one model",
            )
    return known[0].model if known else None


def check_same_steps(trained: Lineage, given: Lineage, *, path: str | Path) -> None:
    """Refuse a table whose numbers were made differently from those that `path` was trained on.

    An unknown lineage is accepted, and reported.

    Raises
    ------
    TableError
        When models, commands or settings differ: names both values.
    """
    if trained.model is not None and given.model is None:
        logs.info(f"the model of `{given.source}` is unknown: `{path}` is used without a check")
    elif trained.model is not None and trained.model_hash != given.model_hash:
        raise TableError(
            f"`{path}` was trained on scores of model {_model_name(trained)}, "
            f"`{given.source}` is of {_model_name(given)}",
            hint="train it again on scores of the new model",
        )
    if trained.steps and given.steps:
        found = differences(trained, given)
        if found:
            raise TableError(
                f"`{path}` was trained on other scores than `{given.source}` holds: "
                + "; ".join(found),
                hint="give it scores that went through the same steps, or train it again",
            )


def differences(first: Lineage, second: Lineage) -> list[str]:
    """Return in words what differs in the steps of two tables, `first` before `second`."""
    chains = [[step for step in each.steps if step != UNKNOWN_STEP] for each in (first, second)]
    if UNKNOWN_STEP in (*first.steps[:1], *second.steps[:1]):  # compare the steps that are known
        known = min(map(len, chains))
        chains = [chain[len(chain) - known :] for chain in chains]
    names = [" | ".join(step.command for step in chain) for chain in chains]
    if names[0] != names[1]:
        return [f"`{names[0]}` and `{names[1]}`"]
    return [
        f"{one.command} {name} {_say(one.values[name])} and {_say(two.values[name])}"
        for one, two in zip(*chains, strict=True)
        for name in one.values
        if name in two.values and one.values[name] != two.values[name]
    ]


def fuse_models(lineages: Sequence[Lineage]) -> dict[str, Any] | None:
    """Return one model for several systems; None unless all are known."""
    hashes = [each.model_hash for each in lineages if each.model_hash is not None]
    if len(hashes) != len(lineages):
        return None
    if len(hashes) == 1:
        return dict(lineages[0].model or {})
    return {"model_hash": hashlib.sha256(" ".join(hashes).encode()).hexdigest(), "model": "fusion"}


def hash_bytes(*parts: bytes) -> str:
    """Return 16 hex digits that identify some bytes (a mean vector, a file)."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _common_lineage(found: Sequence[Lineage | None], source: str) -> Lineage | None:
    """Return the lineage that the archives of an scp share."""
    known = [each for each in found if each is not None]
    if not known:
        return None
    for other in known[1:]:
        check_same_model(known[0], other)
        differing = differences(known[0], other)
        if differing:
            raise TableError(
                f"the archives of `{source}` have different lineages: {'; '.join(differing)}",
                hint="write them with the same settings",
            )
    first = known[0]
    if len(known) < len(found):
        logs.info(f"`{source}`: {len(found) - len(known)} archives have no record of their origin")
    return Lineage(
        first.kind, first.model, first.steps, first.inputs, first.notes, source,
        first.files if len(found) == 1 else {}, first.svtool, first.written,
    )  # fmt: skip


def _read_record(file: Path, source: str, *, confirmed: bool = False) -> Lineage | None:
    """Return the record of a file; the file is compared with it unless that was `confirmed`."""
    path = record_path(file)
    try:
        text = path.read_bytes()
    except OSError:
        return None
    hint = f"write the table again, or remove the record: `rm {path}`"
    try:
        content = json.loads(text)
        if content["version"] > VERSION:
            raise TableError(
                f"`{path}`: written by a newer svtool ({content['svtool']})", hint="update svtool"
            )
        if content["digest"] != _digest(content):
            raise TableError(f"`{path}`: the record was edited", hint=hint)
        lineage = Lineage(
            kind=content["kind"],
            model=content["model"],
            steps=tuple(Step(**step) for step in content["steps"]),
            inputs={role: _input(value) for role, value in content["inputs"].items()},
            notes=content["notes"],
            source=source,
            files={name: Fingerprint(**value) for name, value in content["files"].items()},
            svtool=content["svtool"],
            written=content["written"],
        )
        expected = lineage.files[file.name]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError(f"`{path}`: not a record of a table: {error}", hint=hint) from error
    if not confirmed and not expected.matches(file):
        raise _stale(file, file, expected)
    return lineage


def _stale(table: Path, file: Path, expected: Fingerprint) -> TableError:
    size = file.stat().st_size
    if size != expected.size:
        now, was = f"{size:,} bytes", f"{expected.size:,} bytes"
    else:
        now, was = (f"sha256 {each.sha256[:16]}" for each in (Fingerprint.of(file), expected))
    return TableError(
        f"`{file}` is not the file that its record describes: {now} now, {was} in "
        f"`{record_path(table)}`",
        hint=f"write the table again; if another program wrote it on purpose, "
        f"`rm {record_path(file)}`",
    )


def _input(value: Mapping[str, Any]) -> tuple[str, Fingerprint | None]:
    values = dict(value)
    name = str(values.pop("name"))
    return name, Fingerprint(**values) if values else None


def _input_fingerprint(source: str) -> Fingerprint | None:
    """Return the fingerprint of an input: taken from its record where that is still right."""
    if source in ("", "-") or "|" in source:
        return None
    path = Path(source)
    if path.is_dir() or source.startswith(("ark", "scp")):
        path = parse_rspecifier(source).path or path
    if not path.is_file():
        return None
    try:
        content = json.loads(record_path(path).read_bytes())
        known = Fingerprint(**content["files"][path.name])
        if known.matches(path):
            return known
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Fingerprint.of(path)


def _identity(lineage: Lineage) -> tuple[Any, ...]:
    hashes = sorted(each.sha256 for each in lineage.files.values())
    return lineage.kind, lineage.model, lineage.steps, hashes


def _digest(content: Mapping[str, Any]) -> str:
    values = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _model_name(lineage: Lineage) -> str:
    model = lineage.model or {}
    name = f"{model['model']} " if "model" in model else ""
    return f"{name}{str(lineage.model_hash)[:12]}"


def _say(value: Any) -> str:
    return "none" if value is None else str(value)
