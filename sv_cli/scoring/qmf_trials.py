"""Calibration trials drawn from a training set by duration: short, mixed and long pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

Pair = tuple[str, str]
Draw = Callable[[], Pair | None]
FRUITLESS_DRAWS = 2000  # in a row: hardly any new pair is left


@dataclass(frozen=True)
class Speaker:
    """The short and the long utterances of one speaker."""

    short: Sequence[str]
    long: Sequence[str]


@dataclass(frozen=True)
class DurationRange:
    """Short is from `shortest` up to `boundary` seconds, long is from there on."""

    shortest: float = 2.0
    boundary: float = 6.0


def speakers_by_duration(
    utt2spk: Mapping[str, str], utt2dur: Mapping[str, float], limits: DurationRange
) -> list[Speaker]:
    """Return the speakers that have both short and long utterances, in order of their names."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for utt in sorted(utt2spk):
        duration = utt2dur[utt]
        if duration > limits.shortest:
            short, long = found.setdefault(utt2spk[utt], ([], []))
            (long if duration >= limits.boundary else short).append(utt)
    sides = [found[spk] for spk in sorted(found)]
    return [Speaker(short, long) for short, long in sides if short and long]


def draw_trials(
    speakers: Sequence[Speaker], *, num_trials: int = 30000, seed: int = 0
) -> list[tuple[str, str, bool]]:
    """Return (enroll, test, target) in six equal shares: short-short, short-long and long-long
    pairs, each of one speaker and of two.

    No utterance is paired with itself and no pair occurs twice; where a share has not enough
    pairs, fewer come back.
    """
    generator = np.random.default_rng(seed)
    seen: set[frozenset[str]] = set()
    trials: list[tuple[str, str, bool]] = []
    shares = [num_trials // 6 + (index < num_trials % 6) for index in range(6)]
    kinds = chain.from_iterable(
        (_target(speakers, *sides, generator), _nontarget(speakers, *sides, generator))
        for sides in (("short", "short"), ("short", "long"), ("long", "long"))
    )
    for index, (share, draw) in enumerate(zip(shares, kinds, strict=True)):
        pairs = _collect(draw, share, seen)
        trials += [(enroll, test, index % 2 == 0) for enroll, test in pairs]
    return trials


def _collect(draw: Draw, count: int, seen: set[frozenset[str]]) -> list[Pair]:
    """Draw until there are `count` new pairs, or until new ones have become rare."""
    pairs: list[Pair] = []
    fruitless = 0
    while len(pairs) < count and fruitless < FRUITLESS_DRAWS:
        pair = draw()
        if pair is None:
            break
        key = frozenset(pair)
        if len(key) == 2 and key not in seen:
            seen.add(key)
            pairs.append(pair)
            fruitless = 0
        else:
            fruitless += 1
    return pairs


def _target(
    speakers: Sequence[Speaker], left: str, right: str, generator: np.random.Generator
) -> Draw:
    """Return a draw of two utterances of one speaker; speakers with one pair less are left out."""
    least = 2 if left == right else 1
    chosen = [spk for spk in speakers if len(getattr(spk, left)) >= least]

    def draw() -> Pair | None:
        if not chosen:
            return None
        spk = chosen[generator.integers(len(chosen))]
        return _pick(getattr(spk, left), generator), _pick(getattr(spk, right), generator)

    return draw


def _nontarget(
    speakers: Sequence[Speaker], left: str, right: str, generator: np.random.Generator
) -> Draw:
    """Return a draw of utterances of two different speakers."""

    def draw() -> Pair | None:
        if len(speakers) < 2:
            return None
        first = int(generator.integers(len(speakers)))
        second = int(generator.integers(len(speakers) - 1))
        second += second >= first
        one, other = speakers[first], speakers[second]
        return _pick(getattr(one, left), generator), _pick(getattr(other, right), generator)

    return draw


def _pick(utts: Sequence[str], generator: np.random.Generator) -> str:
    return utts[int(generator.integers(len(utts)))]
