"""Files of trained score models: JSON, written whole, versioned, read with checks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sv_cli.atomic import atomic_open
from sv_cli.backend.score_model import VERSION, ScoreModel
from sv_cli.errors import SettingsError, TableError
from sv_cli.settings.model import build_settings
from sv_cli.tables.lineage import (
    Lineage,
    check_same_model,
    check_same_steps,
    read_embedded,
    read_lineage,
)

AnyModel = TypeVar("AnyModel", bound=ScoreModel)


def write_score_model(path: str | Path, model: ScoreModel) -> None:
    """Write a score model as JSON with one key a line."""
    with atomic_open(path) as stream:
        stream.write(format_score_model(model))


def format_score_model(model: ScoreModel) -> str:
    """Return the JSON text of a score model."""
    return json.dumps(model.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def read_score_model(path: str | Path, cls: type[AnyModel]) -> AnyModel:
    """Return the score model in a file.

    Raises
    ------
    TableError
        When the file is missing, is no JSON, is of another kind or version, or lacks a value.
    """
    values = read_json(path)
    kind = values.get("kind")
    if kind != cls.kind_name:
        raise TableError(
            f"`{path}` is no {cls.kind_name} model" + (f" but a {kind} model" if kind else "")
        )
    if values.get("version") != VERSION:
        raise TableError(
            f"`{path}` has version {values.get('version')}, not {VERSION}",
            hint="train it again with this release",
        )
    try:
        return build_settings(cls, values, where=f"`{path}`")
    except SettingsError as error:
        raise TableError(error.message, hint=error.hint) from error


def check_scores(made: ScoreModel, given: Lineage, *, path: str | Path) -> None:
    """Refuse scores of a different model, command or setting than those of the training.

    Scores of unknown lineage (out of a pipe, or written by another program) are accepted, which
    is reported.

    Raises
    ------
    TableError
        When both are known and differ.
    """
    check_same_steps(read_embedded(made.lineage, str(path)), given, path=path)


def scores_lineage(scores: str, embeddings: str | None = None) -> Lineage:
    """Return the lineage of a table of scores; its model may be named by the embeddings.

    Raises
    ------
    TableError
        When both name different models, or the embeddings have no record.
    """
    found = read_lineage(scores, wanted=None)
    if embeddings is None:
        return found
    named = read_lineage(embeddings)
    if named.model is None:
        raise TableError(
            f"the model of `{embeddings}` is unknown", hint="there is no record next to it"
        )
    return replace(found, model=check_same_model(found, named))


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"cannot read `{path}`: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TableError(f"`{path}` is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise TableError(f"`{path}` holds no JSON object")
    return values
