"""The picture of a run, from its log alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sv_cli.errors import TrainingError
from sv_cli.metrics.curves import TrainingCurves, plot_training
from sv_cli.metrics.sweep import Floats

Record = dict[str, Any]


def draw_report(exp_dir: str | Path) -> Path:
    """Draw `EXP/report.png` and return its path; a run that is going on is drawn so far.

    Raises
    ------
    TrainingError
        When there is no log, or nothing in it yet.
    """
    folder = Path(exp_dir)
    log = folder / "log.jsonl"
    if not log.is_file():
        raise TrainingError(
            f"`{log}`: no such log", hint="`--report` takes an experiment directory"
        )
    steps, validations = read_log(log)
    if not steps:
        raise TrainingError(f"`{log}`: no step has been logged yet")
    path = folder / "report.png"
    plot_training(path, make_curves(steps, validations), title=_title(folder, steps, validations))
    return path


def read_log(path: Path) -> tuple[list[Record], list[Record]]:
    """Return the records of steps and of validations in order.

    Of steps that were done again after a stop the last record counts; lines that broke off or are
    no records are left out.
    """
    found: dict[str, dict[int, Record]] = {"step": {}, "validation": {}}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and _is_whole(record):
            found[record["event"]][record["step"]] = record
    steps, validations = ([records[step] for step in sorted(records)] for records in found.values())
    return steps, validations


def describe_epochs(steps: list[Record], validations: list[Record]) -> str:
    """Return a table of the validated epochs: tab-separated lines after one of titles.

    Columns: epoch, lr (of its last step), loss and accuracy (means over the steps since the
    validation before), dev EER, lowest dev EER so far. Accuracy and EERs are in percent.
    """
    lines = ["epoch\tlr\tloss\taccuracy\tdev_eer\tbest_eer\n"]
    at = np.concatenate([[0.0], _column(steps, "step")])
    counts, best = np.diff(at), np.inf
    start = 0
    for validation in validations:
        end = int(np.searchsorted(at[1:], validation["step"], side="right"))
        means = ["-"] * 3
        if end > start:
            part, weights = steps[start:end], counts[start:end]
            loss, accuracy = (
                np.average(_column(part, name), weights=weights) for name in ("loss", "accuracy")
            )
            means = [f"{part[-1].get('lr', 0.0):.6g}", f"{loss:.6f}", f"{accuracy:.2f}"]
        best, start = min(best, validation["dev_eer"]), end
        row = [f"{validation['epoch']:g}", *means, f"{validation['dev_eer']:.3f}", f"{best:.3f}"]
        lines.append("\t".join(row) + "\n")
    return "".join(lines)


def _is_whole(record: Record) -> bool:
    """Return whether a record has what a curve needs, as numbers."""
    value = {"step": "loss", "validation": "dev_eer"}.get(str(record.get("event")))
    needed = [record.get(name) for name in ("step", "epoch", value)] if value else [None]
    return all(isinstance(number, int | float) for number in needed)


def make_curves(steps: list[Record], validations: list[Record]) -> TrainingCurves:
    """Return the columns of the records; what an older log lacks is zero."""
    return TrainingCurves(
        epoch=_column(steps, "epoch"),
        loss=_column(steps, "loss"),
        accuracy=_column(steps, "accuracy"),
        lr=_column(steps, "lr"),
        margin=_column(steps, "margin"),
        waiting=_column(steps, "wait_share"),
        features=_column(steps, "features_share"),
        network=_column(steps, "network_share"),
        dev_epoch=_column(validations, "epoch"),
        dev_eer=_column(validations, "dev_eer"),
    )


def _column(records: list[Record], name: str) -> Floats:
    return np.array([record.get(name, 0.0) for record in records], dtype=np.float64)


def _title(folder: Path, steps: list[Record], validations: list[Record]) -> str:
    last = steps[-1]
    summary = f"{folder.resolve().name}   {last['step']} steps, {last['epoch']:g} epochs"
    if validations:
        summary += f", best dev EER {min(record['dev_eer'] for record in validations):.2f} %"
    return summary
