"""What two data directories share: speakers, utterances, recordings."""

import os
from dataclasses import dataclass

from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.kaldi.specifier import is_pipe
from sv_cli.tables.text import sort_keys


@dataclass(frozen=True)
class Overlap:
    """What is in both of two data directories, each sorted.

    Attributes
    ----------
    speakers, utterances : list of str
        Ids.
    recordings : list of str
        Entries of wav.scp: the same file however it is written, or the same command.
    """

    speakers: list[str]
    utterances: list[str]
    recordings: list[str]

    def rows(self) -> list[tuple[str, str]]:
        """Return ("speaker", id), ("utterance", id) and ("recording", entry) of all of them."""
        kinds = (
            ("speaker", self.speakers),
            ("utterance", self.utterances),
            ("recording", self.recordings),
        )
        return [(kind, name) for kind, names in kinds for name in names]


def find_overlap(one: DataDir, two: DataDir) -> Overlap:
    """Return what both directories hold; ids are compared as they are, files by their path."""
    return Overlap(
        sort_keys(set(one.utt2spk.values()) & set(two.utt2spk.values())),
        sort_keys(set(one.utts) & set(two.utts)),
        sort_keys(_recordings(one) & _recordings(two)),
    )


def _recordings(data: DataDir) -> set[str]:
    # A relative path starts in the current directory, as wherever wav.scp is read.
    return {rx if is_pipe(rx) else os.path.abspath(rx) for rx in data.wav.values()}  # noqa: PTH100
