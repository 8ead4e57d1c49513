"""What a job has done, so that every row of the results is written exactly once.

The directory `state` holds a record of each batch that was committed, and of the one that is
being committed. A batch is committed in four steps, and may be killed between and inside any two:

1. `pending.rows` and then `pending.json` appear by rename: the rows, whose recordings they belong
   to, and which file they will be appended to at which byte. From here on the batch counts.
2. The rows are appended to the results, which are flushed to disk.
3. `pending.json` is renamed to `batch-NNNNNN.json`.
4. `pending.rows` is removed.

A run that finds `pending.json` appends what is missing of the rows first. It knows the file by
its inode, so that it is found again after a rotation by rename.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sv_cli import logs
from sv_cli.atomic import appending, atomic_open, write_all
from sv_cli.errors import SvError
from sv_cli.nightly.incoming import Form
from sv_cli.tables.lineage import differences, read_embedded
from sv_cli.tables.text import decode


@dataclass
class Failure:
    """A recording that could not be read: how often it was tried, in which form, and why."""

    attempts: int
    form: Form
    error: str


@dataclass
class JobState:
    """The state of a job in its directory.

    Attributes
    ----------
    done : dict
        Form of each recording whose rows are in the results.
    failures : dict
        Recordings that could not be read.
    seen : dict
        Recordings that were not ready: their form, and when it was first seen (seconds).
    """

    folder: Path
    results: Path
    done: dict[str, Form] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    seen: dict[str, tuple[Form, float]] = field(default_factory=dict)
    num_batches: int = 0

    @classmethod
    def load(cls, out: Path) -> "JobState":
        """Return the state of a job; what a kill left to be appended is appended.

        Raises
        ------
        SvError
            When the file that a batch was being appended to is gone, or was written by others.
        """
        state = cls(out / "state", out / "results.txt")
        pending = _read(state._pending)
        if pending is not None:
            logs.info(f"completing batch {pending['batch']}, which was interrupted")
            state._finish(pending)
        for path in sorted(state.folder.glob("batch-*.json")):
            record = _read(path) or {}
            state.done |= {key: _form(form) for key, form in record["recordings"].items()}
            state.num_batches = max(state.num_batches, int(record["batch"]))
        notes = _read(state.folder / "notes.json") or {"failures": {}, "seen": {}}
        for key, (attempts, form, error) in notes["failures"].items():
            state.failures[key] = Failure(attempts, _form(form), error)
        for key, (form, since) in notes["seen"].items():
            state.seen[key] = _form(form), since
        return state

    @property
    def _pending(self) -> Path:
        return self.folder / "pending.json"

    def check_identity(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the first run noted down of itself; `values` are noted by the first.

        Raises
        ------
        SvError
            When a value other than `form` differs: one file would contain rows of two kinds.
        """
        path = self.folder / "job.json"
        before = _read(path)
        if before is None:
            with atomic_open(path) as stream:
                json.dump(dict(values), stream, indent=1)
            return dict(values)
        now = json.loads(json.dumps(dict(values)))
        changed = [name for name in now if name != "form" and before.get(name) != now[name]]
        if changed:
            then, present = (read_embedded(each.get("lineage"), "") for each in (before, now))
            if then.model_hash != present.model_hash:
                changed = [f"model {then.model_hash} and {present.model_hash}"]
            elif changed[0] == "lineage":
                changed[:1] = differences(then, present)
            raise SvError(
                f"`{self.results}` holds scores that were made differently: {'; '.join(changed)}",
                hint="give the job a new `out`",
            )
        return before

    def commit(self, recordings: Mapping[str, Form], rows: bytes) -> None:
        """Append the rows of some recordings to the results, all of them or none, once.

        Raises
        ------
        SvError
            When the disk is full; the next run appends what is missing.
        """
        self.results.parent.mkdir(parents=True, exist_ok=True)
        with appending(self.results) as descriptor:
            status = os.fstat(descriptor)
        with atomic_open(self.folder / "pending.rows", "wb") as stream:
            stream.write(rows)
        pending = {
            "batch": self.num_batches + 1,
            "inode": status.st_ino,
            "offset": status.st_size,
            "num_bytes": len(rows),
            "recordings": dict(recordings),
        }
        with atomic_open(self._pending) as stream:
            json.dump(pending, stream)
        self._finish(pending)
        self.num_batches += 1
        self.done |= recordings

    def write_notes(self) -> None:
        """Keep failures and sightings for the next run."""
        values = {
            "failures": {key: [f.attempts, f.form, f.error] for key, f in self.failures.items()},
            "seen": self.seen,
        }
        with atomic_open(self.folder / "notes.json") as stream:
            json.dump(values, stream)

    def _finish(self, pending: Mapping[str, Any]) -> None:
        path = self._find(pending["inode"])
        rows_path = self.folder / "pending.rows"
        rows = rows_path.read_bytes()
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(pending["offset"])
            written = stream.read()
        if size < pending["offset"] or not rows.startswith(written):
            raise SvError(
                f"`{path}` was changed by others while a batch was being appended",
                hint=f"put the rows of `{rows_path}` right there, then rename `{self._pending}` "
                f"to {_batch_name(pending)}",
            )
        _append(path, rows[len(written) :])
        self._pending.replace(self.folder / _batch_name(pending))
        with suppress(FileNotFoundError):
            rows_path.unlink()

    def _find(self, inode: int) -> Path:
        """Return the file that a batch was being appended to, by the name that it has now."""
        candidates = [self.results, *sorted(self.results.parent.iterdir())]
        for path in candidates:
            with suppress(OSError):
                if path.is_file() and path.stat().st_ino == inode:
                    return path
        raise SvError(
            f"`{self.results}` was rotated away while a batch was being appended",
            hint="put the file back, without compression, into its folder and run again",
        )


def _batch_name(pending: Mapping[str, Any]) -> str:
    return f"batch-{pending['batch']:06d}.json"


def _append(path: Path, rows: bytes) -> None:
    hint = "mend that and run again: what is missing is appended first"
    with appending(path, hint=hint) as descriptor:
        write_all(descriptor, rows)
        os.fsync(descriptor)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        text = decode(path.read_bytes())
    except FileNotFoundError:
        return None
    try:
        values: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise SvError(f"`{path}` is damaged: {error}", hint="restore it from a backup") from error
    return values


def _form(values: Any) -> Form:
    return None if values is None else (int(values[0]), int(values[1]))
