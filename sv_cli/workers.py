"""Processes that share the work of one command."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from sv_cli.errors import SvError

_WATCH_SECONDS = 1.0
Result = TypeVar("Result")


def torchrun_rank() -> tuple[int, int]:
    """Return the rank of this process and their number; (0, 1) outside torchrun."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


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
    pool = ProcessPoolExecutor(
        num_procs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(os.getpid(), start, start_args),
    )
    try:
        futures = [pool.submit(function, *task) for task in tasks]
        for future in futures:
            yield future.result()
    except BrokenProcessPool as error:
        hint = "the machine may be out of memory: fewer `--num-procs`; `--resume` goes on from here"
        raise SvError("a worker process died", hint=hint) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        pool.shutdown(wait=True)


def _start_worker(parent: int, start: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Leave Ctrl-C to the parent; without a parent there is an end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_without, args=(parent,), daemon=True).start()
    start(*args)


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
