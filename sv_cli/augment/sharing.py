"""One copy of the recordings for all processes of a machine."""

import errno
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sv_cli.augment.banks import BankIndex, Banks, Series, as_samples, hold_banks, write_banks
from sv_cli.errors import SvError

Result = TypeVar("Result")
_OPEN_FILES = Path("/proc/self/fd")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Sharing(Protocol):
    """The processes of one machine, which all call the same methods in the same order."""

    def once(self, work: Callable[[Callable[[], None]], Result], /) -> Result:
        """Return on all what `work(pulse)` gives on the first, or raise on all what it raises.

        `pulse` is to be called often: it signals the others that the first is still at work.
        """

    def each(self, work: Callable[[], Result], /) -> Result:
        """Return what `work` gives here, once it is done everywhere, or raise on all."""


def load_banks(
    find: Callable[[], Iterable[Series]], *, num_samples: int, sharing: Sharing | None = None
) -> Banks:
    """Return the recordings, once in the memory of a machine.

    The first process writes them to a file in TMPDIR that has no name, which the others open by
    the number it has in that process; all map it. No file remains, however a run ends.
    Where the system does not show the open files of a process, each holds its own.

    Parameters
    ----------
    find : callable
        Returns the recordings; with `sharing` it is called by the first process only.
    num_samples : int
        Length of a crop.
    sharing : Sharing or None
        The other processes; None where there are none.

    Raises
    ------
    SvError
        When TMPDIR has no room.
    """
    if sharing is None or not _OPEN_FILES.is_dir():
        return hold_banks(find(), num_samples=num_samples)
    with ExitStack() as opened:

        def write(pulse: Callable[[], None]) -> tuple[str, BankIndex]:
            file = opened.enter_context(_nameless_file())
            index = _fill(file, find(), num_samples, pulse)
            return f"/proc/{os.getpid()}/fd/{file.fileno()}", index

        path, index = sharing.once(write)
        samples = sharing.each(lambda: _map(path))
    return Banks(samples, index)


def _nameless_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise SvError(
            f"TMPDIR: no file for the recordings of the augmentation: {error.strerror}",
            hint="let TMPDIR name a folder that can be written to",
        ) from error


def _fill(
    file: IO[bytes], series: Iterable[Series], num_samples: int, pulse: Callable[[], None]
) -> BankIndex:
    try:
        index = write_banks(file, series, num_samples=num_samples, after_each=pulse)
        file.flush()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        written = os.fstat(file.fileno()).st_size / 1024**2
        raise SvError(
            f"`{tempfile.gettempdir()}`: no room for the recordings of the augmentation after "
            f"{written:.0f} MiB",
            hint="let TMPDIR name a folder with 2 bytes of room for each of their samples",
        ) from error
    return index


def _map(path: str) -> NDArray[np.int16]:
    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return as_samples(b"")
            # Nobody writes; a private mapping is what torch takes without a warning.
            return as_samples(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except OSError as error:
        raise SvError(
            f"`{path}`: cannot map the recordings of the augmentation: {error.strerror}",
            hint="the processes of one machine must run as one user, in one container",
        ) from error
