"""Pictures of a training run: loss, accuracy, rates, dev EER and where the time went."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sv_cli.metrics.det import COLOURS, canvas, save_picture
from sv_cli.metrics.sweep import Floats


@dataclass(frozen=True)
class TrainingCurves:
    """What a run has logged, at each line of its log and at each validation.

    Attributes
    ----------
    epoch : (num_points,) float
        Epochs done.
    loss, accuracy, lr, margin : (num_points,) float
        Accuracy in percent.
    waiting, features, network : (num_points,) float
        Shares of the time, in percent.
    dev_epoch, dev_eer : (num_validations,) float
        Dev EER in percent.
    """

    epoch: Floats
    loss: Floats
    accuracy: Floats
    lr: Floats
    margin: Floats
    waiting: Floats
    features: Floats
    network: Floats
    dev_epoch: Floats
    dev_eer: Floats


def plot_training(path: str | Path, curves: TrainingCurves, *, title: str) -> None:
    """Draw a run in six panels over its epochs.

    Raises
    ------
    SettingsError
        When the name of the file ends in none of `.png`, `.svg`, `.pdf`.
    """
    figure, panels = canvas(path, width=10.5, height=5.6, rows=2, columns=3)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    (loss, accuracy, dev), (rate, margin, time) = panels
    _noisy(loss, "Loss", curves.epoch, curves.loss, colour=0)
    _noisy(accuracy, "Accuracy of the crops (%)", curves.epoch, curves.accuracy, colour=2)
    _dev(dev, curves)
    _line(rate, "Learning rate", curves.epoch, curves.lr, colour=1)
    if curves.lr.size and curves.lr.min() > 0 and curves.lr.max() > 30 * curves.lr.min():
        rate.set_yscale("log")
    _line(margin, "Margin", curves.epoch, curves.margin, colour=3)
    if curves.margin.size and curves.margin.max() > 0:
        margin.set_ylim(0, 1.08 * curves.margin.max())
    _time(time, curves)
    last = max([float(curves.epoch[-1]) if curves.epoch.size else 1.0, *curves.dev_epoch])
    for axes in panels.flat:
        axes.set_xlim(0, last)
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    for axes in panels[1]:
        axes.set_xlabel("Epochs", fontsize=9)
    save_picture(figure, path)


def _line(axes: Any, name: str, across: Floats, up: Floats, *, colour: int) -> None:
    axes.plot(across, up, color=COLOURS[colour], linewidth=1.4)
    axes.set_title(name, fontsize=9.5, loc="left")


def _noisy(axes: Any, name: str, across: Floats, up: Floats, *, colour: int) -> None:
    """Draw single readings faintly and their mean over a twentieth of the run over them."""
    width = len(up) // 20
    if width < 2:
        _line(axes, name, across, up, colour=colour)
        return
    axes.plot(across, up, color=COLOURS[colour], linewidth=0.8, alpha=0.3)
    total = np.concatenate([[0.0], np.cumsum(up)])
    mean = (total[width:] - total[:-width]) / width
    _line(axes, name, across[width - 1 :], mean, colour=colour)


def _dev(axes: Any, curves: TrainingCurves) -> None:
    _line(axes, "Dev EER (%)", curves.dev_epoch, curves.dev_eer, colour=6)
    if not curves.dev_eer.size:
        axes.text(0.5, 0.5, "no dev data", transform=axes.transAxes, ha="center", color="0.5")
        return
    best = int(curves.dev_eer.argmin())
    at, value = curves.dev_epoch[best], curves.dev_eer[best]
    axes.plot(curves.dev_epoch, curves.dev_eer, "o", color=COLOURS[6], markersize=3)
    axes.plot([at], [value], "o", color=COLOURS[1], markersize=6, clip_on=False, zorder=3)
    axes.set_ylim(0, 1.15 * float(curves.dev_eer.max()) or 1.0)
    # the text is where the curve is not
    label = f"best {value:.2f} after epoch {at:g}"
    axes.text(0.03, 0.05, label, transform=axes.transAxes, fontsize=8, color=COLOURS[1])


def _time(axes: Any, curves: TrainingCurves) -> None:
    known = (curves.network, curves.features, curves.waiting)
    rest = np.clip(100.0 - sum(known), 0.0, 100.0)
    names = ("network", "features", "waiting for data", "saving, validation")
    colours = [*(COLOURS[index] for index in (2, 5, 1)), "0.8"]
    style = {"labels": names, "colors": colours, "alpha": 0.75, "linewidth": 0}
    axes.stackplot(curves.epoch, *known, rest, **style)
    axes.set_title("Share of the time (%)", fontsize=9.5, loc="left")
    axes.set_ylim(0, 100)
    axes.legend(loc="lower left", fontsize=8, framealpha=0.9, edgecolor="none")
