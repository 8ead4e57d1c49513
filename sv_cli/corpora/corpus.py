"""What `prepare` knows of a corpus, and the input and output of every preparation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sv_cli.settings.model import Settings


@dataclass(frozen=True)
class Job:
    """The input of every preparation, in addition to its own settings.

    Parameters
    ----------
    source : Path or None
        Folder of the corpus; None for a generated one.
    out : Path
        Directory to fill.
    num_procs : int
        Files worked on at once.
    force : bool
        Replace existing outputs.
    audio_root : Path or None
        Paths in wav.scp are written relative to it; None writes absolute ones.
    """

    source: Path | None
    out: Path
    num_procs: int = 1
    force: bool = False
    audio_root: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """What became of a preparation: utterances written and skipped, and where."""

    done: int
    skipped: int
    directories: tuple[Path, ...]


@dataclass(frozen=True)
class Corpus:
    """One line of `prepare --list`, and how to prepare it.

    Parameters
    ----------
    name : str
        The word after `svtool prepare`.
    summary : str
        One sentence without a full stop.
    licence, origin : str
        Terms of use, and where to get it.
    settings : type of Settings
        Its options; each field becomes a flag.
    prepare : callable
        Takes a `Job` and the settings, writes, and returns what was done.
    examples : tuple of str
        At least two command lines.
    source : str
        What SOURCE is; empty when there is none.
    """

    name: str
    summary: str
    licence: str
    origin: str
    settings: type[Settings]
    prepare: Callable[..., Prepared]
    examples: tuple[str, ...]
    source: str = ""
