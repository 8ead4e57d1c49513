"""Score tables: `enroll test score`, joined with trials by key, never by line number.

VoxSRC's `score enroll test` and the fourth column of WeSpeaker (a label) are recognised and said.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.tables.pair_stream import Columns, PairChunk, PairIds, PairStream, concatenate
from sv_cli.tables.pairs import Block, Ids, name_pairs, pair_codes, read_column_blocks
from sv_cli.tables.specifier import open_output
from sv_cli.tables.text import decode, encode, parse_number
from sv_cli.tables.trials import Trials

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
    name: str
    enroll: int
    test: int
    score: int
    label: int | None = None


_KALDI = _Format("enroll test score", 0, 1, 2)
_VOXSRC = _Format("score enroll test", 1, 2, 0)
_WESPEAKER = _Format("enroll test score label", 0, 1, 2, 3)


def read_scores(source: str) -> Scores:
    """Return a score table in any of the formats; another than `enroll test score` is said.

    Raises
    ------
    TableError
        Names `file:line` of a bad line or a score that is no number, and pairs that stand twice.
    """
    stream = iterate_scores(source, finite=False)
    return Scores.of_chunk(stream.ids, concatenate(list(stream)))


def iterate_scores(source: str, *, ids: PairIds | None = None, finite: bool = True) -> PairStream:
    """Return a score table as a stream; see `read_scores`. Infinite scores are refused."""
    return PairStream(source, _columns(source), ids, finite=finite)


def _columns(source: str) -> Iterator[Columns]:
    form: _Format | None = None
    for block in read_column_blocks(source, allowed=set(range(3, _MOST_FIELDS + 1)), what="scores"):
        if form is None:
            form = _recognise(block, source)
            if form is not _KALDI:
                logs.info(f"`{source}`: scores in the format `{form.name}`")
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
    """Write text as it is made; nothing is opened before the first part is there.

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
        When trials have no score, or scores no trial: names the first five, and the count.
    """
    num_test = len(trials.test_ids)
    wanted = trials.codes()
    enroll = _renumber(scores.enroll, scores.enroll_ids, trials.enroll_ids)
    test = _renumber(scores.test, scores.test_ids, trials.test_ids)
    found = pair_codes(enroll, test, num_test)
    found[(enroll < 0) | (test < 0)] = -1
    if np.array_equal(found, wanted):  # written in the order of the trials: nothing to look up
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
    return result


def _recognise(block: Block, source: str) -> _Format:
    columns = block.columns
    first, third = parse_number(columns[0][0]), parse_number(columns[2][0])
    if len(columns) > 3:
        if third is not None and set(columns[3]) <= set(_LABELS):
            return _WESPEAKER
        raise TableError(
            f"`{source}:{block.first_line}`: {len(columns)} fields in scores, expected "
            "`enroll test score`",
            hint="a fourth field may only be a label: target, nontarget, 1 or 0",
        )
    if third is not None and (first is None or _all_numbers(columns[2])):
        return _KALDI
    if first is not None:
        return _VOXSRC
    raise TableError(
        f"`{source}:{block.first_line}`: score `{decode(columns[2][0])}` is not a number"
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
    """Return the numbers that ids have in `wanted`, -1 where they do not stand in it."""
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
