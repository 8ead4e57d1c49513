"""Which class a training utterance belongs to."""

from collections.abc import Mapping, Sequence

from sv_cli.errors import TableError


def class_speakers(utt2spk: Mapping[str, str], utts: Sequence[str]) -> list[str]:
    """Return the distinct speakers of `utts` in byte order; the index is the class.

    Raises
    ------
    TableError
        When fewer than two speakers are left to tell apart.
    """
    speakers = sorted({utt2spk[utt] for utt in utts}, key=str.encode)
    if len(speakers) < 2:
        raise TableError(
            f"training needs at least two speakers, got {len(speakers)}",
            hint="look at utt2spk with `svtool data info`",
        )
    return speakers
