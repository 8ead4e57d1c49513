"""The settings of a run from all their layers, lowest first; free of torch until it is needed."""

from pathlib import Path
from typing import Any

from sv_cli.augment.settings import CHAINS
from sv_cli.errors import SettingsError
from sv_cli.settings.toml import Layers, flatten, parse_overrides, read_recipe


def collect_settings(
    *, model: str = "", config: str = "", init: str = "", overrides: list[str] | None = None
) -> Layers:
    """Return the layers above the defaults.

    In rising order: the network and front-end of what the run starts from (or, with
    `init.inherit`, all settings of the run that made it), the recipe's `extends`, the recipe,
    flags, `--set`.

    Raises
    ------
    SettingsError
        When a recipe is wrong, or there are no settings to inherit.
    """
    named = read_recipe(config) if config else []
    if model:
        named.append(("--model", {"model": model}))
    if init:
        named.append(("--init", {"init": {"model": init}}))
    named.append(("--set", parse_overrides(overrides or [])))
    asked = _merge(named)
    start = asked.values.get("init", {})
    if not start.get("model"):
        return asked
    below = _inherited(start["model"]) if start.get("inherit") else _network(asked.values)
    return _merge([*below, *named])


def _merge(named: list[tuple[str, dict[str, Any]]]) -> Layers:
    layers = Layers()
    for origin, values in named:
        layers.add(values, origin=origin)
    chain = str(layers.values.get("augment", {}).get("chain", "none"))
    for name in flatten(CHAINS.get(chain, {})):
        layers.origins.setdefault(f"augment.{name}", f"chain {chain}")
    return layers


def _inherited(spec: str) -> list[tuple[str, dict[str, Any]]]:
    path = Path(spec)
    if not path.exists():
        path = Path(spec.partition(":")[0])
    folder = path if path.is_dir() else path.parent
    recipe = folder / "settings.toml"
    if not recipe.is_file():
        raise SettingsError(
            f"`init.inherit`: no `{recipe}` to take the settings from",
            hint="start from the experiment directory of the base run",
        )
    layers = read_recipe(recipe)
    for _, values in layers:
        values.pop("init", None)
    return layers


def _network(asked: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    from sv_cli.models.registry import find_model
    from sv_cli.training.initial import read_source

    source = read_source(asked["init"]["model"])
    wanted = asked.get("model")
    if wanted is not None and find_model(str(wanted)) != find_model(source.model):
        return []  # another network around the same front-end, or a mistake that loading names
    if "frontend" in asked:
        return [(str(source.path), {"model": source.model, "model_options": source.options})]
    return [(str(source.path), source.settings)]
