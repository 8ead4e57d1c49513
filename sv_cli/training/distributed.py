"""One process or many: start, ranks, reduction, end; nothing else knows about ranks.

Processes are started by torchrun (`torchrun --nproc-per-node 4 -m sv_cli train ...`); without it
there is one process and every function here does nothing or the obvious.
"""

import datetime
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sv_cli.errors import SettingsError, TrainingError
from sv_cli.extraction.device import choose_device
from sv_cli.training.heartbeat import Heartbeat


@dataclass(frozen=True)
class World:
    """One process among all.

    Attributes
    ----------
    rank, size : int
        Number of this process and of all.
    device : torch.device
        Where it computes.
    machine, local_rank : int
        Number of its machine among all, and of this process among those of the machine.
    """

    rank: int
    size: int
    device: torch.device
    machine: int = 0
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Return whether this process writes files and speaks."""
        return self.rank == 0


def was_launched() -> bool:
    """Return whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def join_world(device: str, *, timeout_seconds: float) -> Iterator[World]:
    """Join the other processes (NCCL on GPUs, gloo on CPUs) for the length of the block.

    Raises
    ------
    TrainingError
        When another process dies or does not answer within `timeout_seconds`.
    """
    chosen = choose_device(device)
    if not was_launched():
        yield World(0, 1, chosen)
        return
    import torch.distributed as dist

    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group(
        "nccl" if chosen.type == "cuda" else "gloo",
        timeout=datetime.timedelta(seconds=timeout_seconds),
    )
    world = World(dist.get_rank(), dist.get_world_size(), chosen, *_place(dist.get_rank()))
    heartbeat = _start_heartbeat(world)
    try:
        yield world
    except RuntimeError as error:
        silent = heartbeat.find_silent()
        if silent or _is_lost_peer(error):
            raise _explain_loss(error, world, silent) from error
        raise
    finally:
        heartbeat.stop()
        with suppress(RuntimeError):  # the error that ended the block is the one to report
            dist.destroy_process_group()


def _place(rank: int) -> tuple[int, int]:
    """Return machine and local rank; without either, the process counts as its own machine."""
    ranks = [os.environ.get(name) for name in ("GROUP_RANK", "LOCAL_RANK")]
    if ranks[0] is None or ranks[1] is None:
        return rank, 0
    return int(ranks[0]), int(ranks[1])


def _start_heartbeat(world: World) -> Heartbeat:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, timeout=datetime.timedelta(seconds=30))
    heartbeat = Heartbeat(store, rank=world.rank, size=world.size)
    heartbeat.start()
    return heartbeat


def _explain_loss(error: RuntimeError, world: World, silent: list[int]) -> TrainingError:
    lost = " and ".join(f"process {rank}" for rank in silent)
    reason = str(error).splitlines()[0]
    return TrainingError(
        f"process {world.rank} of {world.size} lost {lost or 'another one that still runs'}: "
        f"{reason}",
        hint="start again on all machines with `--resume`",
    )


def wrap(module: nn.Module, world: World) -> nn.Module:
    """Return the module with its gradients averaged over all processes."""
    if world.size == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    ids = [world.device.index] if world.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True)


def hold_back(network: nn.Module, world: World) -> AbstractContextManager[None]:
    """Return the context in which gradients are added up without an exchange."""
    if world.size == 1:
        return nullcontext()
    held: AbstractContextManager[None] = network.no_sync()  # type: ignore[operator]
    return held


def share_batchnorm(module: nn.Module, world: World) -> nn.Module:
    """Return the module with batch statistics over all processes.

    Raises
    ------
    SettingsError
        On CPUs, for which torch has none.
    """
    if world.device.type == "cpu":
        raise SettingsError(
            "`engine.sync_batchnorm`: batch statistics are shared between GPUs only",
            hint="leave it out, or train with a larger `batch_size`",
        )
    if world.size == 1:
        return module
    shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return shared


def mean_over_world(values: Tensor, world: World) -> Tensor:
    """Return the mean of a small tensor over all processes."""
    if world.size == 1:
        return values
    import torch.distributed as dist

    total = values.clone()
    dist.all_reduce(total)
    return total / world.size


def share_buffers(module: nn.Module, world: World) -> None:
    """Give every process the buffers of the first, whose batch statistics are those that count."""
    if world.size == 1:
        return
    import torch.distributed as dist

    for buffer in module.buffers():
        dist.broadcast(buffer, src=0)


def any_over_world(flag: bool, world: World) -> bool:
    """Return whether any process raised the flag; all processes get the same answer."""
    if world.size == 1:
        return flag
    return bool(mean_over_world(torch.tensor(float(flag), device=world.device), world) > 0)


def gather_objects(item: Any, world: World) -> list[Any]:
    """Return what every process passed in, by rank, on all of them."""
    if world.size == 1:
        return [item]
    import torch.distributed as dist

    items: list[Any] = [None] * world.size
    dist.all_gather_object(items, item)
    return items


def _is_lost_peer(error: RuntimeError) -> bool:
    words = (
        "Connection closed by peer",
        "Connection reset",
        "timed out",
        "Timed out",
        "gloo",
        "NCCL",
    )
    return any(word in str(error) for word in words)
