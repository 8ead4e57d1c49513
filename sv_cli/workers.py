"""Processes that share the work of one command."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from hashlib import sha256
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from sv_cli.errors import SvError

# Folder in which the processes of one command mark the messages that were printed.
TOLD_FOLDER = "SVTOOL_TOLD_FOLDER"
_WATCH_SECONDS = 1.0
_POLL_SECONDS = 0.01
Result = TypeVar("Result")


def torchrun_rank() -> tuple[int, int]:
    """Return the rank of this process and their number; (0, 1) outside torchrun."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def is_first_to_tell(message: str) -> bool:
    """Return whether no process of one command has printed this message yet."""
    folder = os.environ.get(TOLD_FOLDER)
    if folder is None:
        return True
    place = Path(folder, sha256(message.encode("utf-8", "surrogateescape")).hexdigest())
    try:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    except OSError:  # rather twice than not at all
        return True
    return True


def num_local_processes() -> int:
    """Return how many processes of torchrun share this machine; 1 outside torchrun."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def num_cores() -> int:
    """Return how many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def map_in_workers(
    function: Callable[..., Result],
    tasks: Iterable[tuple[Any, ...]],
    *,
    num_procs: int,
    start: Callable[..., None],
    start_args: tuple[Any, ...] = (),
) -> Generator[Result, None, None]:
    """Yield `function(*task)` of every task in order, computed by `num_procs` new processes.

    Closing the generator ends the processes, and so does the end of this one.

    Parameters
    ----------
    function, start : callable
        Of a module, so that they can be sent; `start(*start_args)` runs once in each process.
    tasks : iterable of tuple
        All are sent at once.
    num_procs : int

    Raises
    ------
    SvError
        When a process dies.
    """
    others = set(multiprocessing.active_children())
    try:
        pool = ProcessPoolExecutor(
            num_procs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(os.getpid(), start, start_args),
        )
    except OSError as error:
        raise SvError(
            f"cannot start worker processes: {error.strerror or error}",
            hint="they need a writable `/dev/shm`; `--num-procs 1` works without",
        ) from error
    try:
        futures = [pool.submit(function, *task) for task in tasks]
        for future in futures:
            yield future.result()
    except BrokenProcessPool as error:
        hint = "the machine may be out of memory: fewer `--num-procs`; `--resume` goes on from here"
        # Among the active children one that was killed at its very start is not to be found.
        workers: dict[int, BaseProcess] = getattr(pool, "_processes", None) or {}
        dead = _name_dead(workers.values())
        raise SvError(f"a worker process {dead}", hint=hint) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        pool.shutdown(wait=True)


def _name_dead(workers: Collection[BaseProcess]) -> str:
    """Return how a worker ended, in words; the pool ends the others by SIGTERM."""
    # The pool's own thread may have waited for a process and not yet noted how it ended.
    deadline = time.monotonic() + _WATCH_SECONDS
    while any(worker.exitcode is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    ends = [(worker.pid, code) for worker in workers if (code := worker.exitcode)]
    ends.sort(key=lambda end: end[1] == -signal.SIGTERM)
    if not ends:
        return "died"
    pid, code = ends[0]
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return f"(pid {pid}) {how}"


def _start_worker(parent: int, start: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Leave Ctrl-C and hang-ups to the parent; without a parent there is an end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_without, args=(parent,), daemon=True).start()
    start(*args)


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
