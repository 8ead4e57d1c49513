"""`svtool info`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sv_cli import logs


def info(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="Table, embedding directory, model, calibration or PLDA; none for the machine.",
        ),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object.", show_envvar=False)
    ] = False,
) -> None:
    r"""Report where a file comes from and whether it is unchanged; without FILE, the machine.

    A table reports its command, model, settings and inputs, and which inputs have changed since.
    Without FILE: versions, devices, and which extras work, as a problem report needs them.

    \b
    Examples:
      $ svtool info emb/eval
      $ svtool info --json | grep torch

    \b
    See also: models, score, extract
    """
    import json

    if file is None:
        from sv_cli.environment import describe

        found: dict[str, Any] = dict(describe())
    else:
        found = describe_file(file)
    if json_:
        logs.data(json.dumps(found, indent=1, default=str) + "\n")
    else:
        width = max(map(len, found))
        logs.data("".join(f"{key:<{width}}  {value}\n" for key, value in found.items()))
    logs.summary(f"reported {len(found)} facts", done=len(found), skipped=0)


def describe_file(file: str) -> dict[str, Any]:
    """Return what is known of a file: kind, origin, and the state of its inputs.

    Raises
    ------
    SvError
        When the file is missing, its record is damaged, or it is not what the record describes.
    """
    from sv_cli.errors import TableError
    from sv_cli.scoring.plda_preprocessing import front_paths
    from sv_cli.scoring.score_files import read_json
    from sv_cli.tables.lineage import describe_lineage, read_embedded, read_lineage

    path = Path(file)
    if path.is_dir() and not (path / "xvector.scp").is_file():
        tables = [each for each in sorted(path.iterdir()) if each.suffix in (".scp", ".ark")]
        return {each.name: read_lineage(str(each)).command or "unknown" for each in tables} or {
            "kind": "directory"
        }
    if path.suffix in (".pt", ".onnx"):
        return _describe_model(path)
    if path.is_file():
        with path.open("rb") as stream:
            is_json = stream.read(1) == b"{"
        json_file = path if is_json else front_paths(path)["json"]
    if path.is_file() and json_file.is_file():
        values = read_json(json_file)
        lineage = read_embedded(values.get("lineage"), file)
        plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
        return {**plain, **describe_lineage(lineage)}
    if not path.exists() and ":" not in file:
        raise TableError(f"`{file}`: no such file")
    is_array = path.is_dir() or path.suffix in (".ark", ".scp") or ":" in file
    return describe_lineage(read_lineage(file, wanted="xvector.scp" if is_array else None))


def _describe_model(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from sv_cli.checkpoints.onnx_file import load_any_model

    loaded = load_any_model(str(path))
    frontend = loaded.frontend.model_dump(mode="json", exclude_defaults=True)
    return {
        "kind": "model",
        **asdict(loaded.info),
        "parameters": sum(each.numel() for each in loaded.encoder.parameters()),
        "threshold": loaded.threshold,
        **{f"frontend {name}": value for name, value in frontend.items()},
    }
