"""Score tables: `enroll test score`, joined with trials by key, never by line number.

VoxSRC's `score enroll test`, WeSpeaker's `enroll test score label` and 3D-Speaker's
`enroll test label score` are recognised and reported. Numeric ids can make the order ambiguous;
such a table needs its columns named.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import SettingsError, TableError
from sv_cli.tables.kaldi.specifier import open_output
from sv_cli.tables.pairs.columns import Block, Ids, name_pairs, pair_codes, read_column_blocks
from sv_cli.tables.pairs.stream import Columns, PairChunk, PairIds, PairStream, concatenate
from sv_cli.tables.pairs.trials import Trials
from sv_cli.tables.text import decode, encode, parse_number

_LABELS = {b"target": 1, b"nontarget": 0, b"1": 1, b"0": 0}
_MOST_FIELDS = 16
_LINES_A_WRITE = 1 << 16

Rows = NDArray[np.integer]
Floats = NDArray[np.floating]
Names = tuple[Sequence[str], Sequence[str]]


@dataclass
class Scores:
    """Scores of (enroll, test) pairs, as row numbers of two lists of distinct ids.

    Attributes
    ----------
    enroll_ids, test_ids : list of str
        Distinct ids.
    enroll, test : (num_scores,) int32
        Numbers of the ids.
    score : (num_scores,) float64
        Higher means more likely the same speaker.
    target : (num_scores,) bool or None
        Labels, where the table has them.
    """

    enroll_ids: list[str]
    test_ids: list[str]
    enroll: Ids
    test: Ids
    score: NDArray[np.float64]
    target: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def codes(self) -> NDArray[np.int64]:
        """Return one number for each pair: enroll * len(test_ids) + test."""
        return pair_codes(self.enroll, self.test, len(self.test_ids))

    @classmethod
    def of_chunk(cls, ids: PairIds, chunk: PairChunk) -> "Scores":
        """Return the rows of a stream with its ids."""
        score = np.empty(0) if chunk.score is None else chunk.score
        enroll, test = ids.enroll.ids(), ids.test.ids()
        return cls(enroll, test, chunk.enroll, chunk.test, score, chunk.target)

    @classmethod
    def of_trials(cls, trials: Trials, score: NDArray[np.floating]) -> "Scores":
        """Return the scores of a trial list, given in its order."""
        return cls(
            trials.enroll_ids,
            trials.test_ids,
            trials.enroll,
            trials.test,
            np.asarray(score, np.float64),
            trials.target,
        )


@dataclass(frozen=True)
class _Format:
    """Which column of a score table contains what."""

    enroll: int
    test: int
    score: int
    label: int | None = None

    @property
    def names(self) -> list[str]:
        """The names of the columns in their order."""
        places = {
            self.enroll: "enroll",
            self.test: "test",
            self.score: "score",
            self.label: "label",
        }
        return [places[at] for at in range(3 if self.label is None else 4)]


_KALDI = _Format(0, 1, 2)
_VOXSRC = _Format(1, 2, 0)
_WESPEAKER = _Format(0, 1, 2, 3)
_3DSPEAKER = _Format(0, 1, 3, 2)
_REMEDY = "name the columns: `--columns enroll,test,score`, in the order of the table"


def parse_columns(text: str) -> _Format:
    """Return the format that `enroll,test,score` names; a `label` column may be added.

    Columns after the named ones are ignored.

    Raises
    ------
    SettingsError
        When the text is not an order of enroll, test, score and at most one label.
    """
    names = text.split(",")
    if sorted(names) not in (["enroll", "score", "test"], ["enroll", "label", "score", "test"]):
        raise SettingsError(
            f"`--columns {text}` is not an order of enroll, test and score",
            hint="for example `enroll,test,score` or `enroll,test,score,label`",
        )
    label = names.index("label") if "label" in names else None
    return _Format(names.index("enroll"), names.index("test"), names.index("score"), label)


def is_default_order(columns: str | None) -> bool:
    """Return whether the columns may be `enroll test score`: named so, or not named."""
    return columns is None or parse_columns(columns) == _KALDI


def read_scores(source: str, *, columns: str | None = None) -> Scores:
    """Return a score table; a format other than `enroll test score` is logged.

    Parameters
    ----------
    source : str
    columns : str or None
        The order of the columns, `enroll,test,score`; None to recognise it.

    Raises
    ------
    TableError
        Names `file:line` of a bad line or a score that is no number, repeated pairs, and a table
        whose columns can be read in two ways.
    """
    stream = iterate_scores(source, finite=False, columns=columns)
    return Scores.of_chunk(stream.ids, concatenate(list(stream)))


def iterate_scores(
    source: str,
    *,
    ids: PairIds | None = None,
    finite: bool = True,
    columns: str | None = None,
) -> PairStream:
    """Return a score table as a stream; see `read_scores`. Infinite scores are refused.

    Where `ids` contains the ids of trials, they settle an order that is ambiguous otherwise.
    """
    form = None if columns is None else parse_columns(columns)
    known = ids or PairIds()
    return PairStream(source, _columns(source, known, form), known, finite=finite)


def _columns(source: str, ids: PairIds, form: _Format | None) -> Iterator[Columns]:
    least = len(form.names) if form else 3
    num_fields = set(range(least, _MOST_FIELDS + 1))
    numeric_ids: int | None = None
    for block in read_column_blocks(source, allowed=num_fields, what="scores"):
        if form is None:
            form, numeric_ids = _recognise(block, source, ids)
            if form is not _KALDI:
                logs.info(f"`{source}`: scores in the format `{' '.join(form.names)}`")
        if numeric_ids is not None:
            _check_numeric_ids(block, numeric_ids, source)
        numbers = _numbers(block, form.score, source)
        target = None if form.label is None else _labels(block, form.label, source)
        yield Columns(block.columns[form.enroll], block.columns[form.test], numbers, target)


def write_scores(target: str, scores: Scores) -> None:
    """Write `enroll test score` lines with 9 significant digits, in the order given."""
    ids = scores.enroll_ids, scores.test_ids
    write_parts(target, format_scores(ids, scores.enroll, scores.test, scores.score))


def write_chunks(target: str, ids: PairIds, chunks: Iterable[PairChunk]) -> int:
    """Write the scores of a stream as they are made, and return how many."""
    num_scores = 0

    def lines() -> Iterator[bytes]:
        nonlocal num_scores
        for chunk in chunks:
            num_scores += len(chunk)
            names = ids.enroll.ids(), ids.test.ids()
            yield from format_scores(names, chunk.enroll, chunk.test, chunk.scores)

    write_parts(target, lines())
    return num_scores


def format_scores(ids: Names, enroll: Rows, test: Rows, scores: Floats) -> Iterator[bytes]:
    """Give `enroll test score` lines with 9 significant digits, some thousand at a time.

    Parameters
    ----------
    ids : (enrolment ids, test ids)
    enroll, test : (num_scores,) int
        Numbers of the ids.
    scores : (num_scores,) float
    """
    for start in range(0, len(scores), _LINES_A_WRITE):
        part = slice(start, start + _LINES_A_WRITE)
        left = map(ids[0].__getitem__, enroll[part].tolist())
        right = map(ids[1].__getitem__, test[part].tolist())
        rows = zip(left, right, scores[part].tolist(), strict=True)
        yield encode("".join(["%s %s %.9g\n" % row for row in rows]))  # noqa: UP031


def write_parts(target: str, parts: Iterable[bytes]) -> None:
    """Write text as it is produced; nothing is opened before the first part exists.

    So an input that is refused at once leaves a pipe without a byte.
    """
    waiting = iter(parts)
    first = next(waiting, b"")
    with open_output(target) as stream:
        stream.write(first)
        for part in waiting:
            stream.write(part)


def join(trials: Trials, scores: Scores, *, allow_missing: bool = False) -> NDArray[np.float64]:
    """Return the score of each trial, by key, in the order of the trials.

    Parameters
    ----------
    trials, scores : Trials, Scores
        Both hold each pair once.
    allow_missing : bool
        Whether trials without a score get NaN.

    Returns
    -------
    (num_trials,) float64
        NaN where a score is missing.

    Raises
    ------
    TableError
        When trials have no score, scores no trial, or both have labels that differ: names the
        first five, and the count.
    """
    num_test = len(trials.test_ids)
    wanted = trials.codes()
    enroll = _renumber(scores.enroll, scores.enroll_ids, trials.enroll_ids)
    test = _renumber(scores.test, scores.test_ids, trials.test_ids)
    found = pair_codes(enroll, test, num_test)
    found[(enroll < 0) | (test < 0)] = -1
    if np.array_equal(found, wanted):  # written in the order of the trials: nothing to look up
        check_labels(trials, scores.target)
        return scores.score.copy()
    by_pair, by_found = np.argsort(wanted), np.argsort(found)
    wanted, found = wanted[by_pair], found[by_found]
    # both ascend, so the search walks through memory in order
    at = np.minimum(np.searchsorted(wanted, found), max(len(wanted) - 1, 0))
    matches = wanted[at] == found if len(wanted) else np.zeros(len(found), bool)
    if not matches.all():
        _refuse_superfluous(scores, np.sort(by_found[~matches]))
    result = np.full(len(wanted), np.nan)
    trial = by_pair[at]
    result[trial] = scores.score[by_found]
    given = np.zeros(len(wanted), bool)
    given[trial] = True
    if not (allow_missing or given.all()):
        _refuse_missing(trials, np.flatnonzero(~given))
    if trials.target is not None and scores.target is not None:
        labels = trials.target.copy()
        labels[trial] = scores.target[by_found]
        check_labels(trials, labels)
    return result


def check_labels(trials: Trials, labels: NDArray[np.bool_] | None) -> None:
    """Raise when labels of a score table, in the order of the trials, differ from the trials'."""
    if labels is None or trials.target is None or np.array_equal(labels, trials.target):
        return
    rows = np.flatnonzero(labels != trials.target)
    named = name_pairs(trials.codes()[rows], trials.enroll_ids, trials.test_ids)
    raise TableError(
        f"{len(rows)} of {len(labels)} labels differ from those of the trials: {named}",
        hint="one of the two lists is wrong, or `--columns` names the wrong label column",
    )


def _recognise(block: Block, source: str, ids: PairIds) -> tuple[_Format, int | None]:
    """Return the format by the first lines, and a column of numeric ids that it relies on."""
    columns = block.columns
    if len(columns) > 3:
        return _recognise_labels(block, source), None
    first, third = columns[0], columns[2]
    if parse_number(first[0]) is None:
        if parse_number(third[0]) is None:
            raise TableError(
                f"`{source}:{block.first_line}`: score `{decode(third[0])}` is not a number"
            )
        if not third[0].isdigit():
            return _KALDI, None
    known = [form for form in (_KALDI, _VOXSRC) if _has_known_pair(block, form, ids)]
    if len(known) == 1:
        return known[0], None
    fitting = [
        (form, at)
        for form, at in ((_KALDI, 0), (_VOXSRC, 2))
        if _can_be_scores(columns[form.score], columns[at])
    ]
    if len(fitting) == 1:
        form, at = fitting[0]
        return form, at if _any_number(columns[at]) else None
    raise TableError(
        f"`{source}:{block.first_line}`: the score can be `{decode(first[0])}` or "
        f"`{decode(third[0])}`: there are numbers in both columns",
        hint=_REMEDY,
    )


def _recognise_labels(block: Block, source: str) -> _Format:
    """Return the format of a table with labels; WeSpeaker writes more columns after its own."""
    columns = block.columns
    fitting = [
        form
        for form, label in ((_WESPEAKER, columns[3]), (_3DSPEAKER, columns[2]))
        if parse_number(columns[form.score][0]) is not None
        and _LABELS.keys() >= set(label)
        and (len(columns) == 4 or form is _WESPEAKER)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise TableError(
            f"`{source}:{block.first_line}`: columns 3 and 4 of the scores both contain labels",
            hint="name the columns: `--columns enroll,test,score,label`, in their order",
        )
    raise TableError(
        f"`{source}:{block.first_line}`: {len(columns)} fields in scores, expected "
        "`enroll test score`",
        hint="a fourth field may only be a label: target, nontarget, 1 or 0; `--columns` names "
        "any other order",
    )


def _has_known_pair(block: Block, form: _Format, ids: PairIds) -> bool:
    pairs = zip(block.columns[form.enroll], block.columns[form.test], strict=True)
    return any(enroll in ids.enroll and test in ids.test for enroll, test in pairs)


def _can_be_scores(column: list[bytes], ids: list[bytes]) -> bool:
    """Return whether one column is scores and the other ids; a numeric id has digits only."""
    if not _all_numbers(column):
        return False
    if not _any_number(ids):
        return True
    digits, other_digits = _all_digits(column), _all_digits(ids)
    return not digits and (other_digits or not _all_numbers(ids))


def _all_digits(column: list[bytes]) -> bool:
    return b"".join(column).isdigit()  # no field is empty


def _any_number(column: list[bytes]) -> bool:
    return any(parse_number(token) is not None for token in column)


def _check_numeric_ids(block: Block, column: int, source: str) -> None:
    """Raise when a column of numeric ids contains a field that looks like a score."""
    tokens = block.columns[column]
    if _all_digits(tokens):
        return
    for line, token in enumerate(tokens, start=block.first_line):
        if not token.isdigit() and parse_number(token) is not None:
            raise TableError(
                f"`{source}:{line}`: `{decode(token)}` is in a column of ids and can be a score",
                hint=_REMEDY,
            )


def _all_numbers(column: list[bytes]) -> bool:
    return all(parse_number(token) is not None for token in column)


def _numbers(block: Block, column: int, source: str) -> NDArray[np.float64]:
    tokens = block.columns[column]
    try:
        numbers = np.array(list(map(float, tokens)))
    except ValueError:
        pass
    else:
        if not np.isnan(numbers).any() and not any(b"_" in token for token in tokens):
            return numbers
    at = next(i for i, token in enumerate(tokens) if not _is_score(token))
    raise TableError(
        f"`{source}:{block.first_line + at}`: score `{decode(tokens[at])}` is not a number"
    )


def _is_score(token: bytes) -> bool:
    number = parse_number(token)
    return number is not None and number == number  # NaN is no score


def _labels(block: Block, column: int, source: str) -> NDArray[np.bool_]:
    tokens = block.columns[column]
    try:
        return np.fromiter(map(_LABELS.__getitem__, tokens), np.bool_, len(tokens))
    except KeyError:
        at = next(i for i, token in enumerate(tokens) if token not in _LABELS)
    raise TableError(
        f"`{source}:{block.first_line + at}`: label `{decode(tokens[at])}` is not target or "
        "nontarget"
    )


def _renumber(numbers: Ids, ids: list[str], wanted: list[str]) -> Ids:
    """Return the numbers that ids have in `wanted`, -1 where they are not in it."""
    if ids is wanted:
        return numbers
    place = {name: number for number, name in enumerate(wanted)}
    return np.array([place.get(name, -1) for name in ids], np.int32)[numbers]


def _refuse_superfluous(scores: Scores, rows: NDArray[np.int64]) -> None:
    named = name_pairs(scores.codes()[rows], scores.enroll_ids, scores.test_ids)
    raise TableError(
        f"{len(rows)} scores have no trial: {named}",
        hint="are these the trials that were scored?",
    )


def _refuse_missing(trials: Trials, rows: NDArray[np.int64]) -> None:
    named = name_pairs(trials.codes()[rows], trials.enroll_ids, trials.test_ids)
    raise TableError(
        f"{len(rows)} trials have no score: {named}",
        hint="`--allow-missing` counts them and goes on",
    )
