"""`svtool identify`."""

from typing import Annotated, Literal

import typer

from sv_cli.atomic import refuse_overwrite
from sv_cli.commands.skipping import AllowMissing, Force, MaxSkipped, finish


def identify(
    enrolled: Annotated[str, typer.Argument(help="Embeddings of the enrolled speakers.")],
    test: Annotated[str, typer.Argument(help="Embeddings of the tests.")],
    out: Annotated[
        str, typer.Argument(help="Table `test rank spk score` to write; `-` is stdout.")
    ] = "-",
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, help="The best speakers of each test.")
    ] = 1,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE",
            help="Cosine, or what `calibrate threshold` wrote; below it a speaker is `unknown`.",
        ),
    ] = None,
    enroll_spk2utt: Annotated[
        str | None, typer.Option(help="Enrolled speakers or models and their utterances.")
    ] = None,
    enroll_utt2spk: Annotated[
        str | None, typer.Option(help="The same, with the speaker of each utterance.")
    ] = None,
    length_norm: Annotated[
        bool, typer.Option("--length-norm", help="Average speakers of embeddings of length 1.")
    ] = False,
    submean: Annotated[
        str | None,
        typer.Option(help="Subtract this mean: embeddings of a training set, or a vector file."),
    ] = None,
    utt2spk: Annotated[
        list[str] | None,
        typer.Option(
            help="True speakers of the tests, and of enrolled keys that are no speakers: the "
            "identification rate is told; repeatable."
        ),
    ] = None,
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Find the speaker of each test among all who are enrolled.

    Every test is scored with every enrolled speaker by the cosine, and the best are listed. A test
    whose best score is below the threshold gets one line: `test 1 unknown score`.

    \b
    Examples:
      $ svtool identify emb/dev emb/eval out/best --enroll-spk2utt data/dev/spk2utt --top-k 3
      $ svtool calibrate threshold data/dev/trials scores/dev.cosine out/threshold.json
      $ svtool identify emb/dev emb/eval out/speakers --threshold out/threshold.json
      $ cat emb/eval/xvector.ark | svtool identify emb/cohort ark:- --threshold 0.9 | sort -g -k4

    \b
    See also: score, calibrate threshold, extract
    """
    from sv_cli.backend import identify_job as job

    refuse_overwrite(out, force=force)
    groups = (enroll_spk2utt, enroll_utt2spk)
    average: Literal["unit", "embeddings"] = "unit" if length_norm else "embeddings"
    enrolling = job.EnrollOptions(submean, *groups, average, allow_missing)
    wanted = job.IdentifyOptions(top_k, threshold, tuple(utt2spk or ()))
    found = job.identify((enrolled, test, out), enrolling, wanted)
    text = f"identified {found.num_tests} tests among {found.num_enrolled} speakers"
    if threshold is not None:
        text = f"{text}, {found.num_tests - found.num_known} unknown"
    counts = {"done": found.num_tests, "skipped": found.num_skipped}
    finish(text, **counts, max_skipped=max_skipped)
