"""`svtool models`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.models.registry import ALIASES, MODELS, find_model


def models(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Describe this one.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    r"""List the networks that `train --model` knows, or describe one.

    GMAC are 10^9 multiply-accumulates for 200 frames; the EER is the one that the source
    publishes for VoxCeleb1-O, where it does.

    \b
    Examples:
      $ svtool models ecapa_glob_c512
      $ svtool models --json | python -m json.tool
    \b
    See also: train, extract
    """
    chosen = {find_model(name): MODELS[find_model(name)]} if name else MODELS
    if as_json:
        rows = {key: asdict(entry) for key, entry in chosen.items()}
        logs.data(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    elif name:
        logs.data("".join(f"{key}: {value}\n" for key, value in describe(find_model(name)).items()))
    else:
        logs.data(table())


def describe(name: str) -> dict[str, object]:
    """Return what is known of one network, for people."""
    entry = MODELS[name]
    aliases = ", ".join(alias for alias, full in ALIASES.items() if full == name)
    return {"name": name, "aliases": aliases or "none", **asdict(entry)}


def table() -> str:
    """Return one line a network."""
    rows = [
        [name, entry.family, f"{entry.parameters / 1e6:.2f}", f"{entry.macs:.2f}",
         str(entry.embedding_dim), entry.frontend, entry.source,
         "" if entry.published_eer is None else f"{entry.published_eer:.3f}"]
        for name, entry in MODELS.items()
    ]  # fmt: skip
    header = ["name", "family", "params [M]", "GMAC", "dim", "front-end", "source", "Vox1-O EER %"]
    return logs.format_table(header, rows)
