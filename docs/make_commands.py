"""Write `docs/commands.md` to stdout: every command's help, without the options all share."""

import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from sv_cli.cli import COMMANDS, COMMON, app

INTRODUCTION = """\
# Commands

Written by `make docs` from the help texts; to change it, change the commands. The options at the
end are understood by all of them. Every option has an environment variable, too:
`SVTOOL_<COMMAND>_<OPTION>`.
"""
SHARED = {*COMMON, "help"}


def page() -> str:
    """Return the page."""
    root = typer.main.get_command(app)
    found = dict(commands_of(root, "svtool"))
    names = sorted(found, key=place_of)
    index = "\n".join(f"- [`{name}`](#{name.replace(' ', '-')})" for name in names)
    parts = [INTRODUCTION, index, *(section(name, found[name]) for name in names)]
    shared = next(iter(found.values()))
    parts.append("## Options of every command\n\n" + block(records(shared, shared=True)))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def commands_of(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (full name, command) of all that can be called."""
    below = getattr(command, "commands", {})
    for verb, child in below.items():
        yield from commands_of(child, f"{name} {verb}")
    if not below:
        yield name, command


def place_of(name: str) -> int:
    """Return where the first word stands in the list of `svtool --help`; verbs keep their order."""
    firsts = [known.split()[0] for known, _, _ in COMMANDS]
    return firsts.index(name.split()[1])


def section(name: str, command: Any) -> str:
    """Return heading, usage, text, and the command's own arguments and options."""
    context = command.context_class(command, info_name=name)
    pieces = (p.upper() for p in command.collect_usage_pieces(context) if p != "[OPTIONS]")
    usage = " ".join(p.strip("{}") for p in pieces)
    text, _, examples = (command.help or "").partition("\b\nExamples:\n")
    examples, _, also = examples.partition("\b\nSee also: ")
    lines = [line.removeprefix("  ") for line in examples.rstrip().splitlines()]
    parts = [f"## {name}", text.strip(), block([(f"{name} [OPTIONS] {usage}".strip(), "")])]
    own = records(command, shared=False)
    parts += [block(own)] if own else []
    parts += ["```sh\n" + "\n".join(lines) + "\n```"] if lines else []
    parts += [f"See also: {also.strip()}"] if also else []
    return "\n\n".join(parts)


def records(command: Any, *, shared: bool) -> list[tuple[str, str]]:
    """Return (names, help) of arguments and options."""
    context = command.context_class(command, info_name="")
    chosen = (p for p in command.params if (p.name in SHARED) == shared)
    rows = (p.get_help_record(context) for p in chosen)
    return [row for row in rows if row is not None]


def block(rows: list[tuple[str, str]]) -> str:
    """Return rows as lines of two columns in a block of code."""
    width = min(36, max(len(left) for left, _ in rows))
    lines = []
    for left, right in rows:
        lines.append(f"{left:<{width}}  {right}".rstrip())
    return "```\n" + "\n".join(lines) + "\n```"


if __name__ == "__main__":
    sys.stdout.write(page())
