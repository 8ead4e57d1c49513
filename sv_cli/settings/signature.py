"""Signatures that typer reads in place of those that were written."""

import inspect
from collections.abc import Callable
from typing import Any


def replace_signature(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Give `function` these parameters, for typer to read."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
