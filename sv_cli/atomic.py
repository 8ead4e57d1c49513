"""Files that appear whole or not at all: written beside their place, flushed, then renamed."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sv_cli.errors import SettingsError, SvError

_TEMPORARY = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.tmp")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder that becomes `path` when the block ends well.

    The folder is made where it is missing. When the block raises, the temporary file is removed
    and `path` is left as it was.

    Raises
    ------
    SvError
        When the folder cannot be made or the file cannot be put in place.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise SvError(f"cannot write `{path}`: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_open(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing (UTF-8, LF) that appears when the block ends well."""
    encoding = None if "b" in mode else "utf-8"
    newline = None if "b" in mode else "\n"
    with (
        atomic_path(path) as temporary,
        temporary.open(mode, encoding=encoding, newline=newline) as stream,
    ):
        yield stream


def refuse_same_output(*paths: str | Path) -> None:
    """Raise when two outputs are one file, links resolved: the second would replace the first."""
    seen: dict[Path, str] = {}
    for path in map(str, paths):
        place = Path(path) if path == "-" else Path(path).resolve()
        if place in seen and str(place) != os.devnull:
            raise SettingsError(
                f"`{seen[place]}` and `{path}` are one file for two outputs",
                hint="name two files",
            )
        seen[place] = path


def refuse_overwrite(*paths: str | Path, force: bool) -> None:
    """Raise when two outputs are one file, or one exists and `force` was not given."""
    refuse_same_output(*paths)
    present = [str(path) for path in paths if Path(path).exists()]
    if present and not force:
        raise SvError(f"`{present[0]}` exists already", hint="use `--force` to write it again")


def remove_unfinished(folder: str | Path) -> None:
    """Remove the temporary files below a folder, left by killed workers; its lock must be held."""
    for path in Path(folder).rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make renames last through a loss of power, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
