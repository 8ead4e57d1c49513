"""`svtool fuse train|apply|mean`."""

from typing import Annotated

import typer

from sv_cli.commands.calibrate import Prior, ScoreColumns, Trials
from sv_cli.commands.skipping import Force, finish
from sv_cli.lock import claim_outputs

CvFolds = Annotated[
    int, typer.Option("--cv-folds", min=0, help="Folds of speakers to try the fit on; 0 for none.")
]
CvScores = Annotated[
    str | None,
    typer.Option("--cv-scores", help="Write the scores of held-out speakers here (--cv-folds)."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the folds.")]
Utt2spk = Annotated[
    list[str] | None,
    typer.Option(
        "--utt2spk",
        help="Speakers of utterances or models, for --cv-folds; repeatable "
        "[default: what target trials join].",
    ),
]


def train(
    trials: Trials,
    scores: Annotated[list[str], typer.Argument(help="Score tables, one a system.")],
    model: Annotated[str, typer.Argument(help="Fusion to write (JSON).")],
    p_target: Prior = 0.5,
    cv_folds: CvFolds = 0,
    cv_scores: CvScores = None,
    seed: Seed = 0,
    utt2spk: Utt2spk = None,
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Learn to weigh the scores of several systems into one log-likelihood ratio (nats).

    With `--cv-folds` every trial is also scored by a fusion that was trained without its speakers.

    \b
    Examples:
      $ svtool fuse train data/dev/trials scores/dev.cosine scores/dev.asnorm out/fusion.json
      $ cat scores/dev.asnorm | svtool fuse train data/dev/trials scores/dev.cosine - out/f.json

    \b
    See also: fuse apply, calibrate, eval
    """
    from sv_cli.scoring.cross_validation import CrossValidation
    from sv_cli.scoring.fuse import train_fusion

    claim_outputs(model, *([cv_scores] if cv_scores else []), force=force)
    validation = CrossValidation(cv_folds, seed, tuple(utt2spk or ()), cv_scores)
    done = train_fusion(
        trials, scores, model, p_target=p_target, validation=validation, columns=columns
    )
    finish(f"fitted {len(scores)} systems on {done} trials", done=done)


def apply(
    model: Annotated[str, typer.Argument(help="What `fuse train` wrote.")],
    scores: Annotated[
        list[str],
        typer.Argument(
            metavar="SCORES... [OUT]",
            help="Score tables in the order of training; one more is the output.",
        ),
    ],
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Fuse the scores of several systems, joined by key.

    \b
    Examples:
      $ svtool fuse train data/dev/trials scores/dev.cosine scores/dev.asnorm out/fusion.json
      $ svtool fuse apply out/fusion.json scores/eval.cosine scores/eval.asnorm out/eval.fused
      $ cat scores/eval.cosine | svtool fuse apply out/fusion.json - scores/eval.asnorm | head

    \b
    See also: fuse train, extract, eval
    """
    from sv_cli.scoring.fuse import apply_fusion, split_output

    sources, out = split_output(model, scores)
    claim_outputs(out, force=force)
    done = apply_fusion(model, sources, out, columns=columns)
    finish(f"wrote {done} scores", done=done)


def mean(
    scores: Annotated[
        list[str],
        typer.Argument(
            metavar="SCORES... OUT", help="Score tables, then the output (- is stdout)."
        ),
    ],
    weights: Annotated[
        str, typer.Option("--weights", help="Of the tables, as `2,1,1`; all alike by default.")
    ] = "",
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Average the scores of several systems, joined by key, without labels to learn from.

    For scores of one kind: the same network at several speeds, several networks after AS-norm.
    `fuse train` learns weights where there are labelled trials.

    \b
    Examples:
      $ svtool fuse mean scores/dev.cosine scores/dev.asnorm out/dev.mean
      $ svtool fuse mean scores/dev.cosine scores/dev.asnorm - --weights 1,0.2 | head

    \b
    See also: fuse train, extract, eval
    """
    from sv_cli.scoring.fuse import average_scores

    *sources, out = scores
    claim_outputs(out, force=force)
    done = average_scores(sources, out, weights=weights, columns=columns)
    finish(f"wrote {done} scores", done=done)
