"""The full state of a training run in one file, written whole, read without executing code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sv_cli.atomic import atomic_path
from sv_cli.checkpoints.model_file import read_torch_file
from sv_cli.errors import CheckpointError

FORMAT = "svtool-training-state"
FORMAT_VERSION = 1


@dataclass
class TrainingState:
    """Everything that a run needs to go on as if it had not been stopped.

    Attributes
    ----------
    step : int
        Steps done since the start; the position in the data follows from it.
    encoder, head, optimizer : dict
        Their state dicts.
    settings : dict
        Settings of the run.
    speakers : list of str
        Speakers in the order of the classes.
    best_eer : float or None
        Lowest dev EER so far, in percent.
    world_size : int
        Processes that wrote it.
    """

    step: int
    encoder: dict[str, Any]
    head: dict[str, Any]
    optimizer: dict[str, Any]
    settings: dict[str, Any]
    speakers: list[str]
    best_eer: float | None
    world_size: int


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state; the file before it stays until the new one is whole."""
    content = {"format": FORMAT, "version": FORMAT_VERSION, **vars(state)}
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_state(path: Path) -> TrainingState:
    """Read a state.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise CheckpointError(f"`{path}`: no training state to resume from")
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise CheckpointError(f"`{path}`: not a training state of svtool")
    if content.pop("version") > FORMAT_VERSION:
        raise CheckpointError(f"`{path}`: written by a newer svtool")
    return TrainingState(**content)
