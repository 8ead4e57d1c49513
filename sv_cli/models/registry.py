"""The known networks: name -> module, size and source; no torch until one is built.

Names are snake_case and the same as the builder function: the name the project gives its network,
without punctuation (`ECAPA_TDNN_GLOB_c512` -> `ecapa_glob_c512`). Where two projects use one name
for networks that differ, WeSpeaker's keeps the bare name and the other carries its project
(`resnet34`, `resnet34_3dspeaker`).
"""

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
    """One named network; the builder is the function of the same name in `module`.

    Attributes
    ----------
    family : str
        Key of `FAMILIES`.
    module : str
        Below sv_cli.models.
    parameters : int
        Published, or counted once and pinned, with default settings.
    embedding_dim : int
        Default size of the embedding.
    frontend : str
        Name in sv_cli.features.settings.FRONTENDS.
    source : str
        Project whose layout and state-dict keys are kept.
    macs : float
        10^9 multiply-accumulates of 200 frames (convolutions and products).
    published_eer : float or None
        EER in % on VoxCeleb1-O cleaned that the source prints, trained on VoxCeleb2 dev: with
        large-margin fine-tuning and AS-norm for WeSpeaker, plain cosine for 3D-Speaker.
    """

    family: str
    module: str
    parameters: int
    embedding_dim: int
    frontend: str
    source: str
    macs: float = 0.0
    published_eer: float | None = None

    @property
    def paper(self) -> str:
        """Authors, venue and year."""
        return FAMILIES[self.family][0]

    @property
    def url(self) -> str:
        """Where the paper is."""
        return FAMILIES[self.family][1]


# Family -> paper, address.
FAMILIES: dict[str, tuple[str, str]] = {
    "ResNet": ("Zeinali et al. 2019", "https://arxiv.org/abs/1910.12592"),
    "Res2Net": ("Gao et al., TPAMI 2021", "https://arxiv.org/abs/1904.01169"),
    "ERes2Net": ("Chen et al., Interspeech 2023", "https://arxiv.org/abs/2305.12838"),
    "ERes2NetV2": ("Chen et al., Interspeech 2024", "https://arxiv.org/abs/2406.02167"),
    "ECAPA-TDNN": ("Desplanques et al., Interspeech 2020", "https://arxiv.org/abs/2005.07143"),
}

MODELS: dict[str, ModelEntry] = {
    "resnet18": ModelEntry("ResNet", "resnet", 4_105_440, 256, "wespeaker", "WeSpeaker", 2.17),
    "resnet34": ModelEntry(
        "ResNet", "resnet", 6_634_336, 256, "wespeaker", "WeSpeaker", 4.53, 0.723
    ),
    "resnet34_3dspeaker": ModelEntry(
        "ResNet", "resnet", 6_343_648, 192, "3dspeaker", "3D-Speaker", 4.53, 1.05
    ),
    "resnet50": ModelEntry("ResNet", "resnet", 11_131_360, 256, "wespeaker", "WeSpeaker", 5.07),
    "resnet101": ModelEntry("ResNet", "resnet", 15_892_448, 256, "wespeaker", "WeSpeaker", 9.81),
    "resnet152": ModelEntry("ResNet", "resnet", 19_814_880, 256, "wespeaker", "WeSpeaker", 14.5),
    "resnet221": ModelEntry(
        "ResNet", "resnet", 23_792_224, 256, "wespeaker", "WeSpeaker", 20.9, 0.505
    ),
    "resnet293": ModelEntry(
        "ResNet", "resnet", 28_626_016, 256, "wespeaker", "WeSpeaker", 27.6, 0.447
    ),
    "res2net34_base": ModelEntry(
        "Res2Net", "res2net", 4_689_024, 256, "wespeaker", "WeSpeaker", 1.71
    ),
    "res2net34_large": ModelEntry(
        "Res2Net", "res2net", 13_481_472, 256, "wespeaker", "WeSpeaker", 6.83
    ),
    "res2net34_3dspeaker": ModelEntry(
        "Res2Net", "res2net", 4_033_600, 192, "3dspeaker", "3D-Speaker", 1.71, 1.56
    ),
    "eres2net_base": ModelEntry(
        "ERes2Net", "eres2net", 6_610_688, 192, "3dspeaker", "3D-Speaker", 3.36, 0.84
    ),
    "eres2net_large": ModelEntry(
        "ERes2Net", "eres2net", 22_462_784, 192, "3dspeaker", "3D-Speaker", 13.4, 0.52
    ),
    "eres2net_huge": ModelEntry(
        "ERes2Net", "eres2net", 55_165_024, 192, "3dspeaker", "3D-Speaker", 31.2
    ),
    "eres2net34_base": ModelEntry(
        "ERes2Net", "eres2net", 9_887_808, 512, "wespeaker", "WeSpeaker", 3.36, 0.744
    ),
    "eres2net34_large": ModelEntry(
        "ERes2Net", "eres2net", 29_016_704, 512, "wespeaker", "WeSpeaker", 13.4
    ),
    "eres2net34_aug": ModelEntry(
        "ERes2Net", "eres2net", 68_272_544, 512, "wespeaker", "WeSpeaker", 31.3
    ),
    "eres2netv2": ModelEntry(
        "ERes2NetV2", "eres2netv2", 17_859_632, 192, "3dspeaker", "3D-Speaker", 8.3, 0.61
    ),
    "eres2netv2_w24s4ep4": ModelEntry(
        "ERes2NetV2", "eres2netv2", 53_513_632, 192, "3dspeaker", "3D-Speaker", 24.6
    ),
    "ecapa_c512": ModelEntry(
        "ECAPA-TDNN", "ecapa", 5_797_504, 192, "wespeaker", "WeSpeaker", 0.959
    ),
    "ecapa_c1024": ModelEntry(
        "ECAPA-TDNN", "ecapa", 14_263_872, 192, "wespeaker", "WeSpeaker", 2.57
    ),
    "ecapa_glob_c512": ModelEntry(
        "ECAPA-TDNN", "ecapa", 6_190_720, 192, "wespeaker", "WeSpeaker", 0.959, 0.782
    ),
    "ecapa_glob_c1024": ModelEntry(
        "ECAPA-TDNN", "ecapa", 14_657_088, 192, "wespeaker", "WeSpeaker", 2.57, 0.728
    ),
    "ecapa_3dspeaker_c512": ModelEntry(
        "ECAPA-TDNN", "ecapa_speechbrain", 6_194_048, 192, "3dspeaker", "3D-Speaker", 0.959
    ),
    "ecapa_3dspeaker_c1024": ModelEntry(
        "ECAPA-TDNN", "ecapa_speechbrain", 20_767_552, 192, "3dspeaker", "3D-Speaker", 3.59, 0.86
    ),
}

# Short names a user may type.
ALIASES: dict[str, str] = {
    "eres2net": "eres2net_base",
    "ecapa": "ecapa_glob_c512",
    "ecapa_tdnn": "ecapa_glob_c512",
    "resnet": "resnet34",
    "res2net": "res2net34_base",
    "ecapa_speechbrain": "ecapa_3dspeaker_c1024",
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
