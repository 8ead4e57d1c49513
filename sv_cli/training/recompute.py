"""Less memory for more arithmetic: what is inside a block is computed again for its gradients."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(network: nn.Module) -> int:
    """Let every block of `network` keep its input only, and return how many there are.

    A block is an entry of the outermost lists and sequences of the network. Its state-dict keys
    stay as they are, and so do its results: dropout draws the same numbers again, and batch-norm
    statistics are counted once.

    Source
    ------
    Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
    """
    blocks = list(_blocks(network))
    for block in blocks:
        _recompute(block)
    return len(blocks)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential | nn.ModuleList):
        yield from (child for child in module if _is_heavy(child))
        return
    for child in module.children():
        yield from _blocks(child)


def _is_heavy(module: nn.Module) -> bool:
    return any(True for _ in module.children()) and any(True for _ in module.parameters())


def _recompute(block: nn.Module) -> None:
    # Another class, not another attribute: copies of the network must run their own weights.
    kind = type(block)
    block.__class__ = type(kind.__name__, (_Recomputed, kind), {})


class _Recomputed(nn.Module):
    """What is laid over the class of a block."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the block; keep nothing but the inputs where gradients are wanted."""
        run = super().forward
        if not (self.training and torch.is_grad_enabled()):
            return run(*inputs, **named)
        pair = lambda: (nullcontext(), _without_counting(self))  # noqa: E731
        return checkpoint(run, *inputs, use_reentrant=False, context_fn=pair, **named)


@contextmanager
def _without_counting(block: nn.Module) -> Iterator[None]:
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # Statistics that move by nothing; without them other tensors would be kept than before.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
