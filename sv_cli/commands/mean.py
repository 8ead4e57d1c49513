"""`svtool mean`."""

from typing import Annotated

import typer

from sv_cli.commands.skipping import AllowMissing, Force, MaxSkipped, finish
from sv_cli.commands.table_output import claim_table


def mean(
    spk2utt: Annotated[
        str, typer.Argument(help="Table of speakers (or enrolment models) and their utterances.")
    ],
    embeddings: Annotated[str, typer.Argument(help="Embeddings of the utterances.")],
    out: Annotated[str, typer.Argument(help="Means: a directory or wspecifier.")],
    num_utts: Annotated[
        str | None, typer.Argument(help="Table of utterances averaged, for `plda score`.")
    ] = None,
    length_norm: Annotated[
        bool, typer.Option("--length-norm", help="Scale embeddings to length 1 before the mean.")
    ] = False,
    global_mean: Annotated[
        str | None,
        typer.Option("--global-mean", help="Write the mean of all embeddings to this file."),
    ] = None,
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Average embeddings by speaker, or by enrolment model.

    \b
    Examples:
      $ svtool mean data/train/spk2utt emb/train out/speakers out/num_utts
      $ svtool mean data/cohort/spk2utt emb/cohort ark,t:- | tail -1

    \b
    See also: score, asnorm, plda score
    """
    from sv_cli.scoring.mean import MeanFiles, write_means

    files = MeanFiles(spk2utt, embeddings, out, num_utts, global_mean)
    claim_table(out, num_utts, global_mean, force=force)
    groups = write_means(files, length_norm=length_norm, allow_missing=allow_missing)
    done, skipped = len(groups.ids), len(groups.missing)
    finish(f"wrote {done} means", done=done, skipped=skipped, max_skipped=max_skipped)
