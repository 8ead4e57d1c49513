"""The learning rate as a function of the step."""

import math

from sv_cli.training.settings import ScheduleSettings


def learning_rate(
    step: int, settings: ScheduleSettings, *, steps_per_epoch: int, num_steps: int
) -> float:
    """Return the rate of `step` (counted from 0).

    Linear rise from zero over the warm-up times the curve: `exponential` falls as
    lr (final_lr / lr)^(step / num_steps) from the first step on (WeSpeaker's
    ExponentialDecrease); `cosine` falls by half a cosine after the warm-up.
    """
    warmup = settings.warmup_epochs * steps_per_epoch
    rise = min(1.0, step / warmup) if warmup > 0 else 1.0
    return rise * _curve(step, settings, warmup=warmup, num_steps=num_steps)


def _curve(step: int, settings: ScheduleSettings, *, warmup: float, num_steps: int) -> float:
    lr, final_lr = settings.lr, settings.final_lr
    if settings.shape == "constant":
        return lr
    if settings.shape == "exponential":
        return float(lr * (final_lr / lr) ** (step / num_steps))
    done = (step - warmup) / max(num_steps - warmup, 1.0)
    return final_lr + 0.5 * (lr - final_lr) * (1.0 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
