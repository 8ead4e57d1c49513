"""`svtool extract`."""

from typing import Annotated, Literal

import typer

from sv_cli.commands.feature_run import AudioRoot, NumProcs, NumShards, Resume, Shard
from sv_cli.commands.skipping import Force, MaxSkipped, finish
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.settings.flags import settings_flags


@settings_flags("settings", ExtractSettings)
def extract(
    model: Annotated[
        str, typer.Argument(help="Model file, experiment directory, or `EXP:best`, `EXP:epoch:3`.")
    ],
    data: Annotated[
        str, typer.Argument(help="Data directory, wav rspecifier, or rspecifier of features.")
    ],
    out: Annotated[
        str, typer.Argument(help="Directory (xvector.ark, xvector.scp) or wspecifier.")
    ] = "-",
    *,
    settings: ExtractSettings,
    feats: Annotated[
        bool,
        typer.Option("--feats", help="DATA holds features (a table called feats.* always does)."),
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")
    ] = "auto",
    num_procs: NumProcs = 1,
    num_shards: NumShards = 1,
    shard: Shard = 1,
    audio_root: AudioRoot = None,
    resume: Resume = False,
    force: Force = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Extract speaker embeddings from recordings or features.

    Utterances come out in the order of their keys. Each is embedded whole; one above
    --max-seconds is cut into equal chunks whose embeddings are averaged by their frames. A
    directory as OUT also receives a hidden record of its lineage and, last, .done. Under
    torchrun, or with --num-procs and --resume, the table has the same bytes.

    Recordings without a usable signal (digital silence, a constant, less than --min-speech, below
    --min-level, clipped beyond --max-clipped) are skipped and counted. Features are not checked.

    \b
    Examples:
      $ svtool extract exp/eres2net data/eval out/xvectors --num-procs 2
      $ svtool extract exp/eres2net data/eval - | svtool mean data/eval/spk2utt ark:- out/spk.ark

    \b
    See also: make-fbank, mean, score
    """
    from sv_cli.extraction.run import ExtractRun, run_extraction

    run = ExtractRun(
        model, data, out, settings, feats, device, audio_root,
        num_procs, num_shards, shard, resume, force,
    )  # fmt: skip
    outcome = run_extraction(run)
    if outcome is not None:
        what = f"wrote {outcome.done} embeddings"
        finish(what, done=outcome.done, skipped=outcome.skipped, max_skipped=max_skipped)
