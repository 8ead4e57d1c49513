"""One process at a time for each output: a lock file beside it, which dies with its process."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from sv_cli import logs
from sv_cli.errors import SvError
from sv_cli.workers import torchrun_rank

_held: set[int] = set()


def lock_folder(folder: str | Path, *, command: str) -> AbstractContextManager[None]:
    """Hold `FOLDER/.lock`; of the processes of torchrun the first holds it for all.

    Raises
    ------
    SvError
        When another process holds it: who, and since when.
    """
    return _lock(Path(folder) / ".lock", str(folder), command)


def lock_file(path: str | Path, *, command: str) -> AbstractContextManager[None]:
    """Hold `.NAME.lock` beside a file; see `lock_folder`."""
    path = Path(path)
    return _lock(path.with_name(f".{path.name}.lock"), str(path), command)


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
    """Return the descriptor of a locked file that stands at `place`."""
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        _held.add(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, place):
                return descriptor
        except BlockingIOError:
            holder = _holder(descriptor) or "another process"
            _release(descriptor)
            raise SvError(
                f"`{output}` is being written by {holder}",
                hint=f"wait until it ends; its lock `{place}` ends with it, also when it is killed",
            ) from None
        except OSError:
            _release(descriptor)
            raise
        _release(descriptor)  # its holder removed it between our opening and our locking


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
    before = _holder(descriptor)
    if not before:
        return
    logs.info(f"`{place}` was left behind by {before}, which is gone")
    record = json.loads(os.pread(descriptor, 4096, 0))
    if record["host"] == socket.gethostname():
        pattern = f".*.{int(record['pid'])}-*.tmp"
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


def _holder(descriptor: int) -> str:
    """Return who wrote a lock, in words; nothing when that cannot be read."""
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        where = f"pid {record['pid']} on {record['host']}"
        return f"`svtool {record['command']}` ({where}) since {record['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _let_go_in_child() -> None:
    """Close the locks in a forked process: it must not hold them beyond the end of its parent."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
