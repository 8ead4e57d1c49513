"""Which project weights come from, and which network they are: from keys, shapes and names.

Where two projects have networks of the same keys and shapes, the files next to the weights decide,
then the file's name, then the embedding size of the recipes; the choice is said.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from sv_cli import logs
from sv_cli.checkpoints.foreign import (
    ecapa_taoruijie,
    redimnet,
    speaker_net,
    speechbrain,
    threed_speaker,
    w2vbert,
    wavlm,
    wespeaker,
    wespeaker_ssl,
)
from sv_cli.checkpoints.foreign.reading import ForeignWeights
from sv_cli.checkpoints.foreign.shapes import Layout, Shapes
from sv_cli.checkpoints.foreign.wespeaker_config import WespeakerConfig, read_config
from sv_cli.checkpoints.hub import published_project
from sv_cli.errors import CheckpointError, SettingsError, name_some
from sv_cli.models.registry import MODELS
from sv_cli.settings.model import nearest


class Project(NamedTuple):
    """A project whose weights are read."""

    title: str
    recognise: Callable[[Shapes], Layout | None]
    frontend: str
    embedding_dims: tuple[int, ...] = ()  # of recipes; separate twins when nothing else does


PROJECTS: dict[str, Project] = {
    "wespeaker": Project("WeSpeaker", wespeaker.recognise, wespeaker.FRONTEND, (256, 512)),
    "3dspeaker": Project("3D-Speaker", threed_speaker.recognise, threed_speaker.FRONTEND, (192,)),
    "speaker-net": Project("speaker-net", speaker_net.recognise, speaker_net.FRONTEND),
    "taoruijie": Project("TaoRuijie", ecapa_taoruijie.recognise, ecapa_taoruijie.FRONTEND),
    "speechbrain": Project("SpeechBrain", speechbrain.recognise, speechbrain.FRONTEND),
    "redimnet": Project(redimnet.TITLE, redimnet.recognise, redimnet.FRONTEND, (192,)),
    "wavlm": Project("WavLM", wavlm.recognise, wavlm.FRONTEND),
    "w2v-bert": Project("w2v-BERT", w2vbert.recognise, w2vbert.FRONTEND),
}
# Words in the names of files and folders.
NAMES: tuple[tuple[str, str], ...] = (
    ("3dspeaker", r"3d[-_]?speaker|modelscope|speech_.+_sv_|^ckpt-epoch-|^sdpn|rdino"),
    ("wespeaker", r"we-?speaker|wenet|^(avg|convert|final)_model\.pt$|^model_\d+\.pt$|_lm\b"),
    ("speechbrain", r"speechbrain|spkrec"),
    ("redimnet", r"palabra|idrnd|^b\d-.*(ptn|lm|dis)\.pt$"),
)
# Files next to the weights, by project.
COMPANIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("speechbrain", ("hyperparams.yaml", "mean_var_norm_emb.ckpt", "label_encoder.txt")),
    ("3dspeaker", ("configuration.json",)),
)


@dataclass(frozen=True)
class Detected:
    """Where weights come from and what they are.

    Attributes
    ----------
    project : str
        Key of `PROJECTS`.
    layout : Layout
    config : WespeakerConfig or None
    """

    project: str
    layout: Layout
    config: WespeakerConfig | None = None


class Claim(NamedTuple):
    """Why weights may be a project's; the strongest claim wins."""

    strength: int
    project: str
    why: str


SURE = 4


def detect(
    weights: ForeignWeights, *, project: str | None = None, model: str | None = None
) -> Detected:
    """Return project and network of weights; `project` or `model` leave less to find out.

    Raises
    ------
    CheckpointError
        When no project has such a network; the first keys are named.
    SettingsError
        When there is no such project.
    """
    wanted = check_project(project) or (_project_of_model(model) if model else None)
    shapes = Shapes(weights.shapes, what=f"`{weights.path}`")
    layouts = {
        name: layout
        for name, known in PROJECTS.items()
        if wanted in (None, name) and (layout := known.recognise(shapes)) is not None
    }
    if not layouts:
        raise _unknown(weights, wanted)
    config = read_config(weights.path)
    chosen = next(iter(layouts))
    if len(layouts) > 1:
        chosen = _choose(weights, layouts, config)
    layout = wavlm.prefer_named(layouts[chosen], weights.path)
    if chosen == "3dspeaker" and weights.is_self_supervised:
        layout = replace(layout, frontend=threed_speaker.SELF_SUPERVISED_FRONTEND)
    if chosen == "redimnet" and weights.config is not None:
        layout = redimnet.with_config(layout, weights.config, what=shapes.what)
    if chosen != "wespeaker":
        return Detected(chosen, layout)
    if config is not None and layout.frontend is not None:
        layout = wespeaker_ssl.with_config(layout, config)
    elif config is not None:
        layout = replace(layout, choices=config.adjust(layout.choices), notes=())
    return Detected(chosen, layout, config)


def check_project(project: str | None) -> str | None:
    """Return the project's name as it is known here."""
    if project is None:
        return None
    name = project.lower()
    if name not in PROJECTS:
        raise SettingsError(
            f"--project `{project}` is unknown{nearest(name, PROJECTS)}",
            hint=f"one of {', '.join(PROJECTS)}",
        )
    return name


def _project_of_model(model: str) -> str | None:
    source = MODELS[model].source
    return next((name for name, known in PROJECTS.items() if known.title == source), None)


def _choose(
    weights: ForeignWeights, layouts: dict[str, Layout], config: WespeakerConfig | None
) -> str:
    """Return the project with the strongest claim, and say it unless it is sure."""
    claims = [c for c in _claims(weights, layouts, config) if c.project in layouts]
    best = max(claims, key=lambda claim: claim.strength)
    others = [name for name in layouts if name != best.project]
    if best.strength < SURE:
        said = logs.info if best.strength > 1 else logs.warn
        said(
            f"`{weights.path}`: keys and shapes are those of {' and '.join(layouts)}; taken for"
            f" {best.project}: {best.why} (otherwise `--project {others[0]}`)"
        )
    return best.project


def _claims(
    weights: ForeignWeights, layouts: dict[str, Layout], config: WespeakerConfig | None
) -> list[Claim]:
    folder, name = weights.path.absolute().parent, weights.path.name
    claims = []
    if config is not None:
        claims.append(Claim(SURE, "wespeaker", f"`{config.path}` is there"))
    if weights.config is not None:
        claims.append(Claim(SURE, "redimnet", "`model_config` is in it"))
    if "spec" in weights.dropped:
        claims.append(Claim(SURE, "redimnet", "`spec.*` is in it"))
    if "projection" in weights.dropped:
        claims.append(Claim(SURE, "wespeaker", "`projection.*` is there"))
    if weights.is_self_supervised:
        claims.append(Claim(SURE, "3dspeaker", "it is a teacher without labels"))
    for project, files in COMPANIONS:
        found = [file for file in files if (folder / file).is_file()]
        claims += [Claim(SURE, project, f"`{file}` is next to it") for file in found]
    published = published_project(name)
    if published:
        claims.append(Claim(SURE - 1, published, "it has the name of a published file"))
    for strength, text in ((3, name), (2, folder.name)):
        claims += [
            Claim(strength, project, f"`{text}` sounds like it")
            for project, pattern in NAMES
            if re.search(pattern, text.lower())
        ]
    return claims + _claims_of_size(layouts)


def _claims_of_size(layouts: dict[str, Layout]) -> list[Claim]:
    claims = [Claim(0, project, "it is the first known") for project in layouts]
    for project, layout in layouts.items():
        size = layout.choices["embedding_dim"]
        if size in PROJECTS[project].embedding_dims:
            claims.append(Claim(1, project, f"its recipes have embeddings of {size}"))
    return claims


def _unknown(weights: ForeignWeights, wanted: str | None) -> CheckpointError:
    of = PROJECTS[wanted].title if wanted else "any known project"
    keys = name_some(weights.tensors, limit=3)
    return CheckpointError(
        f"`{weights.path}`: no network of {of} has its keys: {keys}",
        hint="`svtool models` lists the networks"
        + (", and without `--project` and `--model` all projects are tried" if wanted else ""),
    )
