"""The known networks: name -> module, size and source; no torch until one is built.

Names are snake_case and the same as the builder function: the name the project gives its network,
without punctuation (`ECAPA_TDNN_GLOB_c512` -> `ecapa_glob_c512`). Where two projects use one name
for networks that differ, WeSpeaker's keeps the bare name and the other carries its project
(`resnet34`, `resnet34_3dspeaker`). ReDimNet2's bare names are its authors' (`redimnet2_b6`);
`redimnet2_b6_wespeaker` is the same network, whose weights WeSpeaker trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sv_cli.errors import SettingsError
from sv_cli.models.papers import FAMILIES
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
        10^9 multiply-accumulates of 200 frames, or of 2 s of samples (convolutions and products).
    published_eer : float or None
        EER in % on VoxCeleb1-O cleaned that the source prints; `docs/models.md` states the
        training and the scoring of each.
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


# A row: name, parameters, embedding size, 10^9 multiply-accumulates, published EER.
Row = tuple[str, int, int, float] | tuple[str, int, int, float, float]


def _family(
    family: str, module: str, *, frontend: str, source: str, rows: tuple[Row, ...]
) -> dict[str, ModelEntry]:
    return {
        name: ModelEntry(family, module, parameters, embedding_dim, frontend, source, *numbers)
        for name, parameters, embedding_dim, *numbers in rows
    }


MODELS: dict[str, ModelEntry] = {
    **_family(
        "x-vector",
        "xvector",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(("xvector", 4_610_524, 512, 0.531, 1.59),),
    ),
    **_family(
        "x-vector",
        "xvector",
        frontend="3dspeaker",
        source="3D-Speaker",
        rows=(("xvector_3dspeaker", 4_347_868, 512, 0.531, 2.22),),
    ),
    **_family(
        "ECAPA-TDNN",
        "ecapa",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("ecapa_c512", 5_797_504, 192, 0.959),
            ("ecapa_c1024", 14_263_872, 192, 2.57),
            ("ecapa_glob_c512", 6_190_720, 192, 0.959, 0.782),
            ("ecapa_glob_c1024", 14_657_088, 192, 2.57, 0.728),
        ),
    ),
    **_family(
        "ECAPA-TDNN",
        "ecapa_speechbrain",
        frontend="3dspeaker",
        source="3D-Speaker",
        rows=(
            ("ecapa_3dspeaker_c512", 6_194_048, 192, 0.959),
            ("ecapa_3dspeaker_c1024", 20_767_552, 192, 3.59, 0.86),
        ),
    ),
    **_family(
        "ECAPA-TDNN",
        "speaker_net",
        frontend="speaker-net",
        source="speaker-net",
        rows=(
            ("speaker_net_ecapa_c512", 6_387_392, 256, 0.959, 0.761),
            ("speaker_net_ecapa_c1024", 23_514_368, 512, 3.6, 0.643),
        ),
    ),
    **_family(
        "ECAPA-TDNN",
        "ecapa_taoruijie",
        frontend="taoruijie",
        source="TaoRuijie",
        rows=(
            ("ecapa_taoruijie_c512", 6_978_176, 192, 1.04),
            ("ecapa_taoruijie_c1024", 15_444_544, 192, 2.65, 0.86),
        ),
    ),
    **_family(
        "xi-vector",
        "xi_vector",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("xi_vector_ecapa_c512", 5_896_448, 192, 1.04, 0.787),
            ("xi_vector_ecapa_c1024", 14_362_816, 192, 2.65),
            ("xi_vector_xvec", 4_615_792, 512, 0.673),
        ),
    ),
    **_family(
        "ResNet",
        "resnet",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("resnet18", 4_105_440, 256, 2.17),
            ("resnet34", 6_634_336, 256, 4.53, 0.723),
            ("resnet50", 11_131_360, 256, 5.07),
            ("resnet101", 15_892_448, 256, 9.81),
            ("resnet152", 19_814_880, 256, 14.5),
            ("resnet221", 23_792_224, 256, 20.9, 0.505),
            ("resnet293", 28_626_016, 256, 27.6, 0.447),
        ),
    ),
    **_family(
        "ResNet",
        "resnet",
        frontend="3dspeaker",
        source="3D-Speaker",
        rows=(("resnet34_3dspeaker", 6_343_648, 192, 4.53, 1.05),),
    ),
    **_family(
        "ResNet",
        "speaker_net",
        frontend="speaker-net",
        source="speaker-net",
        rows=(
            ("speaker_net_resnet34_c32", 6_636_448, 256, 4.53, 0.649),
            ("speaker_net_resnet34_c64", 26_523_456, 512, 18.1, 0.484),
        ),
    ),
    **_family(
        "Res2Net",
        "res2net",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("res2net34_base", 4_689_024, 256, 1.71, 1.234),
            ("res2net34_large", 13_481_472, 256, 6.83),
        ),
    ),
    **_family(
        "Res2Net",
        "res2net",
        frontend="3dspeaker",
        source="3D-Speaker",
        rows=(("res2net34_3dspeaker", 4_033_600, 192, 1.71, 1.56),),
    ),
    **_family(
        "ERes2Net",
        "eres2net",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("eres2net34_base", 9_887_808, 512, 3.36, 0.744),
            ("eres2net34_large", 29_016_704, 512, 13.4),
            ("eres2net34_aug", 68_272_544, 512, 31.3),
        ),
    ),
    **_family(
        "ERes2Net",
        "eres2net",
        frontend="3dspeaker",
        source="3D-Speaker",
        rows=(
            ("eres2net_base", 6_610_688, 192, 3.36, 0.84),
            ("eres2net_large", 22_462_784, 192, 13.4, 0.52),
            ("eres2net_huge", 55_165_024, 192, 31.2),
        ),
    ),
    **_family(
        "ERes2NetV2",
        "eres2netv2",
        frontend="3dspeaker",
        source="3D-Speaker",
        rows=(
            ("eres2netv2", 17_859_632, 192, 8.3, 0.61),
            ("eres2netv2_w24s4ep4", 53_513_632, 192, 24.6),
        ),
    ),
    **_family(
        "CAM++",
        "campplus",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(("campplus", 7_176_224, 512, 1.07, 0.659),),
    ),
    **_family(
        "CAM++",
        "campplus",
        frontend="3dspeaker",
        source="3D-Speaker",
        rows=(("campplus_3dspeaker", 7_176_224, 512, 1.07, 0.65),),
    ),
    **_family(
        "RepVGG",
        "repvgg",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("repvgg_tiny_a0", 6_833_792, 256, 5.17, 0.824),
            ("repvgg_tiny_rsbb_a0", 11_233_152, 256, 9.3),
            ("repvgg_a0", 14_380_960, 256, 7.63),
            ("repvgg_rsbb_a0", 20_623_648, 256, 13.7),
            ("repvgg_a1", 19_363_968, 256, 13.3),
            ("repvgg_a2", 34_009_536, 256, 28.9),
            ("repvgg_rsbb_a2", 55_415_744, 256, 52),
            ("repvgg_b0", 21_089_664, 256, 17.2),
            ("repvgg_rsbb_b0", 32_690_048, 256, 31),
            ("repvgg_b1", 65_850_752, 256, 66.9),
            ("repvgg_b1g2", 54_218_112, 256, 49.8),
            ("repvgg_b1g4", 48_401_792, 256, 41.3),
            ("repvgg_b2", 99_567_552, 256, 104),
            ("repvgg_b2g2", 81_391_552, 256, 77.4),
            ("repvgg_b2g4", 72_303_552, 256, 64.1),
            ("repvgg_b3", 133_630_464, 256, 148),
            ("repvgg_b3g2", 107_457_024, 256, 110),
            ("repvgg_b3g4", 94_370_304, 256, 91),
            ("repvgg_d2se", 138_356_400, 256, 146),
        ),
    ),
    **_family(
        "RepVGG",
        "speaker_net",
        frontend="speaker-net",
        source="speaker-net",
        rows=(("speaker_net_repvgg_b1", 27_291_904, 512, 20.7, 0.42),),
    ),
    **_family(
        "DF-ResNet",
        "dfresnet",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("dfresnet60", 4_047_840, 256, 2.79),
            ("dfresnet114", 6_531_552, 256, 5.24, 0.638),
            ("dfresnet183", 9_196_384, 256, 8.03),
            ("dfresnet237", 11_680_096, 256, 10.5),
        ),
    ),
    **_family(
        "SimAM-ResNet",
        "simam_resnet",
        frontend="wespeaker",
        source="WeSpeaker",
        rows=(
            ("simam_resnet34", 25_213_760, 256, 18.1, 0.372),
            ("simam_resnet100", 50_232_896, 256, 57.1, 0.207),
        ),
    ),
    **_family(
        "ReDimNet",
        "redimnet",
        frontend="wespeaker-60",
        source="WeSpeaker",
        rows=(("redimnet_b0", 1_001_851, 192, 0.59),),
    ),
    **_family(
        "ReDimNet",
        "redimnet",
        frontend="wespeaker-72",
        source="WeSpeaker",
        rows=(
            ("redimnet_b1", 2_123_481, 192, 0.861),
            ("redimnet_b2", 4_888_241, 192, 1.37),
            ("redimnet_b3", 3_220_413, 192, 4.31),
            ("redimnet_b4", 6_432_305, 192, 6.97),
            ("redimnet_b5", 7_650_545, 192, 13.1),
            ("redimnet_b6", 15_006_257, 192, 29.9),
        ),
    ),
    **_family(
        "ReDimNet2",
        "redimnet2",
        frontend="tfmel",
        source="ReDimNet",
        rows=(
            ("redimnet2_b0", 1_115_220, 192, 0.294, 1.04),
            ("redimnet2_b1", 2_161_488, 192, 0.497, 0.78),
            ("redimnet2_b2", 3_677_760, 192, 0.87, 0.57),
            ("redimnet2_b3", 4_181_576, 192, 2.61, 0.42),
            ("redimnet2_b4", 6_659_744, 192, 4.52, 0.37),
            ("redimnet2_b5", 8_959_272, 192, 9.56, 0.33),
            ("redimnet2_b6", 12_394_784, 192, 13.0, 0.29),
        ),
    ),
    **_family(
        "ReDimNet2",
        "redimnet2",
        frontend="tfmel",
        source="WeSpeaker",
        rows=(("redimnet2_b6_wespeaker", 12_394_784, 192, 13.0),),
    ),
    **_family(
        "WavLM",
        "ssl_wavlm",
        frontend="waveform",
        source="torchaudio",
        rows=(
            ("wavlm_base", 102_333_181, 192, 14.7),
            ("wavlm_base_plus", 102_333_181, 192, 14.7),
            ("wavlm_large", 324_059_481, 192, 36.9, 0.495),
        ),
    ),
    **_family(
        "w2v-BERT 2.0",
        "ssl_w2vbert",
        frontend="w2vbert",
        source="transformers",
        rows=(("w2vbert2_mfa", 586_652_736, 256, 59.2, 0.25),),
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


@contextmanager
def without_initialization() -> Iterator[None]:
    """Build networks without drawing weights, for those that are loaded or only counted."""
    from torch.nn import init

    drawn = {name: value for name, value in vars(init).items() if name[-1:] == "_" != name[0]}
    try:
        for name in drawn:
            setattr(init, name, lambda tensor, *given, **named: tensor)
        yield
    finally:
        for name, function in drawn.items():
            setattr(init, name, function)
