"""Which arithmetic pays on this device: bf16 autocast and channels_last, or plain float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from sv_cli.extraction.precision import gains_by_bf16


def choose_precision(asked: str, device: torch.device) -> Literal["fp32", "bf16"]:
    """Return `bf16` where asked, or where `auto` finds hardware that multiplies bf16."""
    if asked == "fp32":
        return "fp32"
    return "bf16" if asked == "bf16" or gains_by_bf16(device) else "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the forward pass runs."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
