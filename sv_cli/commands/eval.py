"""`svtool eval`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sv_cli import logs
from sv_cli.commands.calibrate import ScoreColumns
from sv_cli.commands.skipping import Force, MaxSkipped, finish
from sv_cli.lock import claim_outputs

if TYPE_CHECKING:
    from sv_cli.metrics.dcf import PointSet
    from sv_cli.metrics.report import Report
    from sv_cli.scoring.labelled_scores import ScoredTrials


def evaluate(
    trials: Annotated[str, typer.Argument(help="Trial list with labels.")],
    scores: Annotated[list[str], typer.Argument(help="Score tables, one a system.")],
    points: Annotated[
        str,
        typer.Option(
            help="Operating points: voxceleb (p_target 0.01 and 0.05), sre08, sre16, voxsrc, "
            "cnsrc, or `P_TARGET[:C_MISS:C_FA],...`."
        ),
    ] = "voxceleb",
    far: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="False-alarm rate to find a threshold for; repeatable."),
    ] = None,
    kaldi_eer: Annotated[
        bool, typer.Option("--kaldi-eer", help="Give Kaldi's step-function EER, too.")
    ] = False,
    cond: Annotated[
        str | None,
        typer.Option(help="Table `enroll test CONDITION...`: results by condition, too."),
    ] = None,
    bootstrap: Annotated[
        int,
        typer.Option(min=0, help="Number of resamplings of the speakers for 95 % intervals."),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    utt2spk: Annotated[
        list[str] | None,
        typer.Option(
            help="Speakers of utterances or models, for --bootstrap; repeatable "
            "[default: what target trials join]."
        ),
    ] = None,
    form: Annotated[
        Literal["text", "markdown", "latex"], typer.Option("--format", help="Form of the table.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    plot_det: Annotated[
        str | None, typer.Option(help="Draw DET curves to this .png, .svg or .pdf.")
    ] = None,
    plot_hist: Annotated[str | None, typer.Option(help="Draw score histograms.")] = None,
    plot_bayes: Annotated[
        str | None, typer.Option(help="Draw Bayes error over the prior (scores as nats).")
    ] = None,
    columns: ScoreColumns = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out trials without a score.")
    ] = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Print EER, minDCF, actDCF, Cllr and thresholds of one or several systems.

    The EER is where the line between the two operating points around P_miss = P_fa crosses it;
    equal scores are decided together, so the order of the lines never matters. Scores are joined
    with trials by key. actDCF, Cllr and the Bayes plot read scores as log-likelihood ratios (nats).
    A condition marked * has one class only and was completed with all trials of the other class.

    \b
    Examples:
      $ svtool eval data/eval/trials scores/eval.cosine scores/eval.asnorm --bootstrap 100
      $ svtool score data/eval/trials emb/eval emb/eval | svtool eval data/eval/trials - --json

    \b
    See also: score, asnorm, calibrate, fuse
    """
    from sv_cli.metrics.dcf import parse_points
    from sv_cli.scoring.evaluate import EvaluationOptions, evaluate_systems
    from sv_cli.scoring.labelled_scores import read_scored_trials

    plots = {"det": plot_det, "hist": plot_hist, "bayes": plot_bayes}
    claim_outputs(*[path for path in plots.values() if path], force=force)
    rates, tables = tuple(far or ()), tuple(utt2spk or ())
    wanted = parse_points(points)
    options = EvaluationOptions(wanted, rates, kaldi_eer, cond, bootstrap, seed, tables)
    scored = read_scored_trials(trials, scores, allow_missing=allow_missing, columns=columns)
    reports = evaluate_systems(scored, options)
    _plot(scored, wanted, plots)
    _print(scored, reports, "json" if as_json else form)
    done, skipped = len(scored.target), scored.num_missing
    finish(f"scored {done} trials", done=done, skipped=skipped, max_skipped=max_skipped)


def _plot(scored: "ScoredTrials", points: "PointSet", plots: dict[str, str | None]) -> None:
    if not any(plots.values()):
        return
    from sv_cli.metrics import det

    named = zip(scored.names, scored.scores, strict=True)
    systems = {name: (scores, scored.target) for name, scores in named}
    if plots["det"]:
        det.plot_det(plots["det"], systems, points)
    if plots["hist"]:
        det.plot_histogram(plots["hist"], systems)
    if plots["bayes"]:
        det.plot_bayes(plots["bayes"], systems, points)


def _print(scored: "ScoredTrials", reports: "Sequence[Report]", form: str) -> None:
    from sv_cli.metrics.layout import LAYOUTS, result_table, threshold_table
    from sv_cli.scoring.evaluate import as_json, recognise_list

    known = recognise_list(scored)
    if form == "json":
        record = as_json(scored, reports, known)
        logs.data(json.dumps(record, indent=1, allow_nan=False) + "\n")
        return
    if known is not None:
        sure = "" if known.digest else " (by its counts; its hash is not known here)"
        logs.info(f"the trial list is {known.name}{sure}")
    lay_out = LAYOUTS[form]
    logs.data(lay_out(*result_table(reports)) + "\n" + lay_out(*threshold_table(reports)))
