"""Ids that keep the order of Kaldi, and trials drawn from them."""

from random import Random

import pytest

from sv_cli.corpora.ids import speaker_ids, utterance_ids
from sv_cli.corpora.trial_draw import (
    CROSS_GENDER,
    SAME_GENDER,
    TARGET,
    draw_conditions,
    draw_nontarget_pairs,
    draw_trials,
)
from sv_cli.errors import TableError


def in_order(speakers: list[str], utts: list[str]) -> bool:
    pairs = sorted(zip(utts, speakers, strict=True), key=lambda pair: pair[0].encode())
    owners = [spk.encode() for _, spk in pairs]
    return owners == sorted(owners)


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        ["a", "a-b"],
        ["a", "a+", "a b"],
        ["a", "a1", "a_b", "ab"],
        ["müller", "mül", "mül-x"],
        ["x", "x!", "x-y", "x-y z"],
    ],
)
def test_any_speaker_names_give_ids_in_kaldis_order(names: list[str]) -> None:
    ids = speaker_ids(names)
    assert len(set(ids.values())) == len(names)
    speakers = [ids[name] for name in names for _ in range(3)]
    utts = utterance_ids(speakers, [stem for _ in names for stem in ("0", "zz", "A b")])
    assert in_order(speakers, utts)
    assert all(utt.startswith(f"{spk}-") for utt, spk in zip(utts, speakers, strict=True))
    assert not any(" " in utt for utt in utts)


def test_speakers_that_would_become_one_are_an_error() -> None:
    with pytest.raises(TableError, match=r"`a b` and `a_b` would both be `a_b`"):
        speaker_ids(["a b", "a_b"])


def test_names_that_are_good_ids_are_kept() -> None:
    speakers = ["s1", "s1", "s2"]
    names = ["s1_001", "s1_002", "s2_001"]
    assert utterance_ids(speakers, names) == names
    assert utterance_ids(["s1", "s10"], ["s1_001", "s10_001"]) == ["s1-s1_001", "s10-s10_001"]
    assert utterance_ids(["s1", "s2"], ["s1-7", "8"]) == ["s1-7", "s2-8"]


def test_an_utterance_that_comes_twice_is_named() -> None:
    with pytest.raises(TableError, match="1 utterance ids come up twice: `s-x`"):
        utterance_ids(["s", "s"], ["x", "x"])


SPK2UTT = {f"s{n}": [f"s{n}-{u}" for u in range(5)] for n in range(6)}


def test_half_of_the_trials_are_targets_and_none_comes_twice() -> None:
    rows = draw_trials(SPK2UTT, 40, seed=1)
    assert rows == draw_trials(SPK2UTT, 40, seed=1)
    assert rows != draw_trials(SPK2UTT, 40, seed=2)
    assert sum(label == "target" for *_, label in rows) == 20
    assert len({frozenset(row[:2]) for row in rows}) == 40
    for enroll, test, label in rows:
        assert enroll != test
        assert (enroll[:2] == test[:2]) == (label == "target")


def test_targets_are_spread_over_the_speakers() -> None:
    rows = [row for row in draw_trials(SPK2UTT, 24, seed=0) if row[2] == "target"]
    assert {sum(row[0].startswith(spk) for row in rows) for spk in SPK2UTT} == {2}


def test_few_utterances_give_few_trials() -> None:
    rows = draw_trials({"a": ["a-1", "a-2"], "b": ["b-1"]}, 1000, seed=0)
    assert len(rows) == 3
    assert draw_trials({"a": ["a-1"]}, 10, seed=0) == []


def test_conditions_say_the_genders() -> None:
    gender = {spk: "fm"[n % 2] for n, spk in enumerate(SPK2UTT)}
    wanted = {TARGET: 10, SAME_GENDER: 20, CROSS_GENDER: 15}
    rows = draw_conditions(SPK2UTT, gender, wanted, seed=3)
    for condition, count in wanted.items():
        assert sum(row[2] == condition for row in rows) == count
    for enroll, test, condition in rows:
        same = gender[enroll[:2]] == gender[test[:2]]
        assert same == (condition != CROSS_GENDER)


def test_a_pair_of_speakers_is_drawn_out_before_the_draw_ends() -> None:
    pairs = draw_nontarget_pairs(
        {"a": ["a1", "a2"], "b": ["b1"]}, 50, Random(0), allowed=[("a", "b")]
    )
    assert {frozenset(pair) for pair in pairs} == {frozenset(("a1", "b1")), frozenset(("a2", "b1"))}
