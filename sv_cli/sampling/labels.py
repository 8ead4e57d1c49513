"""Which class a training utterance belongs to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError
from sv_cli.sampling.plan import Purpose, chances
from sv_cli.tables.datadir.signal import speed_prefix


@dataclass(frozen=True)
class SpeedClasses:
    """The speeds that utterances are played at, and the classes that they make.

    Attributes
    ----------
    factors : tuple of float
        Speeds in addition to 1.0, all equally likely.
    kind : "expand", "same" or "subset"
        `expand`: each speed of a speaker is a class of its own. `same`: all speeds of a speaker
        share the class. `subset`: classes as in `expand`, but only speed 1.0 is played.
    draw_each : bool
        Whether items come as copies, one for each speed, in place of a speed drawn for each.

    Source: WeSpeaker, 3D-Speaker and speaker-net number the classes speaker + speakers x speed
    (`expand`); the large-margin stages of the last two keep them all without playing (`subset`).
    """

    factors: tuple[float, ...] = ()
    kind: Literal["expand", "same", "subset"] = "expand"
    draw_each: bool = False

    @property
    def played(self) -> tuple[float, ...]:
        """Factors by number, 1.0 first."""
        return (1.0,) if self.kind == "subset" else (1.0, *self.factors)

    @property
    def copies(self) -> int:
        """Items that a crop makes."""
        return len(self.played) if self.draw_each else 1

    def draw(self, seed: int, epoch: int, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the factor that each item is played at in this epoch."""
        count = len(self.played)
        if count == 1:
            return np.zeros(len(items), dtype=np.int64)
        if self.draw_each:
            return items % count
        numbers = chances(seed, epoch, items, count=1, purpose=Purpose.SPEED)[:, 0]
        return np.minimum((numbers * count).astype(np.int64), count - 1)

    def labels(
        self, labels: NDArray[np.int64], speeds: NDArray[np.int64], num_speakers: int
    ) -> NDArray[np.int64]:
        """Return the class of utterances of a speaker, played at the factors of these numbers."""
        return labels if self.kind == "same" else labels + num_speakers * speeds

    def names(self, speakers: Sequence[str]) -> list[str]:
        """Return the names of all classes: `spk`, then `sp0.9-spk`, as Kaldi names them."""
        if self.kind == "same":
            return list(speakers)
        expanded = [speed_prefix(factor) + spk for factor in self.factors for spk in speakers]
        return [*speakers, *expanded]


def class_speakers(utt2spk: Mapping[str, str], utts: Sequence[str]) -> list[str]:
    """Return the distinct speakers of `utts` in byte order; the index is the class.

    Raises
    ------
    TableError
        When fewer than two speakers are left.
    """
    speakers = sorted({utt2spk[utt] for utt in utts}, key=str.encode)
    if len(speakers) < 2:
        raise TableError(
            f"training needs at least two speakers, got {len(speakers)}",
            hint="look at utt2spk with `svtool data info`",
        )
    return speakers


def rows_by_name(known: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    """Return for each wanted class its number among the known ones, -1 where it is new.

    A run without speeds that starts from one with them so finds the rows of speed 1.0, and drops
    the others.
    """
    numbers = {name: number for number, name in enumerate(known)}
    return np.array([numbers.get(name, -1) for name in wanted], dtype=np.int64)
