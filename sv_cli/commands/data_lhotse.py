"""`svtool data to-lhotse` and `from-lhotse`."""

from pathlib import Path
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.atomic import refuse_overwrite
from sv_cli.commands.feature_run import AudioRoot
from sv_cli.commands.skipping import Force, MaxSkipped, finish
from sv_cli.lock import claim_folder, claim_outputs


def to_lhotse(
    directory: Annotated[str, typer.Argument(help="Data directory.", metavar="DIR")],
    out: Annotated[Path, typer.Argument(help="Folder of the manifests.", metavar="OUT")],
    audio_root: AudioRoot = None,
    force: Force = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Write a data directory as lhotse's manifests of recordings, supervisions and cuts.

    A cut is an utterance. Times are exact, archives and pipes become commands, and tables that
    supervisions have no field for are in their `custom`.

    \b
    Examples:
      $ svtool data to-lhotse data/dev out/dev-manifests
      $ svtool data to-lhotse data/eval out/m && gunzip -c out/m/cuts.jsonl.gz | head -n 1

    \b
    See also: data from-lhotse, data to-shar
    """
    from sv_cli.sampling.lhotse_manifests import FILES
    from sv_cli.sampling.lhotse_manifests import to_lhotse as write
    from sv_cli.tables.datadir.directory import DataDir

    claim_outputs(*(out / name for name in FILES), force=force)
    written = write(DataDir.load(directory, extra=True), out, audio_root=audio_root)
    finish(
        f"wrote {written.num_utts} utterances",
        done=written.num_utts,
        skipped=len(written.skipped),
        max_skipped=max_skipped,
    )


def from_lhotse(
    manifest: Annotated[
        str, typer.Argument(help="File of cuts, or folder of manifests.", metavar="MANIFEST")
    ],
    out: Annotated[Path, typer.Argument(help="Data directory to write.", metavar="OUT")],
    force: Force = False,
) -> None:
    r"""Make a data directory of lhotse's manifests: each supervision is an utterance.

    It takes cuts, or the recordings and supervisions of a folder. Audio must be files or
    commands; what lhotse would change on the way (speed, mixing) has to be saved before.

    \b
    Examples:
      $ svtool data to-lhotse data/dev out/m && svtool data from-lhotse out/m out/dev-again
      $ svtool data from-lhotse out/m/cuts.jsonl.gz out/dev-cuts 2>&1 | tail -n 1

    \b
    See also: data to-lhotse, data copy (--spk-as-prefix), data validate
    """
    from sv_cli.sampling.lhotse_manifests import from_lhotse as read

    claim_folder(out)
    refuse_overwrite(out / "utt2spk", force=force)
    data = read(manifest)
    data.write(out, replace=True)
    utts, speakers = len(data.utts), len(data.spk2utt)
    logs.summary(f"wrote {utts} utterances of {speakers} speakers", done=utts, skipped=0)
