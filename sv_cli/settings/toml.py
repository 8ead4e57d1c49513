"""Recipes: TOML with one `extends`, dotted overrides, and where each value came from."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from sv_cli.atomic import atomic_open
from sv_cli.errors import SettingsError
from sv_cli.settings.model import Settings


class Layers:
    """Values laid over one another, each remembering which layer set it.

    Order of the house: default < model preset < `extends` file < recipe < `--set` and flags.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def add(self, values: Mapping[str, Any], *, origin: str) -> None:
        """Lay `values` (nested mappings) over what is there."""
        _merge(self.values, values)
        for name in _dotted(values):
            self.origins[name] = origin

    def origin(self, name: str) -> str:
        """Return the layer that set the dotted `name`."""
        return self.origins.get(name, "default")


def read_recipe(path: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the layers of a recipe file, the extended file first: (origin, values).

    Raises
    ------
    SettingsError
        When a file is missing, is not TOML, or the extended file extends another one.
    """
    path = Path(path)
    values = _read_toml(path)
    parent = values.pop("extends", None)
    if parent is None:
        return [(str(path), values)]
    base_path = path.parent / str(parent)
    base = _read_toml(base_path)
    if "extends" in base:
        raise SettingsError(f"`{base_path}`: an extended recipe cannot extend another one")
    return [(str(base_path), base), (str(path), values)]


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Return nested values of `a.b=c` texts; values are TOML, bare words are strings.

    Examples
    --------
    >>> parse_overrides(["optim.lr=0.1", "model=ecapa_c512"])
    {'optim': {'lr': 0.1}, 'model': 'ecapa_c512'}
    """
    result: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"`--set {item}`: expected `name=value`")
        nested: Any = _parse_value(text)
        for part in reversed(name.strip().split(".")):
            nested = {part: nested}
        _merge(result, nested)
    return result


def write_settings(path: str | Path, settings: Settings) -> None:
    """Write settings as TOML, unset (None) fields left out."""
    with atomic_open(path) as stream:
        stream.write(tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True)))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one level of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def describe_settings(settings: Settings, layers: Layers) -> str:
    """Return one line a setting: name, value, origin."""
    lines = [
        f"{name} = {value!r}  # {layers.origin(name)}\n"
        for name, value in flatten(settings.model_dump(mode="json")).items()
    ]
    return "".join(lines)


def _dotted(values: Mapping[str, Any]) -> list[str]:
    return list(flatten(values))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise SettingsError(f"`{path}`: no such recipe") from error
    except OSError as error:
        raise SettingsError(f"cannot read `{path}`: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"`{path}`: not TOML: {error}") from error


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, Mapping):
            nested = target.get(key)
            if not isinstance(nested, dict):
                nested = target[key] = {}
            _merge(nested, value)
        else:
            target[key] = value
