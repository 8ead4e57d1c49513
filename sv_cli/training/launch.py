"""Several processes of one command on this machine, by torchrun's own agent."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sv_cli.errors import SvError, TrainingError


class ProcessFailed(SvError):
    """A process that ended by itself with an exit status of the contract; it has said why."""

    def __init__(self, rank: int, status: int) -> None:
        super().__init__(f"process {rank} ended with exit status {status}, see its message above")
        self.status = status  # type: ignore[assignment]


def launch(arguments: Sequence[str], *, num_procs: int) -> None:
    """Run `svtool ARGUMENTS` in `num_procs` processes that know of each other, and wait for all.

    SIGTERM is passed on to all of them; a run that saves its state and ends well ends well here.

    Raises
    ------
    ProcessFailed
        When a process ended with an error that it has told; the exit status is passed on.
    TrainingError
        When a process was killed; it is named by its rank.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_procs,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "sv_cli", *arguments)
    except ChildFailedError as error:
        raise _explain(error) from None
    except SignalException as stopped:
        if stopped.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None


def _explain(error: ChildFailedError) -> SvError:
    rank, failure = error.get_first_failure()
    if failure.exitcode > 0:
        return ProcessFailed(rank, failure.exitcode)
    name = signal.Signals(-failure.exitcode).name
    return TrainingError(
        f"process {rank} (pid {failure.pid}) was killed by {name}",
        hint="start again with `--resume`",
    )
