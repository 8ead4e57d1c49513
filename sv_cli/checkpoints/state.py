"""The full state of a training run in one file, written whole, read without executing code."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sv_cli.checkpoints.model_file import read_torch_file, write_torch_file
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
    weight_mean : dict or None
        State dict of the running mean of the weights.
    scaler : dict
        State of the scaling of fp16 gradients; empty at other precisions.
    epoch_is_closed : bool
        Whether the epoch that ends with this step, if one does, was validated and kept.
    steps_per_epoch : int
        Steps an epoch; 0 where an older state lacks it.
    data : str
        Fingerprint of the training data; empty where an older state lacks it.
    """

    step: int
    encoder: dict[str, Any]
    head: dict[str, Any]
    optimizer: dict[str, Any]
    settings: dict[str, Any]
    speakers: list[str]
    best_eer: float | None
    world_size: int
    weight_mean: dict[str, Any] | None = None
    scaler: dict[str, Any] = field(default_factory=dict)
    epoch_is_closed: bool = True
    steps_per_epoch: int = 0
    data: str = ""


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state; the file before it stays until the new one is whole."""
    content = {"format": FORMAT, "version": FORMAT_VERSION, **vars(state)}
    write_torch_file(path, content)


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
