"""`svtool calibrate train|apply|threshold` and `svtool decide`."""

from typing import Annotated, Literal

import typer

from sv_cli.commands.skipping import Force, finish
from sv_cli.lock import claim_outputs

Trials = Annotated[str, typer.Argument(help="Trial list with labels.")]
Scores = Annotated[str, typer.Argument(help="Score table.")]
Out = Annotated[str, typer.Argument(help="Output; `-` is stdout.")]
ScoreColumns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Order of the columns of score tables, as `enroll,test,score` or "
        "`enroll,test,score,label` [default: recognised].",
    ),
]
Prior = Annotated[
    float,
    typer.Option(
        "--p-target", min=1e-6, max=1 - 1e-6, help="Target prior that the fit is made for."
    ),
]
Embeddings = Annotated[
    str | None,
    typer.Option(
        "--embeddings", help="Embeddings of these scores: their model is recorded, or checked."
    ),
]


def train(
    trials: Trials,
    scores: Scores,
    model: Annotated[str, typer.Argument(help="Calibration to write (JSON).")],
    method: Annotated[
        Literal["logistic", "pav"],
        typer.Option(help="Scale and offset, or the best monotone map (many trials)."),
    ] = "logistic",
    p_target: Prior = 0.5,
    embeddings: Embeddings = None,
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Learn to turn scores into log-likelihood ratios (nats).

    \b
    Examples:
      $ svtool calibrate train data/dev/trials scores/dev.asnorm out/calibration.json
      $ cat scores/dev.cosine | svtool calibrate train data/dev/trials - out/c.json

    \b
    See also: calibrate apply, calibrate threshold, eval
    """
    from sv_cli.scoring.calibrate import train_calibration

    claim_outputs(model, force=force)
    done = train_calibration(
        trials,
        scores,
        model,
        method=method,
        p_target=p_target,
        embeddings=embeddings,
        columns=columns,
    )
    finish(f"fitted on {done} trials", done=done)


def apply(
    model: Annotated[str, typer.Argument(help="What `calibrate train` wrote.")],
    scores: Scores,
    out: Out = "-",
    embeddings: Embeddings = None,
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Turn scores into log-likelihood ratios (nats).

    \b
    Examples:
      $ svtool calibrate train data/dev/trials scores/dev.cosine out/calibration.json
      $ svtool calibrate apply out/calibration.json scores/eval.cosine out/eval.llr
      $ cat scores/eval.cosine | svtool calibrate apply out/calibration.json - | head

    \b
    See also: calibrate train, decide, eval
    """
    from sv_cli.scoring.calibrate import apply_calibration

    claim_outputs(out, force=force)
    done = apply_calibration(model, scores, out, embeddings=embeddings, columns=columns)
    finish(f"wrote {done} scores", done=done)


def threshold(
    trials: Trials,
    scores: Scores,
    out: Annotated[str, typer.Argument(help="Threshold to write (JSON).")],
    at: Annotated[
        str,
        typer.Option(
            help="eer, min-dcf:P_TARGET, bayes:P_TARGET (calibrated scores), far:RATE, frr:RATE "
            "or score:VALUE."
        ),
    ] = "eer",
    embeddings: Embeddings = None,
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Choose a threshold on labelled trials and record the error rates to expect of it.

    The rates are those on these trials, each with the upper end of its 95 % interval.

    \b
    Examples:
      $ svtool calibrate threshold data/dev/trials scores/dev.asnorm out/eer.json --at eer
      $ cat scores/dev.asnorm | svtool calibrate threshold data/dev/trials - out/t.json --at far:0.2

    \b
    See also: decide, calibrate train, eval
    """
    from sv_cli.scoring.calibrate import make_threshold

    claim_outputs(out, force=force)
    done = make_threshold(trials, scores, out, at=at, embeddings=embeddings, columns=columns)
    finish(f"chosen on {done} trials", done=done)


def decide(
    threshold: Annotated[str, typer.Argument(help="What `calibrate threshold` wrote.")],
    scores: Scores,
    out: Out = "-",
    embeddings: Embeddings = None,
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Accept or reject each trial: `enroll test accept|reject`.

    With `--embeddings`, scores of another model than the threshold was chosen for are refused.

    \b
    Examples:
      $ svtool calibrate threshold data/dev/trials scores/dev.asnorm out/threshold.json
      $ svtool decide out/threshold.json scores/eval.asnorm out/eval.decisions
      $ cat scores/eval.asnorm | svtool decide out/threshold.json - | grep accept | head

    \b
    See also: calibrate threshold, eval
    """
    from sv_cli.scoring.calibrate import decide_trials

    claim_outputs(out, force=force)
    accepted, rejected = decide_trials(
        threshold, scores, out, embeddings=embeddings, columns=columns
    )
    finish(f"accepted {accepted} trials, rejected {rejected}", done=accepted + rejected)
