"""Files that appear whole or not at all: written to a temporary file, flushed, then renamed.

A symbolic link with the name of an output is replaced by the file; its target stays unchanged. So
a link in a data directory of unknown origin cannot redirect an output.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sv_cli.errors import SettingsError, SvError

_TEMPORARY = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.tmp")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a new temporary file in the same folder that becomes `path` when the block ends well.

    The folder is made where it is missing. When the block raises, the temporary file is removed
    and `path` is left as it was. A symbolic link at `path` is replaced, its target is not.

    Raises
    ------
    SvError
        When the folder cannot be made, the file cannot be put in place, or it is a device.
    """
    path = Path(path)
    if not is_plain_file(path):
        raise SvError(f"cannot write `{path}`: not a regular file", hint="name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(temporary, flags, 0o666))
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
    """Open a file for writing (UTF-8, LF) that appears when the block ends well.

    FIFOs and devices such as /dev/stdout are written to directly.
    """
    encoding = None if "b" in mode else "utf-8"
    newline = None if "b" in mode else "\n"
    if not is_plain_file(path):
        with Path(path).open(mode, encoding=encoding, newline=newline) as stream:
            yield stream
        return
    with (
        atomic_path(path) as temporary,
        temporary.open(mode, encoding=encoding, newline=newline) as stream,
    ):
        yield stream


@contextmanager
def appending(path: str | Path, *, hint: str | None = None) -> Iterator[int]:
    """Give a descriptor that appends to a file, created where it is missing.

    Raises
    ------
    SvError
        When it cannot be opened or written, or is a symbolic link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SvError(
                f"`{path}` is a symbolic link; it is not written through",
                hint="name the file that it points to, or remove the link",
            ) from error
        raise SvError(f"cannot write `{path}`: {error.strerror or error}", hint=hint) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes to a descriptor, which may take them in several steps."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def make_folder(path: str | Path) -> Path:
    """Create a folder for files of this program and return it; it may exist.

    Raises
    ------
    SvError
        When it cannot be created, or a symbolic link or a file has its name.
    """
    path = Path(path)
    if path.is_symlink():
        raise SvError(f"`{path}` is a symbolic link, not a folder", hint="remove the link")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SvError(f"cannot create `{path}`: {error.strerror or error}") from error
    return path


def is_plain_file(name: str | Path) -> bool:
    """Return whether an output is a file that `atomic_path` renames into place.

    It is not for `-`, an output pipe, a FIFO and a device; nor for /dev/stdout that is a file.
    """
    name = str(name)
    if name in ("", "-") or name.startswith("|"):
        return False
    if str(Path(name).absolute()).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return False
    try:
        mode = os.lstat(name).st_mode
    except (OSError, ValueError):
        return True
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)


def refuse_same_output(*paths: str | Path) -> None:
    """Raise when two outputs are one file, links resolved: the second would replace the first."""
    seen: dict[Path, str] = {}
    for path in map(str, filter(is_plain_file, paths)):
        place = Path(path).resolve()
        if place in seen:
            raise SettingsError(
                f"`{seen[place]}` and `{path}` are one file for two outputs",
                hint="name two files",
            )
        seen[place] = path


def refuse_overwrite(*paths: str | Path, force: bool) -> None:
    """Raise when two outputs are one file, or one exists and `force` was not given."""
    refuse_same_output(*paths)
    present = [str(path) for path in paths if is_plain_file(path) and Path(path).exists()]
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
