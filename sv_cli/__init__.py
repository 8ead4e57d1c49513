"""svtool: speaker verification on the command line, and `load_model` for Python."""

from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Give `sv_cli.load_model`, loaded when it is asked for.

    By name, because this file is below all others and every command passes through it:
    `svtool --help` must not pay for torch.
    """
    if name != "load_model":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from importlib import import_module

    return import_module("sv_cli.extraction.api").load_model
