"""Hold downloaded archives against their published MD5 sums."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import Field

from sv_cli import logs
from sv_cli.errors import SvError, name_some
from sv_cli.settings.model import Settings

_BLOCK = 1 << 22


class ArchiveOptions(Settings):
    """Option of corpora whose archives have published sums."""

    check_archives: str = Field(
        "",
        description="Folder of the downloaded archives; hold them against their published MD5 "
        "sums before anything else.",
    )


def check_archives(folder: str, published: Mapping[str, str], num_procs: int = 1) -> int:
    """Return how many archives in `folder` were checked; "" checks none.

    Parameters
    ----------
    folder : str
        Where the archives lie; other files in it are passed over.
    published : mapping of str to str
        File name -> MD5 sum.
    num_procs : int
        Files read at once.

    Raises
    ------
    SvError
        When a sum differs, or the folder holds none of the archives.
    """
    if not folder:
        return 0
    present = [name for name in published if (Path(folder) / name).is_file()]
    if not present:
        raise SvError(f"`{folder}`: none of the archives {name_some(published, limit=20)}")
    with (
        logs.progress("checking archives", total=len(present), unit="file") as progress,
        ThreadPoolExecutor(num_procs) as pool,
    ):
        sums = []
        for found in pool.map(lambda name: _md5(Path(folder) / name), present):
            sums.append(found)
            progress.advance()
    wrong = [name for name, found in zip(present, sums, strict=True) if found != published[name]]
    if wrong:
        raise SvError(
            f"`{folder}`: damaged or another version by the MD5 sum: {name_some(wrong)}",
            hint="download them again",
        )
    logs.info(f"{len(present)} of {len(published)} archives are there, each with its MD5 sum")
    return len(present)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise SvError(f"`{path}`: {error.strerror}") from error
    return digest.hexdigest()
