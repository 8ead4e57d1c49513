"""The lock on a table that a command writes."""

from pathlib import Path

from sv_cli.lock import claim_folder, claim_outputs
from sv_cli.tables.kaldi.specifier import parse_wspecifier


def claim_table(target: str, *others: str | None, wanted: str = "xvector", force: bool) -> None:
    """Lock a table and other files until the command ends; refuse existing ones without `force`.

    A directory has the lock that `extract` holds while it writes there. `others` may be None, for
    a file that is not written.

    Raises
    ------
    SvError
        When another process writes one of them, or one exists and `force` is not set.
    """
    spec = parse_wspecifier(target, wanted=wanted)
    if spec.scp == str(Path(target) / f"{wanted}.scp"):
        claim_folder(target)
    claim_outputs(*spec.files, *(name for name in others if name is not None), force=force)
