"""Weight files as other projects write them, filled by the rule of the recorded embeddings."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "models"))
import golden_models

from sv_cli.models.registry import build_model

PROJECT_OF = {
    "WeSpeaker": "wespeaker",
    "3D-Speaker": "3dspeaker",
    "speaker-net": "speaker-net",
    "TaoRuijie": "taoruijie",
    "ReDimNet": "redimnet",
}
PEER_OF = {
    "wenet-e2e/wespeaker": "wespeaker",
    "modelscope/3D-Speaker": "3dspeaker",
    "matln/speaker-net": "speaker-net",
    "TaoRuijie/ECAPA-TDNN": "taoruijie",
}


def fill_all(shapes: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of these keys and shapes, as they were when the embeddings were recorded."""
    return {
        key: torch.from_numpy(golden_models.fill(key, tuple(shape)))
        for key, shape in shapes.items()
    }


def weights_of(name: str, **options: Any) -> dict[str, Tensor]:
    """Filled weights of a network whose keys are the project's own."""
    with torch.device("meta"):
        state = build_model(name, **options).state_dict()
    return fill_all({key: tuple(value.shape) for key, value in state.items()})


def shapes_of(name: str, **options: Any) -> dict[str, Tensor]:
    """Weights without values, under the keys of the project that the network comes from."""
    with torch.device("meta"):
        state = build_model(name, **options).state_dict()
    if name.startswith("eres2net34"):
        return wespeaker_eres2net(state)
    return state


def wespeaker_eres2net(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys of WeSpeaker's ERes2Net: the first convolution of a fusing block stands apart."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] in ("layer3", "layer4") and parts[2] in ("convs", "bns"):
            number, kind = int(parts[3]), parts[2].removesuffix("s")
            middle = [f"{kind}2_1"] if number == 0 else [parts[2], str(number - 1)]
            key = ".".join([*parts[:2], *middle, *parts[4:]])
        renamed[key] = value
    return renamed


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def recorded(shared: Path, name: str) -> dict[str, Any]:
    """All of a recorded network: shapes under the project's keys, embeddings."""
    return golden_models.read_golden(shared / "golden" / "models" / f"{name}.json.gz")
