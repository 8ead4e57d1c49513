"""The ReDimNet authors' files: IDRnD/redimnet (ReDimNet) and PalabraAI/redimnet2 (ReDimNet2).

A released file holds `model_config`, the keyword arguments of the network, and `state_dict`. The
trainer's checkpoints are a flat state dict. Keys are ours, but for ReDimNet in its newer layout.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from sv_cli.checkpoints.foreign.redimnet_frontend import read_frontend
from sv_cli.checkpoints.foreign.shapes import Layout, Shapes, sees_context
from sv_cli.errors import CheckpointError, SettingsError
from sv_cli.models import redimnet, redimnet2
from sv_cli.models.redimnet import ReDimNetSettings
from sv_cli.models.redimnet2 import ReDimNet2Settings
from sv_cli.models.registry import MODELS
from sv_cli.settings.model import build_settings

TITLE = "ReDimNet"
FRONTEND = "tfmel"
_FIRST_FRONTEND = "taoruijie"  # of ReDimNet: the same settings with other bins
_LAST_MIX = "backbone.fin_wght1d.w"
_STEM = "backbone.stem.0.weight"
_UNUSED = ("num_classes", "class_dropout", "feat_agg_dropout", "head_activation")
_FRONTEND_OPTIONS = ("feat_type", "hop_length", "spec_params")


@dataclass(frozen=True)
class Family:
    """How the configuration of one of the two networks is read.

    Attributes
    ----------
    names : tuple of str
        Registered networks.
    settings : type
        Of the network.
    settings_of : callable
        Name -> settings.
    stage : tuple of str
        Fields of a stage, in the order of their tuple; `-` is one without effect.
    defaults : dict
        Values of absent options, where they are not those of `settings`.
    fixed : dict
        Option -> (value that is read, value when absent).
    """

    names: tuple[str, ...]
    settings: type[ReDimNetSettings] | type[ReDimNet2Settings]
    settings_of: Callable[[str], ReDimNetSettings | ReDimNet2Settings]
    stage: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


_FIRST = Family(
    names=tuple(name for name, entry in MODELS.items() if entry.module == "redimnet"),
    settings=ReDimNetSettings,
    settings_of=redimnet.settings_of,
    stage=("freq_stride", "blocks", "expansion", "-", "reduction"),
    defaults={"channels": 16, "group_size": 4, "global_context": False, "pooled_norm": True},
    fixed={
        "block_1d_type": ("conv+att", "conv+att"),
        "out_channels": (None, None),
        "emb_bn": (False, False),
        "return_2d_output": (False, False),
        "tf_optimized_arch": (False, False),
    },
)
_SECOND = Family(
    names=tuple(
        name
        for name, entry in MODELS.items()
        if entry.module == "redimnet2" and entry.source == TITLE
    ),
    settings=ReDimNet2Settings,
    settings_of=redimnet2.settings_of,
    stage=("freq_stride", "time_stride", "blocks", "expansion", "-", "reduction"),
    defaults={"block": "resnet"},
    fixed={
        "block_1d_type": ("conv+att", "conv+att"),
        "block_2d_type": ("basic_resnet", "basic_resnet"),
        "causal": ("none", False),
        "fm_weigthing_type": ("NC", "NC"),
        "spec_in_channels": (1, 1),
        "use_freq_pos_enc": (False, False),
        "pad_right_samples": (None, None),
        "before_pool_offset": (None, None),
    },
)
_BOTH_FIXED = {"pooling_func": ("ASTP", "ASTP"), "return_all_outputs": (False, False)}
# Theirs -> ours.
_OPTIONS = {
    "F": "feat_dim",
    "C": "channels",
    "embed_dim": "embedding_dim",
    "group_divisor": "group_size",
    "global_context_att": "global_context",
    "emb_bn": "embedding_norm",
    "out_channels": "out_channels",
    "return_2d_output": "return_2d_output",
    "compress_tconvs": "compress_tconvs",
    "agg_gnorm": "agg_gnorm",
    "dual_agg": "dual_agg",
}
_BLOCKS = {
    "convnext_like": "convnext",
    "basic_resnet": "resnet",
    "basic_resnet_fwse": "resnet_fwse",
}


def recognise(shapes: Shapes) -> Layout | None:
    """Return the network of these keys, or none where the authors have no such network."""
    if _STEM not in shapes or "linear.weight" not in shapes or "bn.weight" not in shapes:
        return None
    if "backbone.inputs_weights.0" in shapes:
        return _first(shapes, "backbone.inputs_weights.1")
    if _LAST_MIX not in shapes:
        return None
    mix = "backbone.stage0.0.w"
    if mix in shapes and shapes[mix][2:3] == (1,):  # one weight for all channels
        return replace(_first(shapes, _LAST_MIX), rename=_rename_first)
    return _second(shapes)


def with_config(layout: Layout, config: Mapping[str, Any], *, what: str) -> Layout:
    """Return the layout as the file's `model_config` gives it, with its front-end.

    Raises
    ------
    CheckpointError
        Names the option of `model_config` that is not supported.
    """
    family = _SECOND if layout.names[0] in _SECOND.names else _FIRST
    what = f"{what}: model_config"
    try:
        settings = _read_settings(family, config, what=what)
        frontend = read_frontend(
            config.get("feat_type", "pt"),
            hop_length=config.get("hop_length", 160),
            num_mel_bins=settings.feat_dim,
            params=config.get("spec_params") or {},
            what=what,
        )
    except SettingsError as error:
        raise CheckpointError(error.message) from error
    described = _describe(family, settings)
    return replace(described, rename=layout.rename, settings=frontend)


def _read_settings(
    family: Family, config: Mapping[str, Any], *, what: str
) -> ReDimNetSettings | ReDimNet2Settings:
    fixed = {**_BOTH_FIXED, **family.fixed}
    for key, (read, absent) in fixed.items():
        value = config.get(key, absent)
        if value != read:
            raise CheckpointError(f"{what}: `{key}` is {value!r}, only {read!r} is supported")
    values = dict(family.defaults)
    for key, value in config.items():
        if key == "stages_setup":
            values["stages"] = _read_stages(family, value, what=what)
        elif key == "block_2d_type":
            if not isinstance(value, str) or value not in _BLOCKS:
                raise CheckpointError(f"{what}: `{key}` {value!r} is not supported")
            values["block"] = _BLOCKS[value]
        elif key in fixed or key in _UNUSED or key in _FRONTEND_OPTIONS:
            continue
        elif _OPTIONS.get(key) not in family.settings.model_fields:
            raise CheckpointError(f"{what}: option `{key}` ({value!r}) is not supported")
        else:
            values[_OPTIONS[key]] = value
    if family is _FIRST:
        for key in ("block_2d_type", "stages_setup"):  # their default changed over time
            if key not in config:
                raise CheckpointError(f"{what}: no `{key}`")
    return build_settings(family.settings, values, where=what)


def _read_stages(family: Family, rows: Any, *, what: str) -> list[dict[str, Any]]:
    stages = []
    for row in rows if isinstance(rows, list | tuple) else [rows]:
        flat = list(row) if isinstance(row, list | tuple) else []
        if family is _SECOND and flat and isinstance(flat[0], list | tuple):
            flat[:1] = flat[0]
        if len(flat) != len(family.stage):
            raise CheckpointError(f"{what}: `stages_setup` has the stage {row!r}")
        stages.append(
            {name: value for name, value in zip(family.stage, flat, strict=True) if name != "-"}
        )
    return stages


def _describe(family: Family, settings: ReDimNetSettings | ReDimNet2Settings) -> Layout:
    """Return the registered network that differs least, and what differs."""
    values = settings.model_dump(mode="json")
    differing: dict[str, dict[str, Any]] = {}
    for name in family.names:
        usual = family.settings_of(name).model_dump(mode="json")
        differing[name] = {key: value for key, value in values.items() if value != usual[key]}
    name = min(family.names, key=lambda name: len(differing[name]))
    sizes = {key: values[key] for key in ("feat_dim", "embedding_dim")}
    return Layout((name,), {**sizes, **differing[name]})


def _first(shapes: Shapes, mix: str) -> Layout:
    choices: dict[str, Any] = {**_sizes(shapes, mix), "pooled_norm": True}
    if not sees_context(shapes):
        choices["global_context"] = False
    note = f"no `model_config`: taken for the front-end `{_FIRST_FRONTEND}` with 10 ms frames"
    return Layout(_FIRST.names, choices, notes=(note,), frontend=_FIRST_FRONTEND)


def _rename_first(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of ReDimNet's newer layout, whose stages hold their mixing weights."""
    stages = {int(match[1]) for key in weights if (match := re.match(r"backbone\.stage(\d+)", key))}

    def rename(key: str) -> str:
        if key == _LAST_MIX:
            return f"backbone.inputs_weights.{len(stages)}"
        match = re.fullmatch(r"backbone\.stage(\d+)\.(\d+)\.(.+)", key)
        if match is None:
            return key
        stage, layer = match[1], int(match[2])
        if layer == 0:
            return f"backbone.inputs_weights.{stage}"
        return f"backbone.stage{stage}.{layer - 2}.{match[3]}"

    return {rename(key): value for key, value in weights.items()}


def _sizes(shapes: Shapes, mix: str) -> dict[str, int]:
    """Return features a frame and embedding; `mix` is a weight of channels times bins."""
    size = shapes[mix][2] if len(shapes[mix]) == 4 else 0
    feat_dim = shapes.divide(size, shapes.rows(_STEM), key=mix)
    return {"feat_dim": feat_dim, "embedding_dim": shapes.rows("linear.weight")}


def _second(shapes: Shapes) -> Layout:
    values: dict[str, Any] = {
        **_sizes(shapes, _LAST_MIX),
        "channels": shapes.rows(_STEM),
        "agg_gnorm": "backbone.stem_gnorm.weight" in shapes,
        "dual_agg": shapes.has("_pre.0.w"),
        "global_context": sees_context(shapes),
        "embedding_norm": "bn2.weight" in shapes,
        "return_2d_output": True,
    }
    if "backbone.head.weight" in shapes:
        values["out_channels"] = shapes.rows("backbone.head.weight")
        values["return_2d_output"] = len(shapes["backbone.head.weight"]) == 4
    stages: list[dict[str, Any]] = []
    channels, time_stride = values["channels"], 1
    size = values["channels"] * values["feat_dim"]
    while (name := _stage_name(shapes, len(stages))) is not None:
        stage, time_stride = _read_stage(shapes, name, channels, size, time_stride)
        channels *= stage["freq_stride"]
        stages.append(stage)
    values["stages"] = stages
    settings = build_settings(ReDimNet2Settings, values, where=shapes.what)
    note = "no `model_config`: taken for the front-end `tfmel`"
    note += ", a grid (`return_2d_output`)" if values.get("out_channels") is None else ""
    note += ", `agg_gnorm` with a group for each channel" if values["agg_gnorm"] else ""
    return replace(_describe(_SECOND, settings), notes=(note,), frontend=FRONTEND)


def _stage_name(shapes: Shapes, index: int) -> str | None:
    names = (f"backbone.stage{index}{kind}" for kind in ("", "_pre"))
    return next((name for name in names if f"{name}.0.w" in shapes), None)


def _read_stage(
    shapes: Shapes, name: str, channels: int, size: int, time_before: int
) -> tuple[dict[str, Any], int]:
    """Return a stage, and the time stride of all stages so far."""
    kernel = f"{name}.2.weight"
    if len(shapes[kernel]) != 4:
        raise CheckpointError(f"{shapes.what}: `{kernel}` has the shape {shapes[kernel]}")
    wide, _, freq_stride, time_stride = shapes[kernel]
    blocks = sum(key.startswith(f"{name}.") and key.endswith("conv1pw.weight") for key in shapes)
    context = (f"{name.removesuffix('_pre')}_1d.", f"{name}.")
    hidden = [
        shapes.rows(key)
        for key in shapes
        if key.startswith(context) and key.endswith("red_dim_conv.0.weight")
    ]
    stage = {
        "freq_stride": freq_stride,
        "time_stride": shapes.divide(time_stride, time_before, key=kernel),
        "blocks": blocks,
        "expansion": wide / (channels * freq_stride),
        "reduction": size // hidden[0] if hidden else None,
    }
    return stage, time_stride
