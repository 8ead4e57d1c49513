"""Trial lists: which enrolment is compared with which test, and whether the speaker is the same.

Three formats are recognised by their content and said: Kaldi's `enroll test target|nontarget`,
VoxCeleb's `1|0 enroll test`, CN-Celeb's `enroll test 1|0`; and plain `enroll test` pairs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.tables.kaldi.specifier import open_output
from sv_cli.tables.pairs.columns import Block, Ids, pair_codes, read_column_blocks
from sv_cli.tables.pairs.stream import Columns, PairChunk, PairIds, PairStream, concatenate
from sv_cli.tables.text import decode, encode

_ROWS_AT_ONCE = 1 << 18
_WORDS = {b"target": 1, b"nontarget": 0}
_DIGITS = {b"1": 1, b"0": 0}


@dataclass(frozen=True)
class TrialFormat:
    """Which column of a trial list holds what."""

    name: str
    enroll: int
    test: int
    label: int | None
    values: dict[bytes, int]


_KALDI = TrialFormat("enroll test target|nontarget", 0, 1, 2, _WORDS)
_VOXCELEB = TrialFormat("1|0 enroll test", 1, 2, 0, _DIGITS)
_CNCELEB = TrialFormat("enroll test 1|0", 0, 1, 2, _DIGITS)
_PLAIN = TrialFormat("enroll test", 0, 1, None, {})


@dataclass
class Trials:
    """Trials as row numbers of two lists of distinct ids.

    Attributes
    ----------
    enroll_ids, test_ids : list of str
        Distinct ids in the order in which they are met.
    enroll, test : (num_trials,) int32
        Numbers of the ids.
    target : (num_trials,) bool or None
        Whether the speakers are the same; None when the list does not say.
    """

    enroll_ids: list[str]
    test_ids: list[str]
    enroll: Ids
    test: Ids
    target: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.enroll)

    @classmethod
    def of_chunk(cls, ids: PairIds, chunk: PairChunk) -> "Trials":
        """Return the rows of a stream with its ids."""
        return cls(ids.enroll.ids(), ids.test.ids(), chunk.enroll, chunk.test, chunk.target)

    def codes(self) -> NDArray[np.int64]:
        """Return one number for each pair: enroll * len(test_ids) + test."""
        return pair_codes(self.enroll, self.test, len(self.test_ids))

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Return (enroll id, test id) of each trial."""
        enroll = map(self.enroll_ids.__getitem__, self.enroll.tolist())
        return zip(enroll, map(self.test_ids.__getitem__, self.test.tolist()), strict=True)


def read_trials(source: str, *, labels: Literal["optional", "required"] = "optional") -> Trials:
    """Return the trials of a list in any of the formats; the one found is said.

    Raises
    ------
    TableError
        Names `file:line` of a bad line, a repeated pair (both lines), or when labels are
        required and there are none.
    """
    stream = iterate_trials(source, labels=labels)
    return Trials.of_chunk(stream.ids, concatenate(list(stream)))


def iterate_trials(
    source: str,
    *,
    labels: Literal["optional", "required"] = "optional",
    ids: PairIds | None = None,
) -> PairStream:
    """Return a list in any of the formats as a stream; see `read_trials`."""
    return PairStream(source, _columns(source, labels), ids)


def _columns(source: str, labels: str) -> Iterator[Columns]:
    form: TrialFormat | None = None
    num_trials = 0
    for block in read_column_blocks(source, allowed={2, 3}, what="trials"):
        form = form or recognise(block, source)
        if form.label is None and labels == "required":
            raise TableError(
                f"`{source}`: trials have no labels", hint="each line ends in target or nontarget"
            )
        target = None if form.label is None else read_labels(block, form, source)
        columns = block.columns
        num_trials += len(columns[0])
        yield Columns(columns[form.enroll], columns[form.test], target=target)
    if form is not None:
        logs.info(f"`{source}`: {num_trials} trials, format `{form.name}`", trials=num_trials)


def write_trials(target: str, trials: Trials) -> None:
    """Write `enroll test target|nontarget` lines, or `enroll test` when there are no labels."""
    with open_output(target) as stream:
        for start in range(0, len(trials), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            enroll = map(trials.enroll_ids.__getitem__, trials.enroll[part].tolist())
            test = map(trials.test_ids.__getitem__, trials.test[part].tolist())
            columns = [enroll, test]
            if trials.target is not None:
                columns.append(iter(np.where(trials.target[part], "target", "nontarget").tolist()))
            rows = map(" ".join, zip(*columns, strict=True))
            stream.write(encode("".join([f"{row}\n" for row in rows])))


def recognise(block: Block, source: str) -> TrialFormat:
    """Return the format of a list by its first lines, or say what is wrong with it."""
    columns = block.columns
    if len(columns) == 2:
        return _PLAIN
    last = set(columns[2])
    if columns[2][0] in _WORDS:
        return _KALDI
    first_is_label, last_is_label = set(columns[0]) <= {b"0", b"1"}, last <= {b"0", b"1"}
    if first_is_label and last_is_label:
        raise TableError(
            f"`{source}`: the first and the last column of trials both look like labels",
            hint="write `enroll test target|nontarget`",
        )
    if last_is_label or columns[2][0] in _DIGITS:
        return _CNCELEB
    if first_is_label or columns[0][0] in _DIGITS:
        return _VOXCELEB
    raise TableError(
        f"`{source}:{block.first_line}`: no label in trials",
        hint="formats are `enroll test target|nontarget`, `1|0 enroll test`, `enroll test 1|0`",
    )


def read_labels(block: Block, form: TrialFormat, source: str) -> NDArray[np.bool_]:
    """Return True for targets; a word that is no label is an error that names its line."""
    assert form.label is not None
    column = block.columns[form.label]
    try:
        return np.fromiter(map(form.values.__getitem__, column), np.bool_, len(column))
    except KeyError:
        at = next(i for i, token in enumerate(column) if token not in form.values)
    known = " or ".join(f"`{decode(value)}`" for value in form.values)
    raise TableError(
        f"`{source}:{block.first_line + at}`: label `{decode(column[at])}` is not {known}"
    )
