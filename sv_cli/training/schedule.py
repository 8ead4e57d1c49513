"""The learning rate as a function of the step, and the optimiser over its parameter groups.

Legend: t steps done, N steps an epoch, W steps of warm-up, T all steps, R scale of the batch.

Sources: WeSpeaker's ExponentialDecrease, WarmupLR_withStepDecay and TriAngular2, 3D-Speaker's
WarmupCosineScheduler, the StepLR of TaoRuijie's ECAPA-TDNN and the milestones of speaker-net.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from sv_cli.training.settings import OptimSettings, ScheduleSettings


@dataclass(frozen=True)
class LearningRate:
    """The rate of every step of a run.

    Attributes
    ----------
    settings : ScheduleSettings
    steps_per_epoch, num_steps : int
        N and T.
    batch_total : int
        Utterances a step of all processes together; R is its ratio to `reference_batch`.
    """

    settings: ScheduleSettings
    steps_per_epoch: int
    num_steps: int
    batch_total: int = 0

    @property
    def scale(self) -> float:
        """R: how many times the rates of the settings count."""
        reference = self.settings.reference_batch
        return self.batch_total / reference if reference else 1.0

    def value(self, step: int) -> float:
        """Return the rate of `step` (counted from 0)."""
        settings, scale = self.settings, self.scale
        curve = self._curve(step)
        warmup = settings.warmup_epochs * self.steps_per_epoch
        rise = min(1.0, step / warmup) if warmup > 0 else 1.0
        match settings.warmup_from:
            case "final":
                rate = settings.final_lr + (curve - settings.final_lr) * rise
                return scale * (rate if rise < 1.0 else curve)
            case "unscaled":
                return (1.0 + (scale - 1.0) * rise) * curve
            case "first_step":
                rise = min(1.0, (step + 1) / (warmup + 1))
        return scale * rise * curve

    def _curve(self, step: int) -> float:
        settings = self.settings
        match settings.shape:
            case "constant":
                return settings.lr
            case "exponential":
                share = min(1.0, step / self._end)
                return float(settings.lr * (settings.final_lr / settings.lr) ** share)
            case "cosine":
                return self._cosine(step)
            case "step":
                return settings.lr * float(settings.gamma ** self._num_falls(step))
            case "triangular":
                return self._triangular(step)

    @property
    def _end(self) -> float:
        end = self.settings.end_epoch * self.steps_per_epoch
        return end if end > 0 else self.num_steps

    def _cosine(self, step: int) -> float:
        lr, final_lr = self.settings.lr, self.settings.final_lr
        warmup = self.settings.warmup_epochs * self.steps_per_epoch
        done = (step - warmup) / max(self._end - warmup, 1.0)
        half = 1.0 + math.cos(math.pi * min(max(done, 0.0), 1.0))
        return final_lr + 0.5 * (lr - final_lr) * half

    def _num_falls(self, step: int) -> int:
        settings = self.settings
        if settings.fall_epochs:
            return sum(step >= epoch * self.steps_per_epoch for epoch in settings.fall_epochs)
        since = step - settings.warmup_epochs * self.steps_per_epoch
        return max(0, math.floor(since / (settings.every_epochs * self.steps_per_epoch)))

    def _triangular(self, step: int) -> float:
        """Up from `final_lr` and down again, `every_epochs` each way, half as high every time."""
        lr, low = self.settings.lr, self.settings.final_lr
        flank = self.settings.every_epochs * self.steps_per_epoch
        cycle = math.floor(step / (2.0 * flank))
        height = 1.0 - abs(step / flank - 2.0 * cycle - 1.0)
        return low + (lr - low) * height / 2.0**cycle


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
