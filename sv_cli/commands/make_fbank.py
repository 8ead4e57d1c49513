"""`svtool make-fbank`."""

from typing import Annotated

import typer

from sv_cli.commands.feature_run import (
    AudioRoot,
    Channel,
    Data,
    Device,
    FeatureRun,
    NumProcs,
    NumShards,
    Resume,
    Shard,
    finish_made,
)
from sv_cli.commands.skipping import Force, MaxSkipped
from sv_cli.features.settings import FbankSettings
from sv_cli.settings.flags import settings_flags


@settings_flags("fbank", FbankSettings)
def make_fbank(
    data: Data,
    feats: Annotated[
        str | None, typer.Argument(help="Wspecifier; by default feats.ark and feats.scp in DATA.")
    ] = None,
    *,
    fbank: FbankSettings,
    num_procs: NumProcs = 1,
    num_shards: NumShards = 1,
    shard: Shard = 1,
    compress: Annotated[
        int | None,
        typer.Option("--compress", min=1, max=7, help="Kaldi's compression method (lossy)."),
    ] = None,
    channel: Channel = None,
    device: Device = "cpu",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the dither.")] = 0,
    audio_root: AudioRoot = None,
    resume: Resume = False,
    force: Force = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Compute log-Mel filter banks as Kaldi does.

    \b
    Examples:
      $ svtool make-fbank data/dev ark,scp:out/feats.ark,out/feats.scp --num-procs 2
      $ svtool make-fbank data/eval - --use-energy | svtool make-vad ark:- out/vad --from-feats

    \b
    See also: make-vad, extract
    """
    from sv_cli.features.job import FeatureJob

    job = FeatureJob(fbank, audio_root, channel, device, seed, compress)
    run = FeatureRun(data, feats, "feats", num_procs, num_shards, shard, resume, force)
    made = run.make(job)
    finish_made(made, "features", max_skipped)
