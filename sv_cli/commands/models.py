"""`svtool models`."""

import json
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.commands.models_page import page, record
from sv_cli.errors import SettingsError
from sv_cli.models.deployed import DEPLOYED
from sv_cli.models.registry import MODELS, find_model


def models(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Describe this one.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The whole page of the documentation.")
    ] = False,
) -> None:
    r"""List the networks that `train --model` knows, or describe one.

    GMAC are 10^9 multiply-accumulates for 200 frames; `deployed` counts the parameters of RepVGG
    with fused branches; the EER is the one that the source publishes for VoxCeleb1-O, where it
    does.

    \b
    Examples:
      $ svtool models ecapa_glob_c512
      $ svtool models --json | python -m json.tool
    \b
    See also: train, extract
    """
    if markdown and (name or as_json):
        raise SettingsError("`--markdown` writes the page of all networks: no other option")
    if markdown:
        logs.data(page())
    elif as_json:
        names = [find_model(name)] if name else list(MODELS)
        rows = {key: record(key) for key in names}
        logs.data(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    elif name:
        logs.data(
            "".join(f"{key}: {_say(value)}\n" for key, value in record(find_model(name)).items())
        )
    else:
        logs.data(table())


def _say(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)


def table() -> str:
    """Return one line a network."""
    rows = [
        [name, entry.family, f"{entry.parameters / 1e6:.2f}",
         f"{DEPLOYED[name] / 1e6:.2f}" if name in DEPLOYED else "", f"{entry.macs:.2f}",
         str(entry.embedding_dim), entry.frontend, entry.source,
         "" if entry.published_eer is None else f"{entry.published_eer:.3f}"]
        for name, entry in MODELS.items()
    ]  # fmt: skip
    header = ["name", "family", "params [M]", "deployed", "GMAC", "dim", "front-end", "source"]
    header.append("Vox1-O EER %")
    return logs.format_table(header, rows)
