"""The known networks: name -> module, published size and source; no torch until one is built."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sv_cli.errors import SettingsError
from sv_cli.settings.model import nearest

if TYPE_CHECKING:
    from sv_cli.models.protocol import SpeakerEncoder


@dataclass(frozen=True)
class ModelEntry:
    """One named network; the builder is the function of the same name in `module`."""

    family: str
    module: str  # below sv_cli.models
    parameters: int  # published, or counted once and pinned, at the default embedding size
    embedding_dim: int
    frontend: str  # name in sv_cli.features.settings.FRONTENDS
    source: str  # paper and whose layout


MODELS: dict[str, ModelEntry] = {}

# Short names a user may type.
ALIASES: dict[str, str] = {
    "eres2net": "eres2net_base",
    "ecapa": "ecapa_glob_c512",
    "ecapa_tdnn": "ecapa_glob_c512",
    "resnet": "resnet34",
}


def find_model(name: str) -> str:
    """Return the registered name for what a user typed (hyphens and short names are understood).

    Raises
    ------
    SettingsError
        When there is no such network; the nearest name is suggested.
    """
    plain = name.lower().replace("-", "_")
    plain = ALIASES.get(plain, plain)
    if plain not in MODELS:
        raise SettingsError(
            f"`{name}`: unknown model{nearest(plain, [*MODELS, *ALIASES])}",
            hint="`svtool models` lists all",
        )
    return plain


def build_model(name: str, **overrides: Any) -> SpeakerEncoder:
    """Return a freshly initialised network; `overrides` are fields of its family's settings."""
    name = find_model(name)
    builder = getattr(import_module(f"sv_cli.models.{MODELS[name].module}"), name)
    encoder: SpeakerEncoder = builder(**overrides)
    return encoder
