"""The optimiser over its parameter groups."""

import torch
from torch import nn

from sv_cli.training.settings import OptimSettings


def make_optimizer(
    module: nn.Module, settings: OptimSettings, *, lr: float
) -> torch.optim.Optimizer:
    """Return the optimiser; see `OptimSettings` for the weight decay of its groups."""
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
    groups: dict[str, tuple[float, list[nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        kind, decay = "network", settings.weight_decay
        if not settings.decay_norm_and_bias and parameter.ndim <= 1:
            kind, decay = "norm_and_bias", 0.0
        elif settings.head_decay != 1.0 and name.startswith("head."):
            kind, decay = "head", decay * settings.head_decay
        groups.setdefault(kind, (decay, []))[1].append(parameter)
    return [{"params": found, "weight_decay": decay} for decay, found in groups.values()]
