"""`svtool data to-shar`."""

from pathlib import Path
from typing import Annotated

import typer

from sv_cli.commands.feature_run import AudioRoot, NumProcs, Resume
from sv_cli.commands.skipping import Force, MaxSkipped, finish
from sv_cli.lock import lock_folder


def to_shar(
    directory: Annotated[str, typer.Argument(help="Data directory.", metavar="DIR")],
    out: Annotated[Path, typer.Argument(help="Folder of the shards.", metavar="OUT")],
    shard_size: Annotated[
        int, typer.Option("--shard-size", min=1, help="Most utterances of a shard.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random order.")] = 0,
    num_procs: NumProcs = 1,
    audio_root: AudioRoot = None,
    resume: Resume = False,
    force: Force = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Write utterances into Shar archives, which training reads in long stretches.

    Segments are cut out, and utterances are in random order, as 16-bit FLAC at their own rate.
    lhotse reads the archives, too (`CutSet.from_shar`). `train --data OUT` takes crops out of
    them with the same labels as from DIR; network disks and object stores serve such reads well.

    \b
    Examples:
      $ svtool data to-shar data/train out/shar --shard-size 20
      $ svtool train --model ecapa --data out/shar --exp-dir out/ecapa --set num_epochs=1
      $ svtool train --data out/shar --bench-loader 3 | grep cpu_ms

    \b
    See also: data to-lhotse, data resample, train
    """
    from sv_cli.sampling.shar_write import SharJob, write_shar
    from sv_cli.tables.datadir.directory import DataDir

    job = SharJob(out, shard_size, seed, audio_root)
    data = DataDir.load(directory, extra=True)
    with lock_folder(out, command="data to-shar"):
        done, skipped = write_shar(data, job, num_procs=num_procs, resume=resume, force=force)
    finish(f"wrote {done} utterances", done=done, skipped=skipped, max_skipped=max_skipped)
