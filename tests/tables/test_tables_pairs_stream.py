"""Lists read in chunks are the lists read whole; what repeats is found; joins are by key."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_cli.errors import TableError
from sv_cli.tables import text
from sv_cli.tables.pairs import join as pair_join
from sv_cli.tables.pairs import repeats
from sv_cli.tables.pairs import stream as pair_stream
from sv_cli.tables.pairs.join import iterate_joined
from sv_cli.tables.pairs.repeats import Repeats
from sv_cli.tables.pairs.scores import iterate_scores, write_chunks, write_parts
from sv_cli.tables.pairs.stream import ById, concatenate
from sv_cli.tables.pairs.trials import iterate_trials

NAMES = st.sampled_from(["a", "b", "é", "long-name-of-an-utterance", "0"])
PAIRS = st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=20, unique=True)
CHUNKS = st.integers(1, 25)
with_files = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lists")


def write(folder, name, lines):
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def named(stream, chunk):
    return [stream.name(*pair) for pair in zip(chunk.enroll, chunk.test, strict=True)]


def small(chunk_rows, block_bytes=1 << 22):
    """Chunks and blocks of other sizes."""
    return (
        mock.patch.object(pair_stream, "CHUNK_ROWS", chunk_rows),
        mock.patch.object(text, "_BLOCK", block_bytes),
    )


@with_files
@given(PAIRS, CHUNKS, st.integers(1, 60))
def test_chunks_of_any_size_are_the_whole_list(folder, pairs, chunk_rows, block_bytes):
    path = write(folder, "scores", [f"{a} {b} {row / 7!r}" for row, (a, b) in enumerate(pairs)])
    whole = iterate_scores(path)
    expected = concatenate(list(whole))
    one, other = small(chunk_rows, block_bytes)
    with one, other:
        stream = iterate_scores(path)
        chunks = list(stream)
    assert [len(chunk) for chunk in chunks[:-1]] == [chunk_rows] * (len(chunks) - 1)
    found = concatenate(chunks)
    assert found.has_pairs_of(expected)
    assert found.scores.tolist() == expected.scores.tolist()
    assert named(stream, found) == [f"{a} {b}" for a, b in pairs]
    assert len(stream.take(1)) == 0


@with_files
@given(PAIRS, CHUNKS, st.data())
def test_a_pair_twice_is_found_across_any_boundary(folder, pairs, chunk_rows, data):
    first = data.draw(st.integers(0, len(pairs) - 1))
    place = data.draw(st.integers(first + 1, len(pairs)))
    lines = [f"{a} {b} target" for a, b in pairs]
    path = write(folder, "trials", [*lines[:place], lines[first], *lines[place:]])
    one, other = small(chunk_rows, block_bytes=16)
    with one, other, pytest.raises(TableError) as caught:
        list(iterate_trials(path))
    name = " ".join(pairs[first])
    assert f"1 repeated pairs: `{name}` (lines {first + 1} and {place + 1})" in caught.value.message


@with_files
@given(st.lists(st.integers(-5, 40), max_size=60), st.integers(1, 8), st.integers(1, 9))
def test_repeats_in_a_file_are_those_in_memory(numbers, most_codes, part):
    codes = np.array(numbers, dtype=np.int64) * 0x1_0000_0001
    later = [row for row, code in enumerate(numbers) if code in numbers[:row]]
    last = [max(place for place in range(row) if numbers[place] == numbers[row]) for row in later]
    with (
        mock.patch.object(repeats, "MOST_CODES", most_codes),
        mock.patch.object(repeats, "_BLOCK_CODES", 3),
    ):
        seen = Repeats()
        for start in range(0, len(codes), part):
            seen.add(codes[start : start + part])
        found = seen.find()
    assert found.count == len(later)
    expected = [(*rows, codes[rows[0]]) for rows in zip(later, last, strict=True)]
    assert found.places == expected[:5]


def test_a_full_disk_is_told(monkeypatch):
    monkeypatch.setattr(repeats, "MOST_CODES", 4)
    monkeypatch.setattr("tempfile.TemporaryFile", mock.Mock(side_effect=OSError(28, "No space")))
    with pytest.raises(TableError, match="temporary file: No space") as caught:
        Repeats().add(np.arange(5))
    assert "TMPDIR" in caught.value.hint


def joined(folder, sources, **options):
    first = iterate_trials(f"{folder}/trials")
    others = [iterate_scores(f"{folder}/{name}", ids=first.ids) for name in sources]
    parts = list(iterate_joined(first, others, **options))
    chunk = concatenate([part for part, _ in parts])
    return named(first, chunk), np.concatenate([np.stack(scores) for _, scores in parts], axis=1)


@with_files
@given(PAIRS, CHUNKS, st.integers(0, 20), st.randoms(use_true_random=False))
def test_joins_are_by_key_from_the_first_difference_on(folder, pairs, chunk_rows, same, random):
    """The first `same` lines agree in order, the others are shuffled."""
    values = {pair: row / 7 for row, pair in enumerate(pairs)}
    shuffled = pairs[:same] + random.sample(pairs[same:], len(pairs[same:]))
    write(folder, "trials", [f"{a} {b} target" for a, b in pairs])
    for name, order in (("ordered", pairs), ("shuffled", shuffled)):
        write(folder, name, [f"{a} {b} {values[a, b]!r}" for a, b in order])
    one, other = small(chunk_rows, block_bytes=16)
    with one, other:
        keys, scores = joined(folder, ["ordered", "shuffled"])
    assert keys == [f"{a} {b}" for a, b in pairs]
    assert scores.tolist() == [list(values.values())] * 2


@with_files
@given(PAIRS, CHUNKS, st.sampled_from(["truncated", "duplicated", "superfluous"]))
def test_spoilt_scores_are_refused_at_any_chunk_size(folder, pairs, chunk_rows, kind):
    lines = [f"{a} {b} 0.5" for a, b in pairs]
    spoilt, message = {
        "truncated": (lines[:-1], "1 trials have no score"),
        "duplicated": ([*lines, lines[0]], "1 repeated pairs"),
        "superfluous": ([*lines, "x y 0.5"], "1 scores have no trial: `x y`"),
    }[kind]
    write(folder, "trials", [f"{a} {b} target" for a, b in pairs])
    write(folder, "spoilt", spoilt)
    one, other = small(chunk_rows, block_bytes=16)
    with one, other, pytest.raises(TableError) as caught:
        joined(folder, ["spoilt"])
    if kind == "truncated" and len(pairs) == 1:
        message = "is empty"
    assert message in caught.value.message
    assert "spoilt`" in caught.value.message


def test_missing_scores_are_nan_when_allowed(folder):
    write(folder, "trials", [f"a {row} target" for row in range(9)])
    write(folder, "few", ["a 0 1", "a 1 2", "a 5 3"])
    one, other = small(2)
    with one, other:
        _, scores = joined(folder, ["few"], allow_missing=True)
    nan = np.nan
    np.testing.assert_array_equal(scores, [[1, 2, nan, nan, nan, 3, nan, nan, nan]])


def test_too_many_rows_in_another_order_are_refused(folder, monkeypatch):
    write(folder, "trials", [f"a {row} target" for row in range(9)])
    write(folder, "reversed", [f"a {row} 0.5" for row in reversed(range(9))])
    monkeypatch.setattr(pair_stream, "CHUNK_ROWS", 2)
    monkeypatch.setattr(pair_join, "MOST_ROWS_IN_MEMORY", 5)
    with pytest.raises(TableError, match=r"another order .* more than 5 lines") as caught:
        joined(folder, ["reversed"])
    assert "sort" in caught.value.hint


def test_infinite_scores_are_named(folder):
    path = write(folder, "scores", ["a x 1", "a y -inf"])
    with pytest.raises(TableError, match="1 of 2 scores are not finite: `a y`"):
        list(iterate_scores(path))
    assert concatenate(list(iterate_scores(path, finite=False))).scores.tolist() == [1, -np.inf]


def test_nothing_is_opened_before_there_is_something_to_write(folder):
    def refused():
        raise TableError("no")
        yield b""

    with pytest.raises(TableError):
        write_parts(f"{folder}/never/made", refused())
    assert not (folder / "never").exists()


def test_what_is_written_is_what_was_read(folder):
    path = write(folder, "scores", [f"a {row} {row / 8}" for row in range(20)])
    one, other = small(3)
    with one, other:
        stream = iterate_scores(path)
        assert write_chunks(f"{folder}/copy", stream.ids, stream) == 20
    expected = [f"a {row} {row / 8:.9g}" for row in range(20)]
    assert (folder / "copy").read_text().splitlines() == expected


def test_each_id_is_looked_up_once(folder):
    path = write(folder, "trials", ["a x", "b x", "a y"])
    asked = []

    def find(ids):
        asked.extend(ids)
        return np.array([len(name) for name in ids], np.int32)

    one, other = small(1, block_bytes=1)
    with one, other:
        stream = iterate_trials(path)
        lengths = ById(stream.ids.enroll, find)
        for chunk in stream:
            assert lengths.grow()[chunk.enroll].tolist() == [1]
    assert asked == ["a", "b"]
