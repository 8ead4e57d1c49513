"""Read a foreign weight file: open containers, strip prefixes, set aside what is no network.

Nothing in the file is executed. Keys keep the project's own names.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sv_cli.checkpoints.foreign.classifier import PARTS as CLASSIFIERS
from sv_cli.checkpoints.model_file import FORMAT, read_torch_file
from sv_cli.errors import CheckpointError, name_some

# Where training scripts keep the state dict of the network, the wanted one first.
CONTAINERS = (
    "teacher", "state_dict", "model_state_dict", "model", "embedding_model", "encoder", "net",
    "weights",
)  # fmt: skip
PREFIXES = (
    "module.", "_orig_mod.", "speaker_encoder.", "__S__.", "embedding_model.", "speaker_model.",
    "encoder.", "model.", "net.", "backbone.",
)  # fmt: skip
# Front-ends that hold windows and filters but nothing learned.
FRONTEND_BUFFERS = ("torchfbank", "extract_fbank")
# Constants of a built-in front-end, which are compared with ours.
_CHECKED_BUFFER = re.compile(r"(?:module\.|backbone\.)*(frontend\.)?(spec\..+)")
# A self-supervised network next to heads of other tasks, and the embedding of masked steps.
SSL_PREFIXES = ("wavlm.", "wav2vec2_bert.")
MASKS = ("mask_emb", "masked_spec_embed")
# Where 3D-Speaker and SpeechBrain keep the classifier: a second file next to the network's.
NETWORK_FILE, CLASSIFIER_FILE = "embedding_model.ckpt", "classifier.ckpt"
SELF_SUPERVISED = "backbone."  # next to a `head.*` that is no part of the embedding
# What a user may name when the weights lie in a directory.
USUAL_FILES = (
    "avg_model.pt", "embedding_model.ckpt", "encoder.ckpt", "pretrain.model", "model.safetensors",
    "pytorch_model.bin",
)  # fmt: skip


@dataclass(frozen=True)
class ForeignWeights:
    """The tensors of a network under its project's keys, and what was next to them.

    Attributes
    ----------
    path : Path
        The file.
    tensors : dict
        Key without prefixes -> tensor.
    dropped : dict
        First part of the keys left out -> how many tensors.
    stripped : tuple of str
        Containers and prefixes that were opened, outermost first.
    config : dict or None
        `model_config` next to the state dict.
    buffers : dict
        Constants of a built-in front-end, `spec.*`, that were left out.
    classifier : dict
        The keys of a classifier among those left out, or of the file next to this one -> value.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    dropped: Mapping[str, int]
    stripped: tuple[str, ...]
    config: Mapping[str, Any] | None = None
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    classifier: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Key -> shape."""
        return {key: tuple(value.shape) for key, value in self.tensors.items()}

    @property
    def is_self_supervised(self) -> bool:
        """Whether the file is a teacher without labels, of 3D-Speaker."""
        return "teacher" in self.stripped or SELF_SUPERVISED in self.stripped


def read_weights(path: str | Path) -> ForeignWeights:
    """Return the network's tensors of a torch or safetensors file, or of a directory's usual file.

    Raises
    ------
    CheckpointError
        When there is no such file, it is damaged, would execute code, or holds no state dict.
    """
    path = find_weights(Path(path))
    content = _read(path)
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        raise CheckpointError(
            f"`{path}`: is a model of svtool already", hint="give it where a MODEL is asked for"
        )
    state, opened = _open_containers(path, content)
    config = content.get("model_config") if opened else None
    state, buffers, found = _take_buffers(state)
    state, left_out, prefixes = _strip(state)
    if not state:
        raise CheckpointError(f"`{path}`: holds no weights of a network")
    _check_tensors(path, {**state, **buffers})
    classifier = {key: value for key, value in left_out.items() if _first(key) in CLASSIFIERS}
    return ForeignWeights(
        path,
        state,
        {**Counter(map(_first, left_out)), **found},
        (*opened, *prefixes),
        config if isinstance(config, Mapping) else None,
        buffers,
        classifier or _read_classifier(path),
    )


def _read_classifier(path: Path) -> dict[str, Any]:
    """Return the tensors of the classifier file next to a network's file; empty where none is."""
    classifier = path.with_name(CLASSIFIER_FILE)
    if path.name != NETWORK_FILE or not classifier.is_file():
        return {}
    state, _ = _open_containers(classifier, _read(classifier))
    return {f"classifier.{key.removeprefix('module.')}": value for key, value in state.items()}


def find_weights(path: Path) -> Path:
    """Return the weight file that a path means: itself, or the usual one in a directory."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(f"`{path}`: no such file or directory")
    found = [path / name for name in USUAL_FILES if (path / name).is_file()]
    if len(found) != 1:
        what = f"several weight files ({name_some(p.name for p in found)})" if found else "none of "
        what += "" if found else name_some(USUAL_FILES)
        raise CheckpointError(f"`{path}`: holds {what}", hint="name the file itself")
    return found[0]


def _read(path: Path) -> Any:
    if path.suffix != ".safetensors":
        return _read_torch(path)
    if path.stat().st_size == 0:
        raise CheckpointError(f"`{path}`: empty file")
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        hint = "pip install 'svtool[hub]'"
        raise CheckpointError(f"`{path}`: needs the package safetensors", hint=hint) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"`{path}`: damaged: {str(error).splitlines()[0]}") from error


def _read_torch(path: Path) -> Any:
    try:
        return read_torch_file(path)
    except CheckpointError:
        raise
    except Exception as error:  # bytes that are no pickle break its reader in any way
        raise CheckpointError(
            f"`{path}`: damaged or not a torch file: {type(error).__name__}"
        ) from error


def _open_containers(path: Path, content: Any) -> tuple[dict[str, Any], list[str]]:
    """Go down to the dictionary of tensors; also return the names passed on the way."""
    opened: list[str] = []
    while isinstance(content, Mapping):
        if any(isinstance(value, Tensor) for value in content.values()):
            return dict(content), opened
        inner = [name for name in CONTAINERS if isinstance(content.get(name), Mapping)]
        if not inner:
            keys = name_some(map(str, content)) if content else "nothing"
            raise CheckpointError(f"`{path}`: holds no state dict, but {keys}")
        opened.append(inner[0])
        content = content[inner[0]]
    raise CheckpointError(f"`{path}`: holds no state dict, but a {type(content).__name__}")


def _take_buffers(
    state: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Return the state without the constants of a front-end, those, and what was left out."""
    kept: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    found: Counter[str] = Counter()
    for key, value in state.items():
        match = _CHECKED_BUFFER.fullmatch(key)
        if match is None:
            kept[key] = value
        else:
            buffers[match[2]] = value
            found["frontend" if match[1] else "spec"] += 1
    return kept, buffers, dict(found)


def _strip(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Leave out what is no network, and prefixes that all other keys have.

    Returns the network's keys, those left out, and the prefixes.
    """
    left_out: dict[str, Any] = {}
    stripped: list[str] = []
    while True:
        state = _drop(state, left_out, (*CLASSIFIERS, *FRONTEND_BUFFERS, *MASKS))
        if stripped and stripped[-1] == SELF_SUPERVISED:
            return state, left_out, stripped
        prefix = _shared_prefix(state)
        if prefix is None:
            return state, left_out, stripped
        if prefix == SELF_SUPERVISED:
            state = _drop(state, left_out, ("head",))
        if prefix in SSL_PREFIXES:
            heads = {key.split(".", 1)[0] for key in state if not key.startswith(prefix)}
            state = _drop(state, left_out, tuple(heads))
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        stripped.append(prefix)


def _drop(
    state: dict[str, Any], left_out: dict[str, Any], parts: tuple[str, ...]
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in state.items():
        target = left_out if _first(key) in parts else kept
        target[key] = value
    return kept


def _first(key: str) -> str:
    return key.split(".", 1)[0]


def _shared_prefix(state: dict[str, Any]) -> str | None:
    for prefix in SSL_PREFIXES:
        if any(key.startswith(prefix) for key in state):
            return prefix
    for prefix in PREFIXES:
        others = [key for key in state if not key.startswith(prefix)]
        if prefix == SELF_SUPERVISED:
            others = [key for key in others if not key.startswith("head.")]
        if state and not others:
            return prefix
    return None


def _check_tensors(path: Path, state: Mapping[str, Any]) -> None:
    strange = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"`{path}`: no tensors: {name_some(strange)}")
    broken = [
        key
        for key, value in state.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if broken:
        raise CheckpointError(f"`{path}`: not finite: {name_some(broken)}")
