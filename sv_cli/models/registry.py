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


# A row: name, parameters, embedding size.
Rows = tuple[tuple[str, int, int], ...]


def _family(
    family: str, module: str, *, frontend: str, source: str, rows: Rows
) -> dict[str, ModelEntry]:
    return {
        name: ModelEntry(family, module, parameters, embedding_dim, frontend, source)
        for name, parameters, embedding_dim in rows
    }


MODELS: dict[str, ModelEntry] = {
    **_family(
        "x-vector",
        "xvector",
        frontend="wespeaker",
        source="Snyder et al., ICASSP 2018; WeSpeaker",
        rows=(("xvector", 4_610_524, 512),),
    ),
    **_family(
        "x-vector",
        "xvector",
        frontend="3dspeaker",
        source="Snyder et al., ICASSP 2018; 3D-Speaker",
        rows=(("xvector_3dspeaker", 4_347_868, 512),),
    ),
    **_family(
        "CAM++",
        "campplus",
        frontend="wespeaker",
        source="Wang et al., Interspeech 2023; WeSpeaker",
        rows=(("campplus", 7_176_224, 512),),
    ),
    **_family(
        "CAM++",
        "campplus",
        frontend="3dspeaker",
        source="Wang et al., Interspeech 2023; 3D-Speaker",
        rows=(("campplus_3dspeaker", 7_176_224, 512),),
    ),
    **_family(
        "DF-ResNet",
        "dfresnet",
        frontend="wespeaker",
        source="Liu et al., 2023 (Gemini strides); WeSpeaker",
        rows=(
            ("dfresnet60", 4_047_840, 256),
            ("dfresnet114", 6_531_552, 256),
            ("dfresnet183", 9_196_384, 256),
            ("dfresnet237", 11_680_096, 256),
        ),
    ),
    **_family(
        "SimAM-ResNet",
        "simam_resnet",
        frontend="wespeaker",
        source="Qin et al., ICASSP 2022; WeSpeaker",
        rows=(("simam_resnet34", 25_213_760, 256), ("simam_resnet100", 50_232_896, 256)),
    ),
    **_family(
        "RepVGG",
        "repvgg",
        frontend="wespeaker",
        source="Ding et al., CVPR 2021; WeSpeaker",
        rows=(
            ("repvgg_tiny_a0", 6_833_792, 256),
            ("repvgg_tiny_rsbb_a0", 11_233_152, 256),
            ("repvgg_a0", 14_380_960, 256),
            ("repvgg_rsbb_a0", 20_623_648, 256),
            ("repvgg_a1", 19_363_968, 256),
            ("repvgg_a2", 34_009_536, 256),
            ("repvgg_rsbb_a2", 55_415_744, 256),
            ("repvgg_b0", 21_089_664, 256),
            ("repvgg_rsbb_b0", 32_690_048, 256),
            ("repvgg_b1", 65_850_752, 256),
            ("repvgg_b1g2", 54_218_112, 256),
            ("repvgg_b1g4", 48_401_792, 256),
            ("repvgg_b2", 99_567_552, 256),
            ("repvgg_b2g2", 81_391_552, 256),
            ("repvgg_b2g4", 72_303_552, 256),
            ("repvgg_b3", 133_630_464, 256),
            ("repvgg_b3g2", 107_457_024, 256),
            ("repvgg_b3g4", 94_370_304, 256),
            ("repvgg_d2se", 138_356_400, 256),
        ),
    ),
    **_family(
        "ReDimNet",
        "redimnet",
        frontend="wespeaker_72",
        source="Yakovlev et al., Interspeech 2024; WeSpeaker",
        rows=(
            ("redimnet_b1", 2_123_481, 192),
            ("redimnet_b2", 4_888_241, 192),
            ("redimnet_b3", 3_220_413, 192),
            ("redimnet_b4", 6_432_305, 192),
            ("redimnet_b5", 7_650_545, 192),
            ("redimnet_b6", 15_006_257, 192),
        ),
    ),
    **_family(
        "ReDimNet",
        "redimnet",
        frontend="wespeaker_60",
        source="Yakovlev et al., Interspeech 2024; WeSpeaker",
        rows=(("redimnet_b0", 1_001_851, 192),),
    ),
}

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
