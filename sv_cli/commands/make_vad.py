"""`svtool make-vad`."""

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
from sv_cli.features.settings import VadSettings
from sv_cli.settings.flags import settings_flags


@settings_flags("vad", VadSettings)
def make_vad(
    data: Data,
    out: Annotated[
        str | None,
        typer.Argument(metavar="[VAD]", help="Wspecifier; by default vad.ark, vad.scp in DATA."),
    ] = None,
    *,
    vad: VadSettings,
    from_feats: Annotated[
        bool,
        typer.Option("--from-feats", help="DATA holds features with the log energy first."),
    ] = False,
    num_procs: NumProcs = 1,
    num_shards: NumShards = 1,
    shard: Shard = 1,
    channel: Channel = None,
    device: Device = "cpu",
    audio_root: AudioRoot = None,
    resume: Resume = False,
    force: Force = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Decide by energy which frames are speech, as Kaldi's compute-vad does.

    \b
    Examples:
      $ svtool make-vad data/dev ark,scp:out/vad.ark,out/vad.scp
      $ svtool make-vad scp:data/dev/wav.scp ark,t:- | wc -l

    \b
    See also: make-fbank
    """
    from sv_cli.features.job import FeatureJob

    run = FeatureRun(data, out, "vad", num_procs, num_shards, shard, resume, force)
    job = FeatureJob(vad, audio_root, channel, device)
    made = run.decide(vad) if from_feats else run.make(job)
    finish_made(made, "VAD decisions", max_skipped)
