"""Imports point downwards, and each outside library is reached through its door only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sv_cli.floors import DOORS, FLOORS, LIBRARY_DOOR, TENSORS_ONLY, WITHOUT_TORCH

ROOT = Path(__file__).parent.parent / "sv_cli"


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Give (line, dotted name) of every absolute import, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.lineno, str(node.module)
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def problems_in(module: str, source: str) -> list[str]:
    """Return what a module (dotted, below sv_cli) imports against the rules."""
    found = set()
    folder = module.split(".")[0]
    for line, name in imports_of(source):
        top, *rest = name.split(".")
        if top == "sv_cli":
            other = rest[0] if rest else "__init__"
            if is_upwards(folder, other):
                found.add(f"{module}:{line}: {folder} imports {other} (floor {FLOORS[other]})")
            through_door = is_below(".".join(rest), LIBRARY_DOOR)
            if folder in TENSORS_ONLY and other in ("tables", "audio") and not through_door:
                found.add(f"{module}:{line}: {folder} sees tensors only, not {other}")
        if top == "torch" and folder in WITHOUT_TORCH:
            found.add(f"{module}:{line}: {folder} must work without torch")
        for library, doors in DOORS.items():
            if is_below(name, library) and not any(is_below(module, door) for door in doors):
                found.add(f"{module}:{line}: {library} is reached through {doors}")
    return sorted(found)


def is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def is_upwards(folder: str, other: str) -> bool:
    """Tell whether `other` stands above `folder` or beside it; floor 0 is one room."""
    if other not in FLOORS or other == folder:
        return False
    return FLOORS[other] >= max(FLOORS[folder], 1)


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), path)
        for path in sorted(ROOT.rglob("*.py"))
    ]


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_imports_point_downwards(module: str, path: Path) -> None:
    name = module.removesuffix(".__init__")
    assert name.split(".")[0] in FLOORS, f"{path} stands on no floor"
    assert problems_in(name, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("tables.text", "from sv_cli.audio.read import read_waveform", "floor 2"),
        ("training.trainer", "def f():\n    import lhotse", "lhotse"),
        ("metrics.eer", "import torch", "without torch"),
        ("models.ecapa", "from sv_cli.tables import text", "tensors only"),
        ("models.ecapa", "from sv_cli.audio import read", "tensors only"),
        ("models.ecapa", "import transformers", "transformers"),
        ("extraction.x", "import torch.distributed as dist", "torch.distributed"),
    ],
)
def test_planted_violations_are_found(module: str, source: str, word: str) -> None:
    assert any(word in problem for problem in problems_in(module, source))
