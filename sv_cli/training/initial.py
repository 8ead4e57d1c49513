"""Weights to start from: a model's network, and the rows of the classes that are known by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sv_cli.checkpoints.model_file import MERGED_PAIRS, find_model_file, load_weights, read_model
from sv_cli.checkpoints.state import load_state
from sv_cli.errors import CheckpointError, SettingsError
from sv_cli.features.settings import FRONTENDS, FrontendSettings, find_frontend
from sv_cli.models.lora import count_pairs, is_pair, without_pairs
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import MODELS, find_model
from sv_cli.sampling.labels import rows_by_name
from sv_cli.training.learner import Learner

STATE = "state.pt"
SSL = "ssl."


@dataclass(frozen=True)
class Source:
    """What a run may start from.

    Attributes
    ----------
    path : Path
    model : str
        Name of its network.
    options : dict
        Settings of the network.
    encoder : dict
        State dict of the network.
    head : dict
        State dict of the loss; empty where unknown.
    speakers : list of str
        Classes in the order of the rows of the head.
    frontend : dict
        The settings `frontend` and `frontend_options` of a run that uses the same one.
    merged_pairs : int
        Layers whose LoRA is merged in the weights.
    """

    path: Path
    model: str
    options: dict[str, Any]
    encoder: dict[str, Tensor]
    head: dict[str, Tensor] = field(default_factory=dict)
    speakers: list[str] = field(default_factory=list)
    frontend: dict[str, Any] = field(default_factory=dict)
    merged_pairs: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a run of the same network and front-end."""
        return {"model": self.model, "model_options": self.options, **self.frontend}


def read_source(spec: str) -> Source:
    """Return the model that `spec` names, and the classifier head that belongs to it.

    `spec` is a MODEL as in every command, or the `state.pt` of a run. The head is the one in the
    model file. A file without a head takes that of a `state.pt` next to it with the same speakers.

    Raises
    ------
    CheckpointError
        When nothing is there, or it is not a model or state of svtool.
    """
    if Path(spec).name == STATE:
        return _from_state(Path(spec))
    path = find_model_file(spec)
    model = read_model(path)
    head = model.head
    state_path = path.parent / STATE
    if not head and state_path.is_file():
        state = load_state(state_path)
        if state.speakers == model.speakers:
            head = state.head
    return Source(
        path=path,
        model=model.model,
        options=model.options,
        encoder=model.weights,
        head=head,
        speakers=model.speakers,
        frontend=_name_frontend(model.model, model.frontend),
        merged_pairs=model.notes.get(MERGED_PAIRS, 0),
    )


def check_apart(spec: str, exp_dir: str | Path) -> None:
    """Refuse to start in the very directory of the source, whose files would be replaced.

    Raises
    ------
    SettingsError
        When the source is in the experiment directory.
    """
    path = Path(spec)
    if not path.exists():
        path = Path(spec.partition(":")[0])
    folder = path if path.is_dir() else path.parent
    if folder.resolve() == Path(exp_dir).resolve():
        raise SettingsError(
            f"`--init {spec}` is in the experiment directory that this run writes",
            hint="give another `--exp-dir`",
        )


def _from_state(path: Path) -> Source:
    state = load_state(path)
    names = ("frontend", "frontend_options")
    learned = state.weight_mean or state.encoder
    options, weights = without_pairs(state.settings["model_options"], learned)
    return Source(
        path=path,
        model=find_model(state.settings["model"]),
        options=options,
        encoder=weights,
        head=state.head,
        speakers=state.speakers,
        frontend={name: state.settings[name] for name in names},
        merged_pairs=count_pairs(learned),
    )


def _name_frontend(model: str, frontend: FrontendSettings) -> dict[str, Any]:
    """Return the settings that lead to a front-end: a name, and what differs from it."""
    usual = MODELS[find_model(model)].frontend
    names = [usual, *(name for name in FRONTENDS if name != usual)]
    same = next((name for name in names if find_frontend(name) == frontend), usual)
    known = find_frontend(same).model_dump(mode="json")
    values = frontend.model_dump(mode="json")
    changed = {name: value for name, value in values.items() if value != known[name]}
    return {"frontend": same, "frontend_options": changed}


def start_from(
    source: Source,
    learner: Learner,
    speakers: Sequence[str],
    *,
    head: bool | Literal["order"] = True,
) -> str:
    """Load what fits of `source` and return in one line what was loaded and what is random.

    Parameters
    ----------
    source : Source
    learner : Learner
        Freshly built.
    speakers : sequence of str
        Its classes.
    head : bool or "order"
        Whether rows of classes are taken: those of the same name, or all in their order.

    Raises
    ------
    CheckpointError
        When the network is another one; the keys that differ are named.
    SettingsError
        When rows cannot be taken in their order.
    """
    parts = [load_encoder(source, learner.encoder)]
    if learner.mean is not None:
        learner.mean.restart()
    if head == "order":
        parts.append(load_rows(source, learner))
    elif not head:
        parts.append("head at random, as asked")
    elif not source.head:
        parts.append("head at random, the source has none")
    elif not source.speakers:
        parts.append(
            "head at random, the source has one without names of classes (`svtool import --spk2id` "
            "names them, `--set init.head=order` takes its rows in their order)"
        )
    else:
        parts.append(load_classes(source, learner, speakers))
    return f"started from `{source.path}` ({source.model}): " + "; ".join(parts)


def load_encoder(source: Source, encoder: SpeakerEncoder) -> str:
    """Load the network, or the self-supervised front-end that the source consists of."""
    expected = encoder.state_dict()
    fresh = {key: value for key, value in expected.items() if is_pair(key)}
    bare = {key.removeprefix(SSL): value for key, value in source.encoder.items()
            if key.startswith(SSL)}  # fmt: skip
    rest = source.encoder.keys() - {SSL + key for key in bare}
    whole = expected.keys() - fresh.keys() == source.encoder.keys()
    pairs_note = _say_pairs(source, fresh)
    # A bare front-end is followed only by the weights of its layers.
    if bare and not whole and rest <= {"head.weights"} and any(map(_is_ssl, expected)):
        front: torch.nn.Module = encoder.get_submodule(SSL.rstrip("."))
        pairs = {key.removeprefix(SSL): value for key, value in fresh.items()}
        load_weights(front, {**pairs, **bare}, what=f"front-end of `{source.path}`")
        others = sum(not _is_ssl(key) for key in expected)
        return (
            f"front-end loaded ({len(bare)} tensors{pairs_note}), the {others} after it at random"
        )
    try:
        load_weights(encoder, {**fresh, **source.encoder}, what=f"`{source.path}`")
    except CheckpointError as error:
        raise CheckpointError(
            f"cannot start from another network ({source.model}): {error.message}",
            hint="name the network of the model with `--model` and `model_options`, or leave "
            "both out to take it from there",
        ) from error
    return f"network loaded ({len(source.encoder)} tensors{pairs_note})"


def _say_pairs(source: Source, fresh: Mapping[str, Tensor]) -> str:
    merged = f", LoRA of {source.merged_pairs} layers merged" if source.merged_pairs else ""
    return merged + (f", LoRA of {count_pairs(fresh)} layers begins at zero" if fresh else "")


def _is_ssl(key: str) -> bool:
    return key.startswith(SSL)


def load_rows(source: Source, learner: Learner) -> str:
    """Copy a head without names of classes, row for row.

    Raises
    ------
    SettingsError
        When there is no head, its classes have names, or it has other tensors or sizes.
    """
    if not source.head or source.speakers:
        what = "names its classes" if source.head else "has no classifier head"
        raise SettingsError(
            f"`init.head`: cannot take rows in their order, `{source.path}` {what}",
            hint="leave `init.head` out",
        )
    head = learner.module.head
    own = head.state_dict()
    theirs, ours = _shapes(source.head), _shapes(own)
    if theirs != ours:
        raise SettingsError(
            f"`init.head`: cannot take rows in their order, the head of `{source.path}` has "
            f"{theirs}, this run {ours}",
            hint="the number of classes, `loss.name` and its sub-centres must be the same",
        )
    for key, value in own.items():
        value.copy_(source.head[key])
    rows = len(own[next(iter(head.class_rows()))])
    return f"head: all {rows} rows from `{source.path}` in their order"


def _shapes(head: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in head.items()}


def load_classes(source: Source, learner: Learner, speakers: Sequence[str]) -> str:
    """Copy the rows of the classes that both know, and what belongs to all classes alike."""
    head = learner.module.head
    known = rows_by_name(source.speakers, speakers)
    found = int((known >= 0).sum())
    own = head.state_dict()
    rows = head.class_rows()
    if not _same_kind(own, source.head, rows, len(source.speakers)):
        return "head at random, the loss of the source is another one"
    places = torch.from_numpy(known)
    for key, value in own.items():
        if key not in rows:
            value.copy_(source.head[key])
            continue
        mine = value.view(len(speakers), -1)
        theirs = source.head[key].view(len(source.speakers), -1).to(mine.device)
        mine[places >= 0] = theirs[places[places >= 0]]
    return (
        f"head: {found} of {len(speakers)} classes from `{source.path}` by name, "
        f"{len(speakers) - found} at random, "
        f"{len(source.speakers) - found} of the source not used"
    )


def _same_kind(
    own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], rows: Mapping[str, int], count: int
) -> bool:
    """Return whether two heads differ in their number of classes only."""
    if own.keys() != theirs.keys():
        return False
    for key, value in own.items():
        shape = value.shape
        if key in rows:
            shape = torch.Size((count * rows[key], *shape[1:]))
        if theirs[key].shape != shape:
            return False
    return True
