"""One process at a time for each output: a lock file next to it, which ends with its process."""

import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from sv_cli import logs
from sv_cli.atomic import is_plain_file, refuse_overwrite
from sv_cli.errors import SvError
from sv_cli.workers import torchrun_rank

_FIRST_BYTES = b'{"command": '
_held: set[int] = set()
_claims = ExitStack()


def lock_folder(folder: str | Path, *, command: str) -> AbstractContextManager[None]:
    """Hold `FOLDER/.lock`; of the processes of torchrun the first holds it for all.

    Raises
    ------
    SvError
        When another process holds it: who, and since when.
    """
    return _lock(Path(folder) / ".lock", str(folder), command)


def lock_file(path: str | Path, *, command: str) -> AbstractContextManager[None]:
    """Hold `.NAME.lock` next to a file; see `lock_folder`."""
    path = Path(path)
    return _lock(path.with_name(f".{path.name}.lock"), str(path), command)


def claim_outputs(*paths: str | Path, force: bool) -> None:
    """Lock the files that a command writes until it ends; refuse existing ones without `force`.

    `-`, pipes and devices have no lock.

    Raises
    ------
    SvError
        When another process writes one of them, or one exists and `force` is not set.
    """
    plain = {str(Path(path).absolute()): path for path in paths if is_plain_file(path)}
    for name in sorted(plain):
        _claims.enter_context(lock_file(plain[name], command=logs.command()))
    refuse_overwrite(*paths, force=force)


def claim_folder(folder: str | Path) -> None:
    """Lock a directory that a command writes until it ends; see `lock_folder`."""
    _claims.enter_context(lock_folder(folder, command=logs.command()))


def release_claims() -> None:
    """Release what `claim_outputs` and `claim_folder` locked, at the end of a command."""
    _claims.close()


def _lock(place: Path, output: str, command: str) -> AbstractContextManager[None]:
    return nullcontext() if torchrun_rank()[0] > 0 else _hold(place, output, command)


@contextmanager
def _hold(place: Path, output: str, command: str) -> Iterator[None]:
    is_new = not place.parent.exists()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(place, output)
    except OSError as error:
        raise SvError(f"cannot write `{place}`: {error.strerror or error}") from error
    try:
        _clear_left_behind(descriptor, place)
        _write_holder(descriptor, command)
        yield
    finally:
        with suppress(OSError):  # while it is held, so that nobody else's is removed
            place.unlink()
            if is_new:
                place.parent.rmdir()  # where nothing was written
        _release(descriptor)


def _acquire(place: Path, output: str) -> int:
    """Return the descriptor of a locked file at `place`."""
    while True:
        descriptor = _open(place)
        _held.add(descriptor)
        try:
            _refuse_foreign(descriptor, place)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, place):
                return descriptor
        except BlockingIOError:
            record = _read(descriptor)
            holder = "another process" if record is None else _describe(record)
            _release(descriptor)
            raise SvError(
                f"`{output}` is being written by {holder}",
                hint=f"wait until it ends; its lock `{place}` ends with it, also when it is killed",
            ) from None
        except (OSError, SvError):
            _release(descriptor)
            raise
        _release(descriptor)  # its holder removed it between our opening and our locking


def _open(place: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(place, flags, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _foreign(place) from error
        raise


def _refuse_foreign(descriptor: int, place: Path) -> None:
    """Raise when a file with the name of a lock is no lock: it would be overwritten."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise _foreign(place)
    start = os.pread(descriptor, len(_FIRST_BYTES), 0)
    if not _FIRST_BYTES.startswith(start):  # a full disk may have left a part of them
        raise _foreign(place)


def _foreign(place: Path) -> SvError:
    return SvError(
        f"`{place}` has the name of a lock, but was not written by svtool",
        hint="look at it, then remove it",
    )


def _release(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _is_at(descriptor: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False


def _clear_left_behind(descriptor: int, place: Path) -> None:
    """Say whose lock was left behind, and remove the temporary files of that process."""
    record = _read(descriptor)
    if record is None:
        return
    logs.info(f"`{place}` was left behind by {_describe(record)}, which is gone")
    if record["host"] == socket.gethostname():
        pattern = f".*.{record['pid']}-*.tmp"
        found = place.parent.rglob(pattern) if place.name == ".lock" else place.parent.glob(pattern)
        for path in found:
            path.unlink(missing_ok=True)


def _write_holder(descriptor: int, command: str) -> None:
    record = {
        "command": command,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S%z"),
    }
    with suppress(OSError):  # a full disk: the lock holds without its text
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode() + b"\n", 0)


def _read(descriptor: int) -> dict[str, Any] | None:
    """Return what the holder of a lock wrote into it, or None when that is damaged."""
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("pid"), int):
        return None
    return record if {"command", "host", "since"} <= record.keys() else None


def _describe(record: dict[str, Any]) -> str:
    where = f"pid {record['pid']} on {record['host']}"
    return f"`svtool {record['command']}` ({where}) since {record['since']}"


def _let_go_in_child() -> None:
    """Close the locks in a forked process: it must not hold them beyond the end of its parent."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
