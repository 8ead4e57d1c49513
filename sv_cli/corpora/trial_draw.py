"""Draw trials from a list of utterances: every pair at most once, none with itself, seeded."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from random import Random

from sv_cli.atomic import atomic_open

TARGET, SAME_GENDER, CROSS_GENDER = "target", "nontarget-same-gender", "nontarget-cross-gender"

Pair = tuple[str, str]


def draw_target_pairs(spk2utt: Mapping[str, Sequence[str]], num: int, random: Random) -> list[Pair]:
    """Return up to `num` pairs within speakers, spread evenly over them, in random direction."""
    queues = []
    for utts in spk2utt.values():
        pairs = list(combinations(utts, 2)) if len(utts) < 200 else _some_pairs(utts, num, random)
        random.shuffle(pairs)
        queues.append(pairs)
    random.shuffle(queues)
    return [_turned(pair, random) for pair in _round_robin(queues, num)]


def draw_nontarget_pairs(
    spk2utt: Mapping[str, Sequence[str]], num: int, random: Random, *, allowed: Sequence[Pair]
) -> list[Pair]:
    """Return up to `num` pairs of utterances of the `allowed` pairs of speakers, evenly."""
    speakers = list(allowed)
    random.shuffle(speakers)
    if sum(len(spk2utt[a]) * len(spk2utt[b]) for a, b in speakers) < 5 * num:
        pairs = _all_pairs(spk2utt, speakers, num, random)
    else:
        pairs = _drawn_pairs(spk2utt, speakers, num, random)
    return [_turned(pair, random) for pair in pairs]


def draw_trials(
    spk2utt: Mapping[str, Sequence[str]], num: int, *, seed: int
) -> list[tuple[str, str, str]]:
    """Return `num` trials, half of them target where there are enough pairs.

    Returns
    -------
    trials : list of (enroll, test, "target" or "nontarget")
        Sorted; fewer than `num` when the utterances do not give more.
    """
    random = Random(seed)
    targets = draw_target_pairs(spk2utt, num // 2, random)
    speakers = _speaker_pairs(list(spk2utt), num, random)
    nontargets = draw_nontarget_pairs(spk2utt, num - len(targets), random, allowed=speakers)
    rows = [(*pair, TARGET) for pair in targets]
    return sorted(rows + [(*pair, "nontarget") for pair in nontargets])


def draw_conditions(
    spk2utt: Mapping[str, Sequence[str]],
    gender: Mapping[str, str],
    num: Mapping[str, int],
    *,
    seed: int,
) -> list[tuple[str, str, str]]:
    """Return trials with their condition: target, or nontarget of the same or the other gender.

    Parameters
    ----------
    spk2utt : mapping of str to sequence of str
        Utterances of each speaker.
    gender : mapping of str to str
        Gender of each speaker.
    num : mapping of str to int
        Most trials of each condition (`TARGET`, `SAME_GENDER`, `CROSS_GENDER`).
    seed : int
        Seed of the draw.

    Returns
    -------
    trials : list of (enroll, test, condition)
        Sorted.
    """
    random = Random(seed)
    rows = [(*pair, TARGET) for pair in draw_target_pairs(spk2utt, num[TARGET], random)]
    every = list(combinations(sorted(spk2utt), 2))
    for condition, same in ((SAME_GENDER, True), (CROSS_GENDER, False)):
        allowed = [(a, b) for a, b in every if (gender[a] == gender[b]) == same]
        pairs = draw_nontarget_pairs(spk2utt, num[condition], random, allowed=allowed)
        rows += [(*pair, condition) for pair in pairs]
    return sorted(rows)


def _all_pairs(
    spk2utt: Mapping[str, Sequence[str]], speakers: Sequence[Pair], num: int, random: Random
) -> list[Pair]:
    queues = [list(product(spk2utt[a], spk2utt[b])) for a, b in speakers]
    for queue in queues:
        random.shuffle(queue)
    return _round_robin(queues, num)


def _drawn_pairs(
    spk2utt: Mapping[str, Sequence[str]], speakers: Sequence[Pair], num: int, random: Random
) -> list[Pair]:
    pairs: dict[Pair, None] = {}
    tries = 0
    while len(pairs) < num:
        first, second = speakers[tries % len(speakers)]
        pairs[random.choice(spk2utt[first]), random.choice(spk2utt[second])] = None
        tries += 1
    return list(pairs)


def write_trial_rows(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write `enroll test label` lines in the order given."""
    with atomic_open(path) as stream:
        stream.writelines(f"{enroll} {test} {label}\n" for enroll, test, label in rows)


def _speaker_pairs(speakers: list[str], num: int, random: Random) -> list[Pair]:
    """All pairs of speakers, or as many as trials are wanted when there are far more."""
    if len(speakers) < 2:
        return []
    if len(speakers) < 1000:
        return list(combinations(speakers, 2))
    drawn = {tuple(sorted(random.sample(speakers, 2))) for _ in range(num)}
    return sorted((a, b) for a, b in drawn)


def _some_pairs(utts: Sequence[str], num: int, random: Random) -> list[Pair]:
    drawn = {tuple(sorted(random.sample(utts, 2))) for _ in range(num)}
    return sorted((a, b) for a, b in drawn)


def _round_robin(queues: list[list[Pair]], num: int) -> list[Pair]:
    taken: list[Pair] = []
    while len(taken) < num and any(queues):
        for queue in queues:
            if queue and len(taken) < num:
                taken.append(queue.pop())
    return taken


def _turned(pair: Pair, random: Random) -> Pair:
    return pair if random.random() < 0.5 else (pair[1], pair[0])
