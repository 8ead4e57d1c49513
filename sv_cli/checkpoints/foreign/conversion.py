"""Foreign weights into a model file: named, loaded strictly, tried once, with their front-end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from sv_cli import logs
from sv_cli.checkpoints.foreign import wavlm, wespeaker, wespeaker_ssl
from sv_cli.checkpoints.foreign.classifier import PARTS as CLASSIFIER_PARTS
from sv_cli.checkpoints.foreign.classifier import (
    ClassNames,
    check_named,
    count_rows,
    name_classes,
    read_head,
)
from sv_cli.checkpoints.foreign.detection import PROJECTS, Detected, check_project, detect
from sv_cli.checkpoints.foreign.reading import ForeignWeights, read_weights
from sv_cli.checkpoints.foreign.redimnet_frontend import check_buffers
from sv_cli.checkpoints.foreign.shapes import Layout
from sv_cli.checkpoints.foreign.speaker_net import KALDI_FRONTEND
from sv_cli.checkpoints.hub import (
    SCHEME,
    download,
    find_published,
    published_project,
    published_threshold,
)
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.errors import CheckpointError, SettingsError
from sv_cli.features.settings import (
    FRONTENDS,
    FrontendSettings,
    find_frontend,
    frontend_name,
)
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import MODELS, build_model, find_model
from sv_cli.settings.model import build_settings

TRIAL_FRAMES = 64  # enough for every network, and quick
IN_FRONT = ("feat_dim", "embedding_dim")  # settings that every network has


@dataclass(frozen=True)
class Imported:
    """A model made of foreign weights, and what there is to say about it."""

    model: ModelFile
    project: str
    embedding_dim: int
    dropped: Mapping[str, int]

    def describe(self) -> str:
        """Return one line: project, network, sizes, front-end, head and what was left out."""
        frontend = self.model.frontend
        text = (
            f"{PROJECTS[self.project].title} {self.model.model}, embedding of"
            f" {self.embedding_dim}, front-end {frontend_name(frontend)}"
        )
        if frontend.kind != "waveform":
            text += f" of {frontend.num_mel_bins} bins" + " and energy" * frontend.use_energy
        if self.model.head:
            text += f", classifier head of {count_rows(self.model.head)} rows"
            classes = len(self.model.speakers)
            text += f" ({classes} classes by name)" if classes else " (classes without names)"
        if self.dropped:
            parts = [f"`{name}.*` ({count})" for name, count in self.dropped.items()]
            text += ", left out " + ", ".join(parts)
        return text


@dataclass(frozen=True)
class Wanted:
    """What the user says instead of having it found out.

    Attributes
    ----------
    project : str or None
        Key of `detection.PROJECTS`.
    model : str or None
        Name of the network.
    frontend : str or None
        Name of the front-end instead of the project's.
    names : ClassNames
        Names of the classes of the head.
    """

    project: str | None = None
    model: str | None = None
    frontend: str | None = None
    names: ClassNames = field(default_factory=ClassNames)


def import_to(source: str, out: str | Path, wanted: Wanted) -> str:
    """Write the model of foreign weights or of `hub:NAME` to `out`; return what to say of it."""
    if source.startswith(SCHEME):
        imported = import_published(source, wanted, folder=Path(out).parent)
    else:
        imported = import_weights(source, wanted)
    save_model(out, imported.model)
    return f"wrote `{out}`: {imported.describe()}"


def import_published(
    name: str, wanted: Wanted | None = None, *, folder: Path | None = None
) -> Imported:
    """Return the model of published weights, fetched by name into a new folder in `folder`.

    Without `folder` that is TMPDIR; the fetched files are removed.

    Raises
    ------
    CheckpointError
        When they cannot be fetched; says which file to bring from where.
    """
    row = find_published(name)
    wanted = wanted or Wanted()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".svtool-", dir=folder) as fetched:
        logs.info(f"fetching {row.url(row.files[0])}")
        path = download(row, Path(fetched))
        project = wanted.project or row.project
        model = wanted.model or (row.model if row.model in wavlm.BASE else None)
        imported = import_weights(path, replace(wanted, project=project, model=model))
    imported.model.notes["imported_from"] = f"{SCHEME}{row.name}@{row.revision}"
    return imported


def import_weights(path: str | Path, wanted: Wanted | None = None) -> Imported:
    """Return the model that foreign weights are.

    Parameters
    ----------
    path : str or Path
        A torch or safetensors file, or a directory that holds one under its usual name.
    wanted : Wanted, optional
        What need not be found out.

    Raises
    ------
    CheckpointError
        When the file is damaged or unsafe, or its weights do not fit a network exactly.
    SettingsError
        When a name is unknown.
    """
    wanted = wanted or Wanted()
    name = find_model(wanted.model) if wanted.model else None
    check_project(wanted.project)
    if wanted.frontend:
        find_frontend(wanted.frontend)
    weights = read_weights(path)
    found = detect(weights, project=wanted.project, model=name)
    tensors = _count_batches(found.layout.rename(weights.tensors))
    name, options = _name_network(found.layout, tensors, name)
    settings = _choose_frontend(weights, found, wanted.frontend)
    if wanted.frontend is None:
        check_buffers(weights.buffers, settings, what=f"`{weights.path}`")
    notes = _notes(weights.path.name, found.project)
    file = ModelFile(name, options, settings, dict(tensors), notes=notes)
    encoder = _build(file, weights.path)
    # The built network's copy: float32 for any type in the file, counters as integers.
    file = replace(file, weights=dict(encoder.state_dict()))
    file, dropped = _take_head(file, weights, found, wanted.names, encoder.embedding_dim)
    for note in found.layout.notes:
        logs.info(f"`{weights.path}`: {note}")
    return Imported(file, found.project, encoder.embedding_dim, dropped)


def _take_head(
    file: ModelFile,
    weights: ForeignWeights,
    found: Detected,
    names: ClassNames,
    embedding_dim: int,
) -> tuple[ModelFile, Mapping[str, int]]:
    """Return the model with the classifier head of the weights, and what is left out of it."""
    head = read_head(weights.classifier, embedding_dim=embedding_dim)
    check_named(head, names, path=weights.path)
    if not head:
        return file, weights.dropped
    dropped = {part: n for part, n in weights.dropped.items() if part not in CLASSIFIER_PARTS}
    if names.spk2id is None:
        return replace(file, head=head), dropped
    subcenters = found.config.subcenters if found.config is not None else None
    speakers = name_classes(head, names, subcenters=subcenters)
    return replace(file, head=head, speakers=speakers), dropped


def _notes(file: str, project: str) -> dict[str, Any]:
    notes: dict[str, Any] = {"imported_from": file, "project": PROJECTS[project].title}
    threshold = published_threshold(file) if published_project(file) == project else None
    return notes if threshold is None else {**notes, "threshold": threshold}


def _count_batches(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the counters of batch norms where they are missing; evaluation does not use them."""
    counted = dict(weights)
    for key in weights:
        if key.endswith(".running_mean"):
            counter = key.removesuffix("running_mean") + "num_batches_tracked"
            counted.setdefault(counter, torch.zeros((), dtype=torch.int64))
    return counted


def _name_network(
    layout: Layout, weights: Mapping[str, Tensor], wanted: str | None
) -> tuple[str, dict[str, Any]]:
    """Return name and settings of the network: a registered one, else one of these sizes."""
    if layout.backend is not None:
        layout = _name_backend(layout, layout.backend, weights)
    if wanted is not None and wanted not in layout.names:
        # Another family: its strict loading names what does not fit.
        kept = {key: layout.choices[key] for key in IN_FRONT}
        return wanted, kept
    names = layout.names if wanted is None else (wanted,)
    for name in _nearest_first(names, weights):
        options = _without_defaults(name, layout.choices)
        if _fits(name, options, weights):
            return name, options
    return names[0], {**layout.choices, **layout.sizes}


def _name_backend(layout: Layout, backend: Layout, weights: Mapping[str, Tensor]) -> Layout:
    """Return the layout with the network after its front-end among the choices."""
    start = wespeaker_ssl.NETWORK
    own = {key.removeprefix(start): w for key, w in weights.items() if key.startswith(start)}
    name, options = _name_network(backend, own, None)
    kept = {key: value for key, value in options.items() if key not in IN_FRONT}
    return replace(layout, choices={**layout.choices, "backend": name, "backend_options": kept})


def _nearest_first(names: Sequence[str], weights: Mapping[str, Tensor]) -> list[str]:
    """Return names by how near their parameter counts are, so that the first mostly fits."""
    count = sum(value.numel() for key, value in weights.items() if ".running_" not in key)
    return sorted(names, key=lambda name: abs(MODELS[name].parameters - count))


def _without_defaults(name: str, choices: Mapping[str, Any]) -> dict[str, Any]:
    plain = _on_meta(name, {})
    defaults = {"feat_dim": plain.feat_dim, "embedding_dim": plain.embedding_dim}
    return {
        key: value
        for key, value in choices.items()
        if key not in defaults or defaults[key] != value
    }


def _on_meta(name: str, options: Mapping[str, Any]) -> SpeakerEncoder:
    """Build without memory or random numbers, for its keys and shapes."""
    with torch.device("meta"):
        return build_model(name, **options)


def _fits(name: str, options: Mapping[str, Any], weights: Mapping[str, Tensor]) -> bool:
    try:
        encoder = _on_meta(name, options)
    except SettingsError:  # sizes that do not go together
        return False
    expected = {key: value.shape for key, value in encoder.state_dict().items()}
    return expected == {key: value.shape for key, value in weights.items()}


def _choose_frontend(
    weights: ForeignWeights, found: Detected, wanted: str | None
) -> FrontendSettings:
    feat_dim = found.layout.choices["feat_dim"]
    if wanted is not None:
        settings = _of_width(wanted, feat_dim)
        if settings.feat_dim != feat_dim:
            raise CheckpointError(
                f"`{weights.path}`: front-end `{wanted}` gives {settings.feat_dim} columns, the "
                f"network takes {feat_dim}",
                hint="leave `--frontend` out, or name one of that width",
            )
        return settings
    if found.layout.settings is not None:
        return found.layout.settings
    name = found.layout.frontend or PROJECTS[found.project].frontend
    if found.project == "wespeaker" and wespeaker.is_of_damo(weights.path):
        name = "3dspeaker"
    if found.config is not None and found.config.takes_fbank and name == "tfmel":
        name = wespeaker.FRONTEND
    if found.project == "speaker-net" and feat_dim == FRONTENDS[KALDI_FRONTEND].feat_dim:
        name = KALDI_FRONTEND
    settings = resize_frontend(name, feat_dim)
    return settings if found.config is None else found.config.frontend(settings)


def _of_width(name: str, feat_dim: int) -> FrontendSettings:
    """Return a named front-end, in its variant of `feat_dim` columns where there is one."""
    return FRONTENDS.get(f"{name}-{feat_dim}", find_frontend(name))


def resize_frontend(name: str, feat_dim: int) -> FrontendSettings:
    """Return a named front-end with as many mel bins as a network of `feat_dim` needs."""
    settings = _of_width(name, feat_dim)
    if settings.feat_dim == feat_dim:
        return settings
    bins = feat_dim - settings.use_energy
    values = {**settings.model_dump(), "num_mel_bins": bins}
    return build_settings(FrontendSettings, values, where=f"front-end `{name}`")


def _build(file: ModelFile, path: Path) -> SpeakerEncoder:
    """Load strictly and embed noise once: what is written later works."""
    if file.frontend.feat_dim != _on_meta(file.model, file.options).feat_dim:
        raise CheckpointError(
            f"`{path}`: the front-end makes {file.frontend.feat_dim} features a frame, which is"
            f" another number than that of `{file.model}`"
        )
    try:
        encoder = file.build()
    except CheckpointError as error:
        raise CheckpointError(f"`{path}`: {error.message}", hint=error.hint) from error
    frames = max(TRIAL_FRAMES, encoder.min_frames)
    noise = torch.Generator().manual_seed(0)
    feats = torch.randn(1, frames, encoder.feat_dim, generator=noise)
    with torch.inference_mode():
        embedding = encoder(feats)
    if not bool(torch.isfinite(embedding).all()):
        raise CheckpointError(f"`{path}`: gives embeddings that are not finite")
    return encoder
