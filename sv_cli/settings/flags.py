"""A settings model as command-line flags: default, bounds and help are written once."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sv_cli.settings.model import Settings, build_settings
from sv_cli.settings.signature import replace_signature


def settings_flags(parameter: str, cls: type[Settings]) -> Callable[[Callable[..., Any]], Any]:
    """Replace the argument `parameter` of a command by one flag for each field of `cls`.

    The command receives a built `cls`; a wrong value is a usage error that names the flag's field.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(**arguments: Any) -> Any:
            values = {name: arguments.pop(name) for name in cls.model_fields}
            arguments[parameter] = build_settings(cls, values, where="options")
            return function(**arguments)

        flags = [_flag(name, cls) for name in cls.model_fields]
        kept = [p for p in signature.parameters.values() if p.name != parameter]
        replace_signature(run, [*kept, *flags])
        return run

    return decorate


def _flag(name: str, cls: type[Settings]) -> inspect.Parameter:
    field = cls.model_fields[name]
    flag = "--" + name.replace("_", "-")
    # What is off needs no way to be turned off.
    declaration = f"{flag}/--no-{flag[2:]}" if field.default is True else flag
    option = typer.Option(declaration, help=field.description, show_envvar=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[field.annotation, option],
    )
