"""Which arithmetic pays on this device: bf16 autocast and channels_last, or plain float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from sv_cli.errors import SettingsError
from sv_cli.extraction.precision import gains_by_bf16

Precision = Literal["fp32", "bf16", "fp16"]
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(asked: str, device: torch.device) -> Precision:
    """Return the precision asked for; `auto` is `bf16` on hardware that multiplies it.

    Raises
    ------
    SettingsError
        For fp16 on a CPU, which computes it slower than float32 and without need.
    """
    if asked == "fp16":
        if device.type == "cpu":
            raise SettingsError(
                "`engine.precision`: fp16 needs a GPU", hint="bf16 is for CPUs; `auto` chooses"
            )
        return "fp16"
    if asked == "fp32":
        return "fp32"
    return "bf16" if asked == "bf16" or gains_by_bf16(device) else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the forward pass runs."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[precision])


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps fp16 gradients from vanishing; it does nothing at other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
