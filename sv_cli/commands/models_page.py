"""`docs/models.md`: the table of all networks, made of what the registries say; no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from sv_cli.checkpoints.hub import PUBLISHED, TITLES, Published
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.deployed import DEPLOYED
from sv_cli.models.registry import ALIASES, MODELS, ModelEntry

_FRAMES = 200
_INTRODUCTION = """\
# Networks

Written by `make docs` (`svtool models --markdown`); to change it, change the registry. A network
is built by `svtool train --model NAME`.

- Parameters are counted with default settings. GMAC are 10^9 multiply-accumulates (convolutions
  and products) for the input given next to them: frames x features, or seconds of samples.
- The EER in % is on VoxCeleb1-O cleaned as the source publishes it, trained on VoxCeleb2 dev
  (SimAM-ResNet: VoxBlink2 before). WeSpeaker and speaker-net: large-margin fine-tuning and AS-norm,
  without fine-tuning for `res2net34_base` and `repvgg_tiny_a0`. TaoRuijie: AS-norm. 3D-Speaker:
  plain cosine. WavLM and w2v-BERT 2.0 are WeSpeaker's, fine-tuned jointly and with a large margin,
  AS-norm and plain cosine. ReDimNet2 is its authors', with large-margin fine-tuning and unstated
  scoring. None of them was measured by svtool; empty: not published.
- *Source* is the project whose layout and keys are kept. `svtool import` reads the weights of the
  projects in the last column, found by keys and shapes, and those below each table by their
  published name (`svtool import hub:NAME OUT`).
- Which of them leave as ONNX, and which gain by `torch.compile`: see [numbers.md](numbers.md).
"""


def page() -> str:
    """Return the page."""
    families = list(dict.fromkeys(entry.family for entry in MODELS.values()))
    count = f"{len(MODELS)} networks of {len(families)} families."
    return "\n".join([_INTRODUCTION, count, *map(_section, families)]) + "\n"


def record(name: str) -> dict[str, object]:
    """Return all that is known of one network."""
    entry = MODELS[name]
    return {
        "name": name,
        "aliases": [alias for alias, full in ALIASES.items() if full == name],
        **asdict(entry),
        "deploy_parameters": DEPLOYED.get(name),
        "input": input_size(entry),
        "imported_from": projects(name),
        "published": [row.name for row in published(name)],
        "paper": entry.paper,
        "url": entry.url,
    }


def input_size(entry: ModelEntry) -> str:
    """Return the input of the operation count."""
    frontend = FRONTENDS[entry.frontend]
    if frontend.kind == "waveform":
        return f"{_FRAMES // 100} s"
    return f"{_FRAMES} x {frontend.feat_dim}"


def published(name: str) -> list[Published]:
    """Return the published weights of a network."""
    return [row for row in PUBLISHED.values() if row.model == name]


def projects(name: str) -> list[str]:
    """Return the titles of the projects whose weights of this network are read."""
    titles = {TITLES[row.project] for row in published(name)}
    return [title for title in TITLES.values() if title in titles | {MODELS[name].source}]


def _section(family: str) -> str:
    names = [name for name, entry in MODELS.items() if entry.family == family]
    entry = MODELS[names[0]]
    header = ["name", "parameters", "GMAC", "input", "embedding", "front-end", "source", "EER %"]
    header.append("`svtool import` reads")
    if any(name in DEPLOYED for name in names):
        header.insert(2, "in deploy form")
    lines = [f"\n## {family}\n", f"[{entry.paper}]({entry.url})\n", *_rows(header)]
    lines.append("|" + "---|" * len(header))
    lines += _rows(*(_cells(name, width=len(header)) for name in names))
    lines += _hub_lines(names)
    return "\n".join(lines)


def _cells(name: str, *, width: int) -> list[str]:
    entry = MODELS[name]
    cells = [
        f"`{name}`",
        f"{entry.parameters:,}",
        f"{entry.macs:.3g}",
        input_size(entry),
        str(entry.embedding_dim),
        entry.frontend,
        entry.source,
        "" if entry.published_eer is None else f"{entry.published_eer:g}",
        ", ".join(projects(name)),
    ]
    if width > len(cells):
        cells.insert(2, f"{DEPLOYED[name]:,}")
    return cells


def _hub_lines(names: Sequence[str]) -> Iterator[str]:
    """Yield what is published for the networks of a family."""
    if any(published(name) for name in names):
        yield ""
    for name in names:
        known = ", ".join(f"[{row.name}]({row.page})" for row in published(name))
        if known:
            yield f"- `{name}`: {known}"


def _rows(*rows: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in rows]
