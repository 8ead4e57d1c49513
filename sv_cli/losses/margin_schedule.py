"""Margin and its annealing as functions of the step; free of torch, nothing to save."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AnnealingSchedule:
    """λ of a margin that is blended in: 1 / (1 + λ) of it counts.

    Attributes
    ----------
    start_step : int
        Step at which λ begins to fall.
    base, gamma, power, floor : float
        λ = max(floor, base (1 + gamma p)^-power), p steps after the start.

    Source
    ------
    speaker-net (its values are the defaults), after Liu et al., CVPR 2017.
    """

    start_step: int = 0
    base: float = 1000.0
    gamma: float = 1e-4
    power: float = 5.0
    floor: float = 0.0

    def value(self, step: int) -> float:
        """Return λ at a step (counted from 0)."""
        passed = max(0, step - self.start_step)
        share: float = (1.0 + self.gamma * passed) ** -self.power
        return max(self.floor, self.base * share)


@dataclass(frozen=True)
class MarginSchedule:
    """Margin that rises from `initial` to `final` between two steps.

    Attributes
    ----------
    initial, final : float
        Margin before and after.
    start_step, end_step : int
        First step of the rise, first step at the final margin. In WeSpeaker's and 3D-Speaker's
        words N (increase_start_epoch - 1) and N (fix_start_epoch - 1), N steps an epoch.
    shape : "exponential", "linear" or "annealed"
        Exponential: 1 - 0.001^p of the way at a share p of the steps, so half of the rise is
        done after a tenth of them and 0.1 % is left for the last step. Annealed: 1 / (1 + λ) of
        the way, λ of `AnnealingSchedule`, for any `end_step`.

    Source
    ------
    WeSpeaker and 3D-Speaker, MarginScheduler; the constant is theirs. Annealed: speaker-net.
    """

    initial: float
    final: float
    start_step: int
    end_step: int
    shape: Literal["exponential", "linear", "annealed"] = "exponential"

    def value(self, step: int) -> float:
        """Return the margin at a step (counted from 0)."""
        if step >= self.end_step:
            return self.final
        if step < self.start_step:
            return self.initial
        return self.initial + (self.final - self.initial) * self._done(step)

    def _done(self, step: int) -> float:
        if self.shape == "annealed":
            return 1.0 / (1.0 + AnnealingSchedule(self.start_step).value(step))
        share = (step - self.start_step) / (self.end_step - self.start_step)
        return share if self.shape == "linear" else 1.0 - (1e-3 / (1.0 + 1e-6)) ** share
