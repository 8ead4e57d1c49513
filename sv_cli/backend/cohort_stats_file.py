"""Cohort statistics in a text table: `utt mean std`, sorted, 9 digits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sv_cli.backend.asnorm import CohortStats
from sv_cli.errors import TableError
from sv_cli.tables.text import parse_number, read_rows, write_table


@dataclass(frozen=True)
class StatsTable:
    """Statistics by key.

    Attributes
    ----------
    ids : list of str
    stats : CohortStats
        One entry a key.
    """

    ids: list[str]
    stats: CohortStats
    index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {key: row for row, key in enumerate(self.ids)})


def read_stats(source: str) -> StatsTable:
    """Read what `asnorm --stats` wrote.

    Raises
    ------
    TableError
        Names the line of a key that repeats, a word that is no number, a deviation that is not
        positive.
    """
    rows = read_rows(source, min_fields=3, what="cohort statistics")
    seen: set[str] = set()
    mean, std = np.empty(len(rows)), np.empty(len(rows))
    for line, (key, first, second) in enumerate(rows):
        if key in seen:
            raise TableError(f"`{source}:{line + 1}`: `{key}` repeats")
        seen.add(key)
        numbers = parse_number(first), parse_number(second)
        if numbers[0] is None or numbers[1] is None or not numbers[1] > 0:
            raise TableError(f"`{source}:{line + 1}`: no mean and deviation: `{first} {second}`")
        mean[line], std[line] = numbers
    return StatsTable([row[0] for row in rows], CohortStats(mean, std))


def write_stats(target: str, *tables: StatsTable) -> None:
    """Write statistics of one or more tables.

    Raises
    ------
    TableError
        When a key stands in two tables with different figures.
    """
    rows: dict[str, str] = {}
    for table in tables:
        lines = _lines(table)
        for key, line in lines.items():
            if rows.setdefault(key, line) != line:
                raise TableError(
                    f"`{key}` is an enrolment model and a test utterance with different statistics",
                    hint="give models and utterances different names, or leave out `--stats`",
                )
    write_table(target, rows)


def _lines(table: StatsTable) -> Mapping[str, str]:
    figures = zip(table.stats.mean.tolist(), table.stats.std.tolist(), strict=True)
    return dict(zip(table.ids, [f"{m:.9g} {s:.9g}" for m, s in figures], strict=True))
