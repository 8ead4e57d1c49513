"""Score tables: `enroll test score`, joined with trials by key, never by line number.

VoxSRC's `score enroll test` and the fourth column of WeSpeaker (a label) are recognised and said.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.tables.pairs import (
    Block,
    Ids,
    Interner,
    name_pairs,
    pair_codes,
    raise_repeated_pairs,
    read_column_blocks,
)
from sv_cli.tables.specifier import open_output
from sv_cli.tables.text import decode, encode, parse_number
from sv_cli.tables.trials import Trials

_LABELS = {b"target": 1, b"nontarget": 0, b"1": 1, b"0": 0}
_MOST_FIELDS = 16
_LINES_A_WRITE = 1 << 16


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
    enroll, test = Interner(), Interner()
    parts: list[tuple[Ids, Ids, NDArray[np.float64]]] = []
    targets: list[NDArray[np.bool_]] = []
    form: _Format | None = None
    for block in read_column_blocks(source, allowed=set(range(3, _MOST_FIELDS + 1)), what="scores"):
        form = form or _recognise(block, source)
        numbers = _numbers(block, form.score, source)
        columns = block.columns
        parts.append(
            (enroll.number(columns[form.enroll]), test.number(columns[form.test]), numbers)
        )
        if form.label is not None:
            targets.append(_labels(block, form.label, source))
    assert form is not None
    if form is not _KALDI:
        logs.info(f"`{source}`: scores in the format `{form.name}`")
    scores = Scores(
        enroll.ids(),
        test.ids(),
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.concatenate(targets) if targets else None,
    )
    raise_repeated_pairs(scores.codes(), scores.enroll_ids, scores.test_ids, f"`{source}`")
    return scores


def write_scores(target: str, scores: Scores) -> None:
    """Write `enroll test score` lines with 9 significant digits, in the order given."""
    with open_output(target) as stream:
        for start in range(0, len(scores), _LINES_A_WRITE):
            part = slice(start, start + _LINES_A_WRITE)
            enroll = map(scores.enroll_ids.__getitem__, scores.enroll[part].tolist())
            test = map(scores.test_ids.__getitem__, scores.test[part].tolist())
            rows = zip(enroll, test, scores.score[part].tolist(), strict=True)
            stream.write(encode("".join(["%s %s %.9g\n" % row for row in rows])))  # noqa: UP031


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
    enroll = _renumber(scores.enroll_ids, trials.enroll_ids)[scores.enroll]
    test = _renumber(scores.test_ids, trials.test_ids)[scores.test]
    known = (enroll >= 0) & (test >= 0)
    found = np.where(known, pair_codes(enroll, test, num_test), -1)
    if np.array_equal(found, wanted):  # written in the order of the trials: nothing to look up
        return scores.score.copy()
    order = np.argsort(wanted, kind="stable")
    at = np.minimum(np.searchsorted(wanted[order], found), max(len(wanted) - 1, 0))
    trial = order[at]
    matches = wanted[trial] == found
    _refuse_superfluous(scores, ~matches)
    result = np.full(len(wanted), np.nan)
    result[trial] = scores.score
    given = np.zeros(len(wanted), bool)
    given[trial] = True
    _refuse_missing(trials, wanted[~given], allow_missing)
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


def _renumber(ids: list[str], wanted: list[str]) -> Ids:
    """Return for each id its number in `wanted`, or -1."""
    numbers = {name: number for number, name in enumerate(wanted)}
    return np.array([numbers.get(name, -1) for name in ids], np.int32)


def _refuse_superfluous(scores: Scores, extra: NDArray[np.bool_]) -> None:
    if extra.any():
        named = name_pairs(scores.codes()[extra], scores.enroll_ids, scores.test_ids)
        raise TableError(
            f"{int(extra.sum())} scores have no trial: {named}",
            hint="are these the trials that were scored?",
        )


def _refuse_missing(trials: Trials, missing: NDArray[np.int64], allow_missing: bool) -> None:
    if len(missing) and not allow_missing:
        named = name_pairs(missing, trials.enroll_ids, trials.test_ids)
        raise TableError(
            f"{len(missing)} trials have no score: {named}",
            hint="`--allow-missing` counts them and goes on",
        )
