"""The mean of several models of one run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sv_cli.checkpoints.model_file import MERGED_PAIRS, ModelFile, read_model
from sv_cli.errors import CheckpointError


def last_epochs(folder: str | Path, count: int) -> list[Path]:
    """Return the model files of the last `count` epochs of an experiment directory.

    Raises
    ------
    CheckpointError
        When the directory holds fewer.
    """
    files = sorted(Path(folder).glob("epoch-*.pt"))
    if len(files) < count:
        raise CheckpointError(
            f"`{folder}` holds {len(files)} epochs, {count} asked for",
            hint="keep more of them with `--set engine.keep_last=N` in training",
        )
    return files[-count:]


def average_models(paths: Sequence[str | Path]) -> ModelFile:
    """Return the arithmetic mean of models, batch-norm statistics included.

    Sums are in float64; counters (`num_batches_tracked`) are taken from the last model. The
    classifier heads are averaged too where all models have one of the same classes; otherwise the
    mean has none.

    Raises
    ------
    CheckpointError
        When the models are of another network, size or front-end.
    """
    models = [read_model(path) for path in paths]
    last = models[-1]
    for path, model in zip(paths, models, strict=True):
        if (model.model, model.options, model.frontend) != (
            last.model,
            last.options,
            last.frontend,
        ):
            raise CheckpointError(f"`{path}` is not the same network as `{paths[-1]}`")
    weights = _mean_of_states([model.weights for model in models])
    alike = all(_classes(model) == _classes(last) for model in models)
    head = _mean_of_states([model.head for model in models]) if alike else {}
    kept = {name: value for name, value in last.notes.items() if name == MERGED_PAIRS}
    notes = {"averaged": [str(path) for path in paths], **kept}
    return replace(last, weights=weights, head=head, notes=notes)


def _classes(model: ModelFile) -> tuple[list[str], dict[str, torch.Size]]:
    return model.speakers, {key: value.shape for key, value in model.head.items()}


def _mean_of_states(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {
        key: _mean([state[key] for state in states]) if value.is_floating_point() else value
        for key, value in states[-1].items()
    }


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor in tensors:
        total += tensor
    return (total / len(tensors)).to(tensors[0].dtype)
