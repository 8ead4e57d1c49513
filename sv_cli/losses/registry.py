"""The known losses: name -> class and preset; no torch until one is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sv_cli.errors import SettingsError
from sv_cli.settings.model import nearest

if TYPE_CHECKING:
    from sv_cli.losses.protocol import SpeakerLoss


@dataclass(frozen=True)
class LossEntry:
    """One named loss."""

    module: str  # below sv_cli.losses
    cls: str
    description: str
    preset: dict[str, Any] = field(default_factory=dict)


LOSSES: dict[str, LossEntry] = {
    "softmax": LossEntry("softmax", "Softmax", "Linear layer and cross-entropy"),
    "am": LossEntry("margin", "AmSoftmax", "Additive margin on the cosine"),
    "aam": LossEntry("margin", "AamSoftmax", "Additive margin on the angle (ArcFace)"),
    "aam_intertopk_subcenter": LossEntry(
        "margin",
        "AamSoftmax",
        "AAM, three centres a class, five nearest others pushed (WeSpeaker)",
        {"subcenters": 3, "topk": 5, "topk_margin": 0.06, "topk_follows_margin": True},
    ),
    "am_intertopk_subcenter": LossEntry(
        "margin",
        "AmSoftmax",
        "AM, three centres a class, five nearest others pushed (speaker-net)",
        {"scale": 35.0, "subcenters": 3, "topk": 5, "topk_margin": 0.06},
    ),
    "sphereface2": LossEntry("sphere", "SphereFace2", "A binary problem a class (type C or A)"),
    "ham": LossEntry(
        "hyperbolic", "HyperbolicSoftmax", "Additive margin on the hyperbolic distance (HAM)"
    ),
    "sphere": LossEntry("sphere", "ASoftmax", "A-softmax with its fixed margin of 4"),
}

# Settings every training recipe states; a loss that has no such option does without.
COMMON_OPTIONS = frozenset({"scale", "margin", "easy_margin"})


def find_loss(name: str) -> str:
    """Return the registered name; hyphens are understood.

    Raises
    ------
    SettingsError
        When there is no such loss; the nearest name is suggested.
    """
    plain = name.lower().replace("-", "_")
    if plain not in LOSSES:
        known = ", ".join(LOSSES)
        raise SettingsError(
            f"`{name}`: unknown loss{nearest(plain, LOSSES)}", hint=f"known losses: {known}"
        )
    return plain


def build_loss(name: str, *, embedding_dim: int, num_classes: int, **options: Any) -> SpeakerLoss:
    """Return a freshly initialised loss.

    Parameters
    ----------
    name : str
    embedding_dim, num_classes : int
    **options
        Fields of the loss's settings, over its preset; `scale`, `margin` and `easy_margin` are
        passed over where the loss has no such option.

    Raises
    ------
    SettingsError
        Unknown name or option.
    """
    entry = LOSSES[find_loss(name)]
    cls: type[SpeakerLoss] = getattr(import_module(f"sv_cli.losses.{entry.module}"), entry.cls)
    known = cls.settings_type.model_fields
    given = {
        key: value for key, value in options.items() if key in known or key not in COMMON_OPTIONS
    }
    build: Any = cls
    loss: SpeakerLoss = build(embedding_dim, num_classes, **{**entry.preset, **given})
    return loss
