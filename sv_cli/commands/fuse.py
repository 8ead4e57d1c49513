"""`svtool fuse train|apply`."""

from typing import Annotated

import typer

from sv_cli.atomic import refuse_overwrite
from sv_cli.commands.calibrate import Prior, Trials
from sv_cli.commands.skipping import Force, finish


def train(
    trials: Trials,
    scores: Annotated[list[str], typer.Argument(help="Score tables, one a system.")],
    model: Annotated[str, typer.Argument(help="Fusion to write (JSON).")],
    p_target: Prior = 0.5,
    cv_folds: Annotated[
        int,
        typer.Option(min=0, help="Folds of speakers to try the fusion on; 0 for none."),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds.")] = 0,
    utt2spk: Annotated[
        list[str] | None,
        typer.Option(
            help="Speakers of utterances or models, for --cv-folds; repeatable "
            "[default: what target trials join]."
        ),
    ] = None,
    force: Force = False,
) -> None:
    r"""Learn to weigh the scores of several systems into one log-likelihood ratio (nats).

    \b
    Examples:
      $ svtool fuse train data/dev/trials scores/dev.cosine scores/dev.asnorm out/fusion.json
      $ cat scores/dev.asnorm | svtool fuse train data/dev/trials scores/dev.cosine - out/f.json

    \b
    See also: fuse apply, calibrate, eval
    """
    from sv_cli.backend.score_jobs import CrossValidation, train_fusion

    refuse_overwrite(model, force=force)
    validation = CrossValidation(cv_folds, seed, tuple(utt2spk or ()))
    done = train_fusion(trials, scores, model, p_target=p_target, validation=validation)
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
    force: Force = False,
) -> None:
    r"""Fuse the scores of several systems, joined by key.

    \b
    Examples:
      $ svtool fuse train data/dev/trials scores/dev.cosine scores/dev.asnorm out/fusion.json
      $ svtool fuse apply out/fusion.json scores/eval.cosine scores/eval.asnorm out/eval.fused
      $ cat scores/eval.cosine | svtool fuse apply out/fusion.json - scores/eval.asnorm | head

    \b
    See also: fuse train, calibrate, eval
    """
    from sv_cli.backend.score_jobs import apply_fusion, split_output

    sources, out = split_output(model, scores)
    refuse_overwrite(out, force=force)
    done = apply_fusion(model, sources, out)
    finish(f"wrote {done} scores", done=done)
