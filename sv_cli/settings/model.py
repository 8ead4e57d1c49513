"""The frozen settings model; wrong values are collected and reported in the user's words."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from sv_cli.errors import SettingsError


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


AnySettings = TypeVar("AnySettings", bound=Settings)


def build_settings(
    cls: type[AnySettings], values: Mapping[str, Any], *, where: str = "settings"
) -> AnySettings:
    """Return `cls` made of `values`.

    Raises
    ------
    SettingsError
        Names every problem at once, one a line, with the nearest known name for unknown ones.
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        lines = [_describe(cls, problem) for problem in error.errors()]
    raise SettingsError(f"{where}: " + "; ".join(lines))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` for the nearest known name, or an empty text."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean `{matches[0]}`?)" if matches else ""


def _describe(cls: type[Settings], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location) or "settings"
    if problem["type"] == "extra_forbidden":
        known = _fields_at(cls, location[:-1])
        return f"`{name}`: unknown setting" + nearest(location[-1], known)
    if problem["type"] == "missing":
        return f"`{name}`: missing"
    if problem["type"] == "value_error":
        return f"`{name}`: {problem['ctx']['error']}"
    return f"`{name}`: {problem['msg'][0].lower()}{problem['msg'][1:]}, got {problem['input']!r}"


def _fields_at(cls: type[Settings], location: list[str]) -> list[str]:
    for part in location:
        field = cls.model_fields.get(part)
        nested = _settings_in(field.annotation) if field else None
        if nested is None:
            return []
        cls = nested
    return list(cls.model_fields)


def _settings_in(annotation: Any) -> type[Settings] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Settings):
            return candidate
    return None
