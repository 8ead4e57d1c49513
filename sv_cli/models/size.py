"""Bounds on the networks that a model file may ask for, checked before they are built."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from sv_cli.errors import CheckpointError
from sv_cli.models.registry import build_model, without_initialization

MAX_PARAMETERS = 5_000_000_000  # 20 GB in float32; the largest network of the registry has 0.6 e9
_MAX_BLOCKS = 1000  # of a network; the largest of the registry has 151
_MAX_SIZE = 1 << 16
_COUNTS = ("num_blocks", "blocks", "depths", "num_layers")


def refuse_huge(name: str, options: Mapping[str, Any]) -> None:
    """Raise when the network `name` with `options` is too large to be built.

    Raises
    ------
    CheckpointError
        Names the option, or the number of parameters.
    """
    numbers = list(_numbers(options))
    for option, number in numbers:
        if abs(number) > _MAX_SIZE:
            raise CheckpointError(f"model `{name}`: option `{option}` is {number}: too large")
    num_blocks = sum(number for option, number in numbers if option in _COUNTS)
    if num_blocks > _MAX_BLOCKS or len(numbers) > _MAX_BLOCKS:
        raise CheckpointError(f"model `{name}`: its options ask for more than {_MAX_BLOCKS} blocks")
    with torch.device("meta"), without_initialization():  # shapes alone, no memory
        count = sum(weight.numel() for weight in build_model(name, **options).parameters())
    if count > MAX_PARAMETERS:
        raise CheckpointError(f"model `{name}`: {count:.2g} parameters are too many")


def _numbers(values: Any, option: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers in nested options, each with the name nearest to it."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _numbers(value, str(key))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _numbers(value, option)
    elif isinstance(values, int | float):
        yield option, values
