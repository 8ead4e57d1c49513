"""Pictures of score sets: DET curve, score histogram, Bayes error; the only door to matplotlib.

DET axes are probit axes: the distance from the centre is the standard normal quantile of the
rate, so that normally distributed scores give straight lines (Martin et al. 1997).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from sv_cli.atomic import atomic_path
from sv_cli.errors import SettingsError
from sv_cli.metrics.dcf import OperatingPoint, PointSet, min_dcf
from sv_cli.metrics.eer import eer
from sv_cli.metrics.pav import hull_corners
from sv_cli.metrics.sweep import Bools, Floats, Sweep, error_rates

SUFFIXES = (".png", ".svg", ".pdf")
TICKS_PERCENT = (0.01, 0.03, 0.1, 0.3, 1, 2, 5, 10, 20, 40)
MOST_CURVE_POINTS = 2000
PNG_DPI, PNG_COLOURS = 120, 128
# the colours of Okabe and Ito: distinguishable for colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

Systems = Mapping[str, tuple[Floats, Bools]]


def probit(rates: Floats) -> Floats:
    """Return the standard normal quantile of each rate; -inf at 0 and inf at 1."""
    quantile = NormalDist().inv_cdf
    inner = [quantile(rate) if 0 < rate < 1 else np.inf * (rate - 0.5) for rate in rates.tolist()]
    return np.array(inner)


def det_points(sweep: Sweep) -> tuple[Floats, Floats]:
    """Return (P_fa, P_miss) of the corners of the DET staircase, thinned for drawing.

    A corner is kept where the direction of the staircase changes; of very many, those nearest to
    even steps along the probit axes are kept.
    """
    step_miss = np.diff(sweep.misses) > 0
    step_fa = np.diff(sweep.false_alarms) < 0
    turns = (step_miss[1:] != step_miss[:-1]) | (step_fa[1:] != step_fa[:-1])
    kept = np.concatenate([[0], np.flatnonzero(turns) + 1, [len(sweep.misses) - 1]])
    if len(kept) > MOST_CURVE_POINTS:
        p_miss, p_fa = sweep.p_miss[kept], sweep.p_fa[kept]
        # log odds follow the probit closely enough to spread points evenly
        place = np.log((p_miss + 1e-9) / (1 - p_miss + 1e-9))
        place -= np.log((p_fa + 1e-9) / (1 - p_fa + 1e-9))
        even = np.linspace(place[0], place[-1], MOST_CURVE_POINTS)
        kept = kept[np.unique(np.clip(np.searchsorted(place, even), 0, len(kept) - 1))]
    return sweep.p_fa[kept], sweep.p_miss[kept]


def plot_det(path: str | Path, systems: Systems, points: PointSet) -> None:
    """Draw a DET curve for each system, with its EER and its minDCF points marked.

    Raises
    ------
    SettingsError
        When the name of the file ends in none of `.png`, `.svg`, `.pdf`.
    """
    figure, axes = canvas(path, width=5.4, height=5.4)
    lowest = 0.4
    for (name, (scores, target)), colour in zip(systems.items(), _colours(systems), strict=True):
        sweep = error_rates(scores, target)
        lowest = min(lowest, _draw_det(axes, name, sweep, points, colour=colour))
    _probit_axes(axes, lowest)
    axes.legend(loc="upper right", framealpha=0.85, edgecolor="none", fontsize=9)
    save_picture(figure, path)


def _draw_det(axes: Any, name: str, sweep: Sweep, points: PointSet, *, colour: str) -> float:
    p_fa, p_miss = det_points(sweep)
    value, _ = eer(sweep)
    edge = probit(np.array([1e-7]))[0]
    across, up = (np.clip(probit(rates), edge, -edge) for rates in (p_fa, p_miss))
    axes.plot(
        across, up, color=colour, linewidth=1.4, label=f"{_shown(name)}  EER {100 * value:.2f} %"
    )
    axes.plot(*probit(np.array([value, value])), "o", color=colour, markersize=5)
    for point in points.points:
        at = int(np.searchsorted(sweep.thresholds, min_dcf(sweep, point)[1]))
        place = probit(np.array([sweep.p_fa[at], sweep.p_miss[at]]))
        if np.isfinite(place).all():
            axes.plot(*place, "^", color=colour, markersize=5, markerfacecolor="white")
    # the picture starts at one error of the more frequent class
    return max(float(min(1 / sweep.num_target, 1 / sweep.num_nontarget, value)), 1e-4)


def _probit_axes(axes: Any, lowest: float) -> None:
    ticks = [tick for tick in TICKS_PERCENT if tick >= 80 * lowest]
    places = probit(np.array(ticks) / 100)
    labels = [f"{tick:g}" for tick in ticks]
    low, high = probit(np.array([lowest * 0.8, 0.5]))
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)
    axes.plot([low, high], [low, high], color="0.75", linewidth=0.8, zorder=0)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set(xlabel="False-alarm rate (%)", ylabel="Miss rate (%)")
    axes.text(0.01, 0.01, "● EER   △ minDCF", transform=axes.transAxes, fontsize=8, color="0.4")


def plot_histogram(path: str | Path, systems: Systems) -> None:
    """Draw the score densities of targets and nontargets, one panel a system."""
    figure, panels = canvas(path, width=6.0, height=2.4 * len(systems) + 0.6, rows=len(systems))
    for axes, (name, (scores, target)) in zip(np.atleast_1d(panels), systems.items(), strict=True):
        edges = np.linspace(float(scores.min()), float(scores.max()), 81)
        threshold = eer(error_rates(scores, target))[1]
        for chosen, label, colour in ((target, "target", 0), (~target, "nontarget", 1)):
            count = f"{label} ({np.count_nonzero(chosen)})"
            style = {"density": True, "color": COLOURS[colour], "alpha": 0.55, "label": count}
            axes.hist(scores[chosen], bins=edges, **style)
        if np.isfinite(threshold):
            axes.axvline(threshold, color="0.3", linewidth=1, linestyle="--", label="EER threshold")
        axes.set(xlabel="Score", ylabel="Density")
        axes.set_title(_shown(name), fontsize=10, loc="left")
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    save_picture(figure, path)


def bayes_errors(
    scores: Floats, target: Bools, sweep: Sweep, logit_priors: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return actual, least and default Bayes error rates over log odds of the target prior.

    The error rate is P P_miss(-logit P) + (1 - P) P_fa(-logit P) for log-likelihood ratios (nats).
    """
    targets, nontargets = np.sort(scores[target]), np.sort(scores[~target])
    prior = 1 / (1 + np.exp(-logit_priors))
    p_miss = np.searchsorted(targets, -logit_priors, side="left") / len(targets)
    p_fa = 1 - np.searchsorted(nontargets, -logit_priors, side="left") / len(nontargets)
    actual = prior * p_miss + (1 - prior) * p_fa
    # the least cost is found at a corner of the convex hull, and corners are few
    corners = hull_corners(sweep.false_alarms, sweep.misses)
    at_corner = np.outer(prior, sweep.p_miss[corners]) + np.outer(1 - prior, sweep.p_fa[corners])
    return actual, at_corner.min(axis=1), np.minimum(prior, 1 - prior)


def plot_bayes(path: str | Path, systems: Systems, points: PointSet) -> None:
    """Draw normalised Bayes error over the prior: actual (solid) and least (dashed).

    The scores are read as log-likelihood ratios (nats).
    """
    figure, axes = canvas(path, width=6.0, height=4.2)
    logit_priors = np.linspace(-8, 4, 241)
    for (name, (scores, target)), colour in zip(systems.items(), _colours(systems), strict=True):
        sweep = error_rates(scores, target)
        actual, least, default = bayes_errors(scores, target, sweep, logit_priors)
        axes.plot(logit_priors, actual / default, color=colour, linewidth=1.4, label=_shown(name))
        axes.plot(logit_priors, least / default, color=colour, linewidth=1.0, linestyle="--")
    for point in points.points:
        _mark_prior(axes, point)
    axes.axhline(1, color="0.75", linewidth=0.8, zorder=0)
    axes.set(xlim=(-8, 4), ylim=(0, 1.4))
    axes.set(xlabel="Log odds of the target prior", ylabel="Normalised Bayes error")
    axes.set_title("solid: at the Bayes threshold   dashed: at the best", fontsize=9, loc="left")
    axes.legend(framealpha=0.85, edgecolor="none", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    save_picture(figure, path)


def _mark_prior(axes: Any, point: OperatingPoint) -> None:
    at = -point.bayes_threshold
    axes.axvline(at, color="0.6", linewidth=0.8, linestyle=":")
    place = axes.get_xaxis_transform()
    axes.text(at, 1.0, f" {point.name}", transform=place, fontsize=8, color="0.4", va="top")


def canvas(
    path: str | Path, *, width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Any, Any]:
    """Return a figure (inches) and its axes, (rows, columns) of them where there are several.

    Raises
    ------
    SettingsError
        When the name of the file ends in none of `SUFFIXES`.
    """
    if Path(path).suffix not in SUFFIXES:
        known = ", ".join(f"`{suffix}`" for suffix in SUFFIXES)
        raise SettingsError(f"`{path}`: a picture's name ends in one of {known}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no display, no global state
    return figure, figure.subplots(rows, columns)


def save_picture(figure: Any, path: str | Path) -> None:
    """Write a figure; it appears whole or not at all."""
    from matplotlib import rc_context

    form = Path(path).suffix[1:]
    # no date and no random names in the file: the same scores give the same bytes
    dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    with atomic_path(path) as temporary, rc_context({"svg.hashsalt": "svtool"}):
        if form == "png":
            _save_png(figure, temporary)
        else:
            figure.savefig(temporary, format=form, metadata=dated)


def _save_png(figure: Any, path: Path) -> None:
    """Write a PNG with a palette: a third of the bytes, and no difference to the eye."""
    from PIL import Image

    figure.set_dpi(PNG_DPI)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).quantize(PNG_COLOURS).save(path, format="PNG", optimize=True)


def _shown(name: str) -> str:
    """Return a name as text of a picture: `$` would begin a formula, a byte has no glyph."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text).replace("$", r"\$")


def _colours(systems: Systems) -> Sequence[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(systems))]
