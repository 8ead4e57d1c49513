"""Labelled trials with the scores of one or several systems, joined by key."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.errors import TableError, name_some
from sv_cli.metrics.bootstrap import TrialSpeakers, speakers_of_target_trials
from sv_cli.scoring.sides import PairRows, Sides
from sv_cli.tables.pairs.aligned import read_aligned
from sv_cli.tables.pairs.join import iterate_joined
from sv_cli.tables.pairs.scores import is_default_order, iterate_scores, write_chunks
from sv_cli.tables.pairs.stream import PairChunk, PairStream, concatenate
from sv_cli.tables.pairs.trials import Trials, iterate_trials, read_trials
from sv_cli.tables.text import read_table, sort_keys

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ScoredTrials:
    """Trials and the scores that several systems gave them.

    Attributes
    ----------
    source : str
        The trial list.
    target : ndarray of bool, shape (num_trials,)
    scores : ndarray of float64, shape (num_systems, num_trials)
    names : tuple of str, length num_systems
    num_missing : int
        Trials left out because a system had no score for them.
    """

    source: str
    target: Bools
    scores: NDArray[np.float64]
    names: tuple[str, ...]
    num_missing: int = 0
    joined: Trials | None = None

    @cached_property
    def trials(self) -> Trials:
        """The trials that every system scored; read when they are first asked for."""
        return self.joined or read_trials(self.source, labels="required")


def read_scored_trials(
    source: str,
    score_sources: Sequence[str],
    *,
    allow_missing: bool = False,
    columns: str | None = None,
) -> ScoredTrials:
    """Return labelled trials with their scores, in the order of the trial list.

    Parameters
    ----------
    source : str
        The trial list; it must have labels.
    score_sources : sequence of str
        One score table a system.
    allow_missing : bool
        Leave out trials that a system has no score for, instead of raising.
    columns : str or None
        The order of the columns of all score tables; None to recognise each.

    Raises
    ------
    TableError
        When keys do not match, a score is not finite, or all trials are of one class; the first
        five keys are named.
    """
    aligned = read_aligned(source, score_sources) if is_default_order(columns) else None
    if aligned is not None:
        target = _check_labels(aligned[0], source)
        logs.info(f"`{source}`: {len(target)} trials, scores in the same order")
        return ScoredTrials(source, target, aligned[1], name_systems(score_sources))
    first = iterate_trials(source, labels="required")
    others = [iterate_scores(one, ids=first.ids, columns=columns) for one in score_sources]
    parts = list(iterate_joined(first, others, allow_missing=allow_missing))
    trials = Trials.of_chunk(first.ids, concatenate([chunk for chunk, _ in parts]))
    systems = zip(*[scores for _, scores in parts], strict=True)
    stacked = np.stack([np.concatenate(system) for system in systems])
    num_missing = 0
    if allow_missing:
        present = np.asarray(~np.isnan(stacked).any(axis=0), dtype=np.bool_)
        num_missing = int(np.count_nonzero(~present))
        trials, stacked = select_trials(trials, present), stacked[:, present]
    target = _check_labels(np.asarray(trials.target, dtype=np.bool_), source)
    names = name_systems(score_sources)
    return ScoredTrials(source, target, stacked, names, num_missing, trials)


def select_trials(trials: Trials, chosen: Bools) -> Trials:
    """Return the chosen trials; the ids keep their numbers."""
    target = None if trials.target is None else trials.target[chosen]
    return replace(trials, enroll=trials.enroll[chosen], test=trials.test[chosen], target=target)


def _check_labels(target: Bools, source: str) -> Bools:
    if target.all() or not target.any():
        kind = "target" if target.size and target.all() else "nontarget"
        raise TableError(
            f"`{source}`: all {len(target)} trials are {kind} trials",
            hint="error rates need target and nontarget trials",
        )
    return target


def name_systems(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the file names of score tables, or the whole paths where file names repeat."""
    names = tuple("stdin" if source == "-" else PurePath(source).name for source in sources)
    return names if len(set(names)) == len(names) else tuple(sources)


def trial_speakers(trials: Trials, utt2spk_sources: Sequence[str] = ()) -> TrialSpeakers:
    """Return the speaker of each side of each trial.

    Parameters
    ----------
    trials : Trials
    utt2spk_sources : sequence of str
        Tables of utterances (and of enrolment models) and their speakers. Without any, ids that
        target trials join are taken for one speaker.

    Raises
    ------
    TableError
        Names the ids that no table has a speaker for.
    """
    # numbered by name, so that the order of the trials has no say in what is drawn
    ids = sort_keys({*trials.enroll_ids, *trials.test_ids})
    number = {key: index for index, key in enumerate(ids)}
    enroll = np.array([number[key] for key in trials.enroll_ids])[trials.enroll]
    test = np.array([number[key] for key in trials.test_ids])[trials.test]
    if utt2spk_sources:
        speaker_of, num_speakers = _speakers_of_tables(number, utt2spk_sources)
    else:
        target = np.asarray(trials.target, dtype=np.bool_)
        speaker_of, num_speakers = speakers_of_target_trials(enroll, test, target)
    return TrialSpeakers(speaker_of[enroll], speaker_of[test], num_speakers)


def _speakers_of_tables(
    number: Mapping[str, int], sources: Sequence[str]
) -> tuple[NDArray[np.int64], int]:
    speaker: dict[str, str] = {}
    for source in sources:
        speaker |= read_table(source, fields=1, what="utt2spk")
    missing = [key for key in number if key not in speaker]
    if missing:
        raise TableError(
            f"{len(missing)} ids of the trials have no speaker: {name_some(missing)}",
            hint="give a table of the enrolment models, too: `--utt2spk A --utt2spk B`",
        )
    names = {name: index for index, name in enumerate(sorted({speaker[key] for key in number}))}
    speaker_of = np.array([names[speaker[key]] for key in number], dtype=np.int64)
    return speaker_of, len(names)


Rows = NDArray[np.integer]
Scorer = Callable[[Rows, Rows], NDArray[np.floating]]
ChunkScorer = Callable[[PairChunk], PairChunk]


def score_list(
    trials: str, sides: Sides, scorer: Scorer, target: str, *, allow_missing: bool = False
) -> tuple[int, int]:
    """Score every trial of a list; the memory does not grow with it.

    Parameters
    ----------
    trials : str
        Table of trials.
    scorer : function
        Scores of pairs of rows of the two sides.
    target : str
        Table of scores; a file appears when all is done.

    Returns
    -------
    num_done, num_skipped : int

    Raises
    ------
    TableError
        Names the first keys without an embedding.
    """
    stream = iterate_trials(trials)
    pairs = PairRows(sides, stream.ids, allow_missing=allow_missing)

    def score(chunk: PairChunk) -> PairChunk:
        found = pairs.find(chunk)
        return replace(
            found.chunk, score=scorer(found.enroll, found.test).astype(np.float64, copy=False)
        )

    return score_stream(stream, score, target)


def score_stream(stream: PairStream, scorer: ChunkScorer, target: str) -> tuple[int, int]:
    """Write new scores of a list, a chunk at a time.

    Parameters
    ----------
    scorer : function
        Takes a chunk and returns it with scores, without the pairs that have none.
    target : str
        Table of scores; a file appears when all is done.

    Returns
    -------
    num_done, num_skipped : int

    Raises
    ------
    TableError
        When no pair has a score.
    """
    num_done = num_rows = 0

    def scored() -> Iterator[PairChunk]:
        nonlocal num_done, num_rows
        for chunk in stream:
            made = scorer(chunk)
            num_done += len(made)
            num_rows += len(chunk)
            yield made
        if num_done == 0:
            raise TableError("no trial has embeddings on both sides; are these the right tables?")

    write_chunks(target, stream.ids, scored())
    return num_done, num_rows - num_done
