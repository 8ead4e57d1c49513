"""Several processes of one command on this machine, by torchrun's own agent."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sv_cli.errors import SvError, TrainingError
from sv_cli.workers import TOLD_FOLDER

_TALKATIVE = "torch.distributed"


class ProcessFailed(SvError):
    """A process that ended by itself with an exit status of the contract; it has said why."""

    def __init__(self, rank: int, status: int) -> None:
        super().__init__(f"process {rank} ended with exit status {status}, see its message above")
        self.status = status  # type: ignore[assignment]


def launch(arguments: Sequence[str], *, num_procs: int, state: Path) -> None:
    """Run `svtool ARGUMENTS` in `num_procs` processes that know of each other, and wait for all.

    SIGTERM is passed on to all of them; a run that saves its state and ends well ends well here.

    Parameters
    ----------
    arguments : sequence of str
    num_procs : int
    state : Path
        What a run saves before it ends well at SIGTERM.

    Raises
    ------
    ProcessFailed
        When a process ended with an error that it has reported; the exit status is passed on.
    TrainingError
        When a process was killed; it is named by its rank.
    KeyboardInterrupt
        At Ctrl-C, and at a SIGTERM that came before anything could be saved.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Seconds before torchrun kills a process it asked to end; saving to a slow disk takes time.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "120")
    # Each has a level of its own, and would speak between our lines of JSON.
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(_TALKATIVE)]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    before = _written(state)
    try:
        with tempfile.TemporaryDirectory(prefix="svtool-train-") as folder:
            config = _make_config(num_procs, folder)
            os.environ[TOLD_FOLDER] = folder
            elastic_launch(config, sys.executable)("-m", "sv_cli", *arguments)
    except ChildFailedError as error:
        raise _explain(error) from None
    except SignalException as stopped:
        if stopped.sigval not in (signal.SIGINT, signal.SIGTERM):
            raise TrainingError(
                f"ended by {stopped.sigval.name}", hint="start again with `--resume`"
            ) from None
        if stopped.sigval == signal.SIGINT or _written(state) == before:
            raise KeyboardInterrupt from None


def _make_config(num_procs: int, log_folder: str) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_procs,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(log_dir=log_folder),
    )


def _written(path: Path) -> int | None:
    """Return when a file was written, None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _explain(error: ChildFailedError) -> SvError:
    rank, failure = error.get_first_failure()
    if failure.exitcode > 0:
        return ProcessFailed(rank, failure.exitcode)
    name = signal.Signals(-failure.exitcode).name
    return TrainingError(
        f"process {rank} (pid {failure.pid}) was killed by {name}",
        hint="start again with `--resume`",
    )
