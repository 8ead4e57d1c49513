"""Which crop of which utterance an item of an epoch is.

Nothing is kept of an item: utterances give their number, from which the rest follows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sv_cli.sampling.settings import DataSettings

Ints = NDArray[np.int64]

# Durations of tables are rounded: 11.999 s are three times 4 s only where a table says 12.
_ROUNDING = 1e-6


class Place(NamedTuple):
    """Utterance and crop of each of some items.

    Attributes
    ----------
    utts : (num_items,) int64
    crops : (num_items,) int64
        Number of the crop in its utterance, from 0.
    """

    utts: Ints
    crops: Ints


class CropItems:
    """The items of a data set: the crops of each utterance, each as often as it has copies.

    Parameters
    ----------
    counts : (num_utts,) int64
        Crops of each utterance.
    copies : int
        Items of each crop: its speeds, where each is played.
    """

    def __init__(self, counts: Ints, *, copies: int = 1) -> None:
        self.copies = copies
        self._ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return self.num_crops * self.copies

    @property
    def num_crops(self) -> int:
        """Crops, each counted once."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def per_utt(self) -> Ints:
        """Items of each utterance, (num_utts,)."""
        return np.diff(self._ends, prepend=0) * self.copies

    @property
    def first(self) -> Ints:
        """The first item of each utterance, (num_utts,)."""
        return self._ends * self.copies - self.per_utt

    def place(self, items: Ints) -> Place:
        """Return what items are; those of further passes over all follow the last."""
        crops = items % len(self) // self.copies
        utts = np.searchsorted(self._ends, crops, side="right")
        before = np.where(utts > 0, self._ends[utts - 1], 0)
        return Place(utts, crops - before)


def count_crops(seconds: NDArray[np.float64], settings: DataSettings, *, sample_rate: int) -> Ints:
    """Return how many crops an epoch takes of utterances of these lengths, (num_utts,) int64.

    Source: `by_length` as 3D-Speaker lists an utterance; `grid` as speaker-net cuts it.
    """
    if settings.crops == "one":
        return np.ones(len(seconds), np.int64)
    if settings.crops == "by_length":
        return np.maximum(1, np.floor(seconds / settings.hop_seconds + _ROUNDING)).astype(np.int64)
    chunk, hop, tail = (
        round(value * sample_rate)
        for value in (settings.chunk_seconds, settings.hop_seconds, settings.crop_min_tail_seconds)
    )
    lengths = np.rint(seconds * sample_rate).astype(np.int64)
    whole = np.where(lengths >= chunk, (lengths - chunk) // hop + 1, 0)
    has_tail = (whole > 0) & (whole * hop + tail < lengths)
    counts: Ints = np.maximum(1, whole + has_tail)
    return counts
