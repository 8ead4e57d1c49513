"""Batches ahead of the step that needs them: worker processes, and the time spent waiting."""

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from sv_cli.audio.notices import say_once
from sv_cli.errors import SettingsError, SvError
from sv_cli.sampling.dataset import Batch, EpochBatches
from sv_cli.tables.kaldi.specifier import end_pipes
from sv_cli.workers import num_cores, num_local_processes

# A reading process hands its batches over by a socket, whose name the system limits.
_SOCKET = "/pymp-12345678/listener-12345678"
_LONGEST_NAME = 107
_SHARED = "/dev/shm"
_AHEAD = 4  # batches of a reading process


class TimedLoader:
    """Iterates over batches and remembers how long the caller had to wait for them.

    Attributes
    ----------
    wait_seconds : float
        Time spent in waiting since the start.
    """

    def __init__(self, batches: Iterable[Batch | SvError]) -> None:
        self._batches = batches
        self.wait_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        source = iter(self._batches)
        while True:
            start = time.perf_counter()
            batch = next(source, None)
            self.wait_seconds += time.perf_counter() - start
            if batch is None:
                return
            if isinstance(batch, SvError):
                raise batch
            yield Batch(*map(torch.as_tensor, batch))


class _ToldBatches(Dataset[Batch | SvError]):
    """Batches, or the error raised instead of one.

    What a worker process raises comes out of torch as a traceback in the text of another error.
    """

    def __init__(self, batches: EpochBatches, *, shares: bool) -> None:
        self._batches, self._shares = batches, shares

    def __getitem__(self, step: int) -> Batch | SvError:
        try:
            batch = self._batches[step]
        except SvError as error:
            return error
        # torch hands tensors over through /dev/shm; numpy's arrays go through a pipe.
        arrays: Any = [part.numpy() for part in batch]
        return batch if self._shares else Batch(*arrays)


def load_batches(
    batches: EpochBatches,
    *,
    first_step: int,
    num_workers: int,
    pin_memory: bool,
    timeout_seconds: float = 0.0,
    batch_bytes: int = 0,
) -> TimedLoader:
    """Return the batches of an epoch from `first_step` on, in order, read ahead by workers.

    Where `/dev/shm` has no room for all batches of `batch_bytes` that are read ahead, they go
    through pipes; where it is read-only there are no workers.

    A batch that workers do not bring within `timeout_seconds` (0: however long it takes) is a
    RuntimeError that `errors.explain` puts into words.

    Raises
    ------
    SettingsError
        When the workers find no place for their sockets.
    """
    if num_workers and not _can_start_workers():
        num_workers = 0
    shares = not num_workers or _fits_shared_memory(batch_bytes * (num_workers * _AHEAD + 2))
    steps = range(first_step, len(batches))
    loader: DataLoader[Batch | SvError] = DataLoader(
        _ToldBatches(batches, shares=shares),
        batch_size=None,
        sampler=steps,
        num_workers=num_workers,
        prefetch_factor=_AHEAD if num_workers else None,
        collate_fn=_unchanged,
        pin_memory=pin_memory,
        timeout=timeout_seconds if num_workers else 0.0,
        worker_init_fn=partial(_start_reader, sockets=_socket_folder()) if num_workers else None,
    )
    return TimedLoader(loader)


def _unchanged(batch: Any) -> Any:
    """Return a batch as it is; the usual function makes tensors of arrays."""
    return batch


def _fits_shared_memory(wanted: int) -> bool:
    """Return whether `/dev/shm` has room for `wanted` bytes; say so once where it has not."""
    try:
        status = os.statvfs(_SHARED)
    except OSError:  # a system without it
        return True
    free = status.f_bavail * status.f_frsize // num_local_processes()
    if wanted > free:
        say_once(
            f"`{_SHARED}` has {free >> 20} MiB free of the {wanted >> 20} MiB for batches read "
            "ahead: they go through pipes, which is slower; a container has more by `--shm-size`"
        )
    return wanted <= free


def _can_start_workers() -> bool:
    """Return whether processes can share a lock, which needs a writable `/dev/shm`."""
    try:
        multiprocessing.Lock()
    except OSError as error:
        say_once(
            f"`{_SHARED}`: {error.strerror}: no reading processes can be started, so this process "
            "reads; make it writable, or set `data.num_workers = 0`"
        )
        return False
    return True


def choose_num_workers(asked: int, *, world_size: int) -> int:
    """Return the number of reading processes: as asked, or the spare cores of this process."""
    if asked >= 0:
        return asked
    return max(0, min(8, num_cores() // world_size - 1))


def _socket_folder() -> str | None:
    """Return a folder for sockets where the name of TMPDIR is too long for them."""
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) + len(_SOCKET) <= _LONGEST_NAME:
        return None
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise SettingsError(
        f"TMPDIR `{usual}`: its name is too long for the sockets of reading processes",
        hint="let TMPDIR name a folder nearer to the root, or set `data.num_workers = 0`",
    )


def _start_reader(worker: int, *, sockets: str | None) -> None:
    if sockets is not None:
        tempfile.tempdir = sockets
    torch.set_num_threads(1)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
        threading.Thread(target=_end_on_request, name="end", daemon=True).start()


def _end_on_request() -> None:
    """End at the SIGTERM of the run alone.

    Batch systems and torchrun send it to all processes of a job: a run that still takes its step
    and saves must not lose its readers meanwhile.
    """
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    end_pipes()
    os._exit(0)
