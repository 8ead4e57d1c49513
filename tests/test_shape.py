"""Ceilings on the size of files and functions: split where the idea changes."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "sv_cli"
FILE_LINES = 500
FUNCTION_LINES = 60
COMMAND_LINES = 40
MAX_ARGUMENTS = 10
FORBIDDEN_NAMES = {"utils", "common", "helpers", "misc", "base", "manager"}

FILES = sorted(ROOT.rglob("*.py"))


def functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def body_lines(function: ast.FunctionDef) -> int:
    """Lines of the body without its docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_shape(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    is_command = path.parent.name == "commands"
    for function in functions(path):
        ceiling = COMMAND_LINES if is_command else FUNCTION_LINES
        assert body_lines(function) <= ceiling, f"{path.name}:{function.name} is too long"
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        count = len([a for a in arguments if a.arg not in ("self", "cls")])
        if not is_command:
            assert count <= MAX_ARGUMENTS, f"{path.name}:{function.name} has {count} arguments"
