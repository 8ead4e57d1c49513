"""The optimiser over its parameter groups."""

import torch
from torch import nn

from sv_cli.training.settings import OptimSettings


def make_optimizer(
    module: nn.Module, settings: OptimSettings, *, lr: float
) -> torch.optim.Optimizer:
    """Return the optimiser; norm weights and biases form a group without decay where asked."""
    groups = _groups(module, settings)
    if settings.name == "sgd":
        nesterov = settings.nesterov and settings.momentum > 0
        return torch.optim.SGD(groups, lr=lr, momentum=settings.momentum, nesterov=nesterov)
    if settings.name == "adam":
        return torch.optim.Adam(groups, lr=lr)
    return torch.optim.AdamW(groups, lr=lr)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def _groups(module: nn.Module, settings: OptimSettings) -> list[dict[str, object]]:
    parameters = list(module.parameters())
    if settings.decay_norm_and_bias:
        return [{"params": parameters, "weight_decay": settings.weight_decay}]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
