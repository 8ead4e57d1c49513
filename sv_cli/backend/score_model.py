"""The small JSON files of trained score models: written whole, versioned, read with checks."""

import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from sv_cli import logs
from sv_cli.atomic import atomic_open
from sv_cli.backend.score_origin import Origin, common_hash, read_origin
from sv_cli.errors import SettingsError, TableError
from sv_cli.settings.model import Settings, build_settings
from sv_cli.tables.specifier import parse_rspecifier

VERSION = 1


class ScoreModel(Settings):
    """What every trained score model records; a subclass names its `kind` and its numbers."""

    kind_name: ClassVar[str] = ""

    kind: str
    version: int = Field(default=VERSION, ge=VERSION, le=VERSION)
    model_hash: str | None = Field(
        default=None, description="hash of the embedding model whose scores it was trained on"
    )
    made_by: str | None = Field(
        default=None, description="command that made the scores it was trained on"
    )
    num_target: int = Field(ge=0)
    num_nontarget: int = Field(ge=0)


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
    values = _read_json(path)
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


def check_scores(made: ScoreModel, given: Origin, *, path: str | Path, source: str | None) -> None:
    """Refuse scores of another embedding model, or of another command, than in training.

    Scores of unknown origin (out of a pipe, or written by another program) are taken as they
    are; that their model was not checked is said.

    Raises
    ------
    TableError
        When both are known and differ.
    """
    if made.model_hash is not None and given.model_hash is None:
        logs.info(f"`{source}` does not tell its model; that of `{path}` is not checked")
    elif made.model_hash is not None and given.model_hash != made.model_hash:
        raise TableError(
            f"`{path}` was trained on scores of model {made.model_hash[:12]}, `{source}` is of "
            f"{str(given.model_hash)[:12]}",
            hint="train it again on scores of the new model",
        )
    if None not in (made.made_by, given.made_by) and made.made_by != given.made_by:
        raise TableError(
            f"`{path}` was trained on scores of `{made.made_by}`, `{source}` holds scores of "
            f"`{given.made_by}`",
            hint="give it scores that went through the same steps",
        )


def origin_of(scores: str, embeddings: str | None = None) -> Origin:
    """Return the origin of a table of scores, or its model as the embeddings tell it.

    Raises
    ------
    TableError
        When the two tell different models, or the embeddings tell none.
    """
    found = read_origin(scores)
    named = str(embeddings), read_model_hash(embeddings)
    return Origin(common_hash((scores, found.model_hash), named), found.made_by)


def read_model_hash(embeddings: str | None) -> str | None:
    """Return the hash of the model that made a table of embeddings; None for no table.

    Raises
    ------
    TableError
        When the table does not tell its model.
    """
    if embeddings is None:
        return None
    beside = parse_rspecifier(embeddings).beside
    if beside is None or not beside.with_suffix(".json").exists():
        raise TableError(
            f"`{embeddings}` does not tell its model", hint="there is no xvector.json beside it"
        )
    path = beside.with_suffix(".json")
    model_hash = _read_json(path).get("model_hash")
    if not isinstance(model_hash, str):
        raise TableError(f"`{path}` has no `model_hash`")
    return model_hash


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"cannot read `{path}`: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TableError(f"`{path}` is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise TableError(f"`{path}` holds no JSON object")
    return values
