"""Where to compute."""

import os

import torch

from sv_cli.errors import SettingsError


def choose_device(device: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` means for this process.

    Under torchrun each process of a machine takes the GPU of its LOCAL_RANK.

    Raises
    ------
    SettingsError
        When `cuda` is asked for and torch sees none.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise SettingsError("device `cuda` asked for, but torch sees none")
    if device == "cpu" or not has_gpu:
        return torch.device("cpu")
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device("cuda", rank % torch.cuda.device_count())
