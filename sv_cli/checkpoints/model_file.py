"""A model on disk: one file that holds a network, its front-end and its speakers.

`MODEL` in every command is such a file, an experiment directory, or `DIR:best`, `DIR:final`,
`DIR:epoch:12`. Files are read without executing code.
"""

import hashlib
import math
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sv_cli import __version__
from sv_cli.atomic import atomic_path
from sv_cli.errors import CheckpointError
from sv_cli.features.settings import FrontendSettings, frontend_name
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import build_model, without_initialization
from sv_cli.models.size import refuse_huge
from sv_cli.settings.model import build_settings
from sv_cli.tables.embeddings import ModelInfo

FORMAT = "svtool-model"
FORMAT_VERSION = 1
_FIELDS: dict[str, type] = {
    "version": int,
    "model": str,
    "options": dict,
    "frontend": dict,
    "weights": dict,
    "speakers": list,
    "notes": dict,
}
# Note of how many layers learned by pairs (`models.lora`) that are merged in the weights.
MERGED_PAIRS = "merged_pairs"


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    Attributes
    ----------
    model : str
        Name in the registry.
    options : dict
        Settings of the network that differ from the named builder's.
    frontend : FrontendSettings
        How its features are made.
    weights : dict
        The network's state dict, on the CPU.
    speakers : list of str
        Training speakers in the order of the classes; empty where unknown.
    head : dict
        State dict of the loss that the network was trained with, on the CPU, for fine-tuning;
        empty where unknown. No part of the identity of a model (`hash_model`).
    notes : dict
        Where it comes from: epoch, step, dev EER, origin of imported weights.
    """

    model: str
    options: dict[str, Any]
    frontend: FrontendSettings
    weights: dict[str, Tensor]
    speakers: list[str] = field(default_factory=list)
    head: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def build(self) -> SpeakerEncoder:
        """Return the network with these weights, in eval mode.

        Raises
        ------
        CheckpointError
            When the weights do not fit the network; what is missing or unexpected is named.
        """
        if self.options:
            refuse_huge(self.model, self.options)
        with without_initialization():
            encoder = build_model(self.model, **self.options)
        load_weights(encoder, self.weights, what=f"model `{self.model}`")
        return encoder.eval()

    def loaded(self, path: Path) -> "LoadedModel":
        """Return the network, built and in eval mode on the CPU; `path` is where it came from."""
        encoder = self.build()
        threshold = self.notes.get("threshold")
        return LoadedModel(encoder, self.frontend, self.info(encoder), path, threshold)

    def info(self, encoder: SpeakerEncoder) -> ModelInfo:
        """Return what embedding tables remember of this model."""
        return ModelInfo(
            model_hash=hash_model(self),
            embedding_dim=encoder.embedding_dim,
            sample_rate=self.frontend.sample_rate,
            frontend=frontend_name(self.frontend),
            model=self.model,
        )


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to extract: in eval mode, with its front-end and identity.

    `threshold` is the cosine at or above which its publishers call two voices the same, where they
    say one.
    """

    encoder: SpeakerEncoder
    frontend: FrontendSettings
    info: ModelInfo
    path: Path
    threshold: float | None = None


def save_model(path: str | Path, model: ModelFile) -> None:
    """Write a model file; it appears whole or not at all."""
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "svtool": __version__,
        "model": model.model,
        "options": model.options,
        "frontend": model.frontend.model_dump(mode="json"),
        "weights": {key: value.detach().cpu() for key, value in model.weights.items()},
        "speakers": model.speakers,
        "head": {key: value.detach().cpu() for key, value in model.head.items()},
        "notes": model.notes,
    }
    write_torch_file(path, content)


def read_model(spec: str | Path) -> ModelFile:
    """Read the model file that `spec` names.

    Raises
    ------
    CheckpointError
        When nothing is there, the file is damaged, is not a model of svtool, or would need code
        to be executed.
    """
    path = find_model_file(spec)
    if path.suffix.lower() == ".onnx":
        raise CheckpointError(
            f"`{path}`: an exported graph serves extraction alone",
            hint="give the model that it was exported from",
        )
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"`{path}`: not a model of svtool",
            hint="`svtool import` reads the weights of other projects",
        )
    _check_fields(content, path)
    if content["version"] > FORMAT_VERSION:
        raise CheckpointError(f"`{path}`: written by a newer svtool ({content.get('svtool')})")
    return ModelFile(
        model=content["model"],
        options=content["options"],
        frontend=build_settings(FrontendSettings, content["frontend"], where=str(path)),
        weights=content["weights"],
        speakers=content["speakers"],
        head=content.get("head", {}),  # older files have none
        notes=content["notes"],
    )


def _check_fields(content: dict[str, Any], path: Path) -> None:
    """Raise when a field of a model file is missing or has a wrong type."""
    for name, kind in _FIELDS.items():
        if not isinstance(content.get(name), kind):
            raise CheckpointError(f"`{path}`: field `{name}` is missing or no {kind.__name__}")
    named = [key for name in ("options", "frontend", "weights", "notes") for key in content[name]]
    if not all(isinstance(name, str) for name in (*named, *content["speakers"])):
        raise CheckpointError(f"`{path}`: a name in it is no text")
    for key, tensor in content["weights"].items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(f"`{path}`: weight `{key}` is no plain tensor")
    threshold = content["notes"].get("threshold")
    if threshold is not None and not (
        isinstance(threshold, int | float) and math.isfinite(threshold)
    ):
        raise CheckpointError(f"`{path}`: note `threshold` is no number")


def load_model(spec: str | Path) -> LoadedModel:
    """Return the model that `spec` names, built and in eval mode on the CPU."""
    model = read_model(spec)
    return model.loaded(find_model_file(spec))


def find_model_file(spec: str | Path) -> Path:
    """Return the file that a MODEL argument means.

    A directory means its `best.pt`, else `final.pt`, else its last epoch.
    """
    text = str(spec)
    path = Path(text)
    if path.is_file():
        return path
    if path.is_dir():
        return _choose_in(path)
    folder, _, which = text.partition(":")
    if which and Path(folder).is_dir():
        return _named_in(Path(folder), which)
    raise CheckpointError(f"`{text}`: no such model file or directory")


def write_torch_file(path: str | Path, content: Any) -> None:
    """Write a torch file; it appears whole or not at all, and equal contents as equal bytes.

    Raises
    ------
    SvError
        When it cannot be written, as on a full disk.
    """
    # Through a stream: given a path, torch writes the name of the temporary file into the file.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


def read_torch_file(path: Path) -> Any:
    """Return what a torch file holds, tensors on the CPU, without executing code in it."""
    if path.stat().st_size == 0:
        raise CheckpointError(f"`{path}`: empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error that follows reports the cause
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"`{path}`: refused, reading it would execute code or it is damaged: {reason}"
        ) from error
    except Exception as error:  # the unpickler raises any type for broken bytes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"`{path}`: damaged or not a torch file: {reason}") from error


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], *, what: str) -> None:
    """Load a state dict that must fit exactly; name every key that does not.

    Raises
    ------
    CheckpointError
        Lists missing and unexpected keys and other shapes (first three of each, and the count).
    """
    expected = module.state_dict()
    problems = [
        _say("missing", sorted(expected.keys() - weights.keys())),
        _say("unexpected", sorted(weights.keys() - expected.keys())),
        _say(
            "of another shape",
            [
                f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
                for key in sorted(expected.keys() & weights.keys())
                if weights[key].shape != expected[key].shape
            ],
        ),
    ]
    found = [problem for problem in problems if problem]
    if found:
        raise CheckpointError(f"{what}: weights do not fit: " + "; ".join(found))
    module.load_state_dict(dict(weights))


def hash_model(model: ModelFile) -> str:
    """Return 16 hex digits that change when weights, network or front-end change."""
    digest = hashlib.sha256()
    digest.update(repr((model.model, sorted(model.options.items()))).encode())
    # Without what is as usual: a setting that is added later leaves known models as they are.
    digest.update(model.frontend.model_dump_json(exclude_defaults=True).encode())
    for key in sorted(model.weights):
        tensor = model.weights[key].detach().cpu().contiguous()
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _say(what: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{len(keys)} {what} ({', '.join(keys[:3])}{more})"


def _choose_in(folder: Path) -> Path:
    for name in ("best.pt", "final.pt"):
        if (folder / name).is_file():
            return folder / name
    epochs = sorted(folder.glob("epoch-*.pt"))
    if epochs:
        return epochs[-1]
    raise CheckpointError(
        f"`{folder}`: holds no model (best.pt, final.pt or epoch-*.pt)",
        hint="is the training that writes it finished?",
    )


def _named_in(folder: Path, which: str) -> Path:
    kind, _, number = which.partition(":")
    if kind in ("best", "final") and not number:
        path = folder / f"{kind}.pt"
    elif kind == "epoch" and re.fullmatch("[0-9]{1,9}", number):
        path = folder / f"epoch-{int(number):03d}.pt"
    else:
        raise CheckpointError(f"`{folder}:{which}`: expected `best`, `final` or `epoch:N`")
    if not path.is_file():
        raise CheckpointError(f"`{folder}:{which}`: no such file `{path}`")
    return path
