"""`svtool asnorm`."""

from typing import Annotated, Literal

import typer

from sv_cli.commands.calibrate import ScoreColumns
from sv_cli.commands.score import InnerProduct
from sv_cli.commands.skipping import AllowMissing, Force, MaxSkipped, finish
from sv_cli.lock import claim_outputs


def asnorm(
    scores: Annotated[str, typer.Argument(help="Raw scores.")],
    enroll: Annotated[str, typer.Argument(help="Enrolment embeddings.")],
    test: Annotated[str, typer.Argument(help="Test embeddings.")],
    cohort: Annotated[str, typer.Argument(help="Embeddings of the cohort, one a speaker.")],
    out: Annotated[
        str, typer.Argument(metavar="[SCORES]", help="Normalised scores to write.")
    ] = "-",
    method: Annotated[
        Literal["asnorm", "snorm", "z", "t", "zt", "tz"],
        typer.Option(help="Adaptive s-norm, s-norm, z, t, zt or tz norm."),
    ] = "asnorm",
    top_n: Annotated[
        int | None,
        typer.Option(min=2, help="Cohort members kept [default: 300 for asnorm, else all]."),
    ] = None,
    selection: Annotated[
        Literal["own", "other"],
        typer.Option(help="Whose best cohort members: the embedding's own, or the other side's."),
    ] = "own",
    submean: Annotated[
        str | None,
        typer.Option(help="Subtract this mean: embeddings of a training set, or a vector file."),
    ] = None,
    spk2utt: Annotated[
        str | None, typer.Option(help="Average a cohort of utterances by this table of speakers.")
    ] = None,
    utt2spk: Annotated[
        str | None, typer.Option(help="The same, with the speaker of each utterance.")
    ] = None,
    enroll_spk2utt: Annotated[
        str | None, typer.Option(help="Enrolment models and their utterances.")
    ] = None,
    stats: Annotated[
        str | None, typer.Option(help="Write `utt mean std` of the cohort scores here, for qmf.")
    ] = None,
    use_stats: Annotated[
        str | None, typer.Option(help="Take statistics from here; only new keys are computed.")
    ] = None,
    inner_product: InnerProduct = False,
    columns: ScoreColumns = None,
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Normalise scores by a cohort of impostors.

    Each score is shifted and scaled by the mean and deviation of the `--top-n` highest cohort
    scores of its enrolment and of its test embedding, and the two are averaged.

    \b
    Examples:
      $ svtool asnorm scores/eval.cosine emb/eval emb/eval emb/cohort out/eval.asnorm --top-n 4
      $ cat scores/eval.cosine | svtool asnorm - emb/eval emb/eval emb/cohort --method snorm | tail

    \b
    See also: score, mean, qmf, eval
    """
    from sv_cli.scoring import asnorm as job

    claim_outputs(out, *([stats] if stats else []), force=force)
    files = job.NormFiles(scores, enroll, test, cohort, out, stats, use_stats, columns)
    averages = job.Averages(spk2utt, utt2spk, enroll_spk2utt)
    options = job.NormOptions(
        method, top_n, selection, submean, averages, allow_missing, inner_product
    )
    done, skipped = job.normalize_scores(files, options)
    finish(f"normalised {done} scores", done=done, skipped=skipped, max_skipped=max_skipped)
