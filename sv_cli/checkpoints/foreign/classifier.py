"""Classifier heads of other projects: their tensors under our keys, and the names of their classes.

WeSpeaker's `projection.*`, speaker-net's `loss.*`, TaoRuijie's `speaker_loss.*` and the
`classifier.ckpt` of 3D-Speaker and SpeechBrain have the layouts of our losses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sv_cli.errors import CheckpointError, SettingsError
from sv_cli.tables.datadir.signal import speed_prefix
from sv_cli.tables.text import read_table

# First parts of the keys of classifiers.
PARTS = ("projection", "loss", "speaker_loss", "classifier", "__L__")
# The speeds that all of these projects train with, in the order of their classes, after 1.0.
SPEEDS = (0.9, 1.1)
USUAL_SUBCENTERS = (1, 3)
_COUNTED = ("weight", "trans.2.weight")  # these have the rows of the classes
_LAYOUTS = (
    {"weight"},
    {"weight", "bias"},
    {"trans.0.weight", "trans.0.bias", "trans.0.running_mean", "trans.0.running_var",
     "trans.0.num_batches_tracked", "trans.2.weight", "trans.2.bias"},
)  # fmt: skip


@dataclass(frozen=True)
class ClassNames:
    """What the user states about the classes of a head.

    Attributes
    ----------
    spk2id : path or None
        File of speakers and their numbers: lines `speaker number`, or a JSON object.
    subcenters : int or None
        Rows per class.
    """

    spk2id: str | Path | None = None
    subcenters: int | None = None


def read_head(classifier: Mapping[str, Any], *, embedding_dim: int) -> dict[str, Tensor]:
    """Return a head under the keys of our losses, float32; empty where it has no such layout.

    Parameters
    ----------
    classifier : dict
        Key in the file -> tensor.
    embedding_dim : int
        Columns that the rows of classes must have.
    """
    head = {}
    for key, value in classifier.items():
        if not isinstance(value, Tensor) or not bool(torch.isfinite(value).all()):
            return {}
        # speaker-net keeps the rows as a convolution of width 1.
        tensor = value.squeeze(-1) if value.dim() == 3 else value
        head[key.partition(".")[2]] = tensor.float() if tensor.is_floating_point() else tensor
    if set(head) not in _LAYOUTS or _rows(head).shape[1:] != (embedding_dim,):
        return {}
    if "weight" in head and "bias" in head and head["bias"].shape != (1, 1):
        return {}
    return head


def count_rows(head: Mapping[str, Tensor]) -> int:
    """Return the number of rows of all classes."""
    return len(_rows(head))


def name_classes(
    head: Mapping[str, Tensor], names: ClassNames, *, subcenters: int | None = None
) -> list[str]:
    """Return the names of the classes of a head, `spk` and then `sp0.9-spk`, `sp1.1-spk`.

    Parameters
    ----------
    head : dict
        As `read_head` returns it.
    names : ClassNames
        With `spk2id`.
    subcenters : int, optional
        Rows per class that a configuration file states; `names.subcenters` comes first.

    Raises
    ------
    CheckpointError
        When the rows are no multiple of the speakers, or leave open whether a speaker has several
        rows or several speeds.
    """
    speakers = read_spk2id(str(names.spk2id))
    rows = count_rows(head)
    stated = names.subcenters or subcenters
    allowed = USUAL_SUBCENTERS if stated is None else (stated,)
    readings = [
        (centers, speeds)
        for centers in allowed
        for speeds in ((), SPEEDS)
        if rows == len(speakers) * centers * (1 + len(speeds))
    ]
    where = f"`{names.spk2id}` has {len(speakers)} speakers, the head {rows} rows"
    if not readings:
        what = "1 or 3" if stated is None else str(stated)
        raise CheckpointError(f"{where}: not {what} a class, at one speed or at three")
    if len(readings) > 1:
        raise CheckpointError(
            f"{where}: three rows a class, or classes of three speeds",
            hint="`--subcenters 3` or `--subcenters 1`",
        )
    speeds = readings[0][1]
    return [*speakers, *(speed_prefix(speed) + spk for speed in speeds for spk in speakers)]


def read_spk2id(path: str) -> list[str]:
    """Return the speakers of a spk2id file in the order of their numbers.

    Raises
    ------
    CheckpointError
        When the numbers are not 0, 1, 2, ... once each.
    TableError
        When the file is missing or a line has no two fields.
    """
    numbers = _read_json(path) or read_table(path, fields=1, what="spk2id")
    speakers = sorted(numbers, key=lambda spk: int(numbers[spk]) if _is_number(numbers[spk]) else 0)
    for place, speaker in enumerate(speakers):
        if str(numbers[speaker]) != str(place):
            raise CheckpointError(
                f"`{path}`: speaker `{speaker}` has the number `{numbers[speaker]}` where "
                f"{place} is expected",
                hint="each of 0, 1, 2, ... belongs to one speaker",
            )
    return speakers


def _read_json(path: str) -> dict[str, Any]:
    """Return the object of a JSON file; empty for any other file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_number(value: Any) -> bool:
    return str(value).isdecimal()


def _rows(head: Mapping[str, Tensor]) -> Tensor:
    return next(head[key] for key in _COUNTED if key in head)


def check_named(head: Mapping[str, Tensor], names: ClassNames, *, path: Path) -> None:
    """Refuse names for a head that is not there.

    Raises
    ------
    CheckpointError, SettingsError
        The first for `spk2id` without a head, the second for `subcenters` without `spk2id`.
    """
    if names.subcenters is not None and names.spk2id is None:
        raise SettingsError("`--subcenters` needs `--spk2id`")
    if names.spk2id is not None and not head:
        raise CheckpointError(
            f"`{path}`: has no classifier head that `--spk2id` could name",
            hint="leave `--spk2id` out",
        )
