"""Size and shape of a Python package: files, functions, private helpers, documentation.

    python benchmarks/shape.py                 # sv_cli
    python benchmarks/shape.py PACKAGE_DIR ... # any other package, side by side

A private function counts as called once when its name occurs once in its own file besides its
definition, and in no other file of the package.
"""

import ast
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print one column per package."""
    folders = [Path(name) for name in sys.argv[1:]] or [Path(__file__).parent.parent / "sv_cli"]
    columns = [measure(folder) for folder in folders]
    width = max(len(name) for name in columns[0])
    print(" " * width, *(f"{folder.name:>16}" for folder in folders))
    for name in columns[0]:
        print(f"{name:<{width}}", *(f"{column[name]:>16}" for column in columns))


def measure(folder: Path) -> dict[str, str]:
    """Return the measures of the package in a folder."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    lines = [len(text.splitlines()) for text in texts.values()]
    names = Counter(name for text in texts.values() for name in re.findall(r"\w+", text))
    functions: list[Function] = []
    outer: list[Function] = []
    once = 0
    for text in texts.values():
        own = Counter(re.findall(r"\w+", text))
        for node in ast.walk(ast.parse(text)):
            is_private = isinstance(node, ast.ClassDef) and node.name.startswith("_")
            if isinstance(node, ast.Module | ast.ClassDef) and not is_private:
                outer += [each for each in node.body if isinstance(each, Function)]
            if isinstance(node, Function):
                functions.append(node)
                is_private = node.name.startswith("_") and not node.name.startswith("__")
                once += is_private and own[node.name] == names[node.name] == 2
    bodies = sorted(map(body_lines, functions))
    public = [each for each in outer if not each.name.startswith("_")]
    return {
        "files": f"{len(texts):,}",
        "lines": f"{sum(lines):,}",
        "file median / max": f"{statistics.median(lines):.0f} / {max(lines)}",
        "function median / p90 / max": (
            f"{statistics.median(bodies):.0f} / {bodies[int(0.9 * len(bodies))]} / {bodies[-1]}"
        ),
        "private, called once, per 1,000": f"{1000 * once / sum(lines):.1f}",
        "public typed, %": share(public, is_typed),
        "public documented, %": share(public, lambda each: ast.get_docstring(each) is not None),
    }


def body_lines(function: Function) -> int:
    """Return the lines of a body without its docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def is_typed(function: Function) -> bool:
    """Return whether all arguments but self and cls, and the result, have a type."""
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    named = [each for each in arguments if each.arg not in ("self", "cls")]
    return function.returns is not None and all(each.annotation for each in named)


def share(functions: list[Function], holds: Callable[[Function], bool]) -> str:
    """Return the percentage of functions for which `holds` is true."""
    return f"{100 * sum(map(holds, functions)) / max(len(functions), 1):.0f}"


if __name__ == "__main__":
    main()
