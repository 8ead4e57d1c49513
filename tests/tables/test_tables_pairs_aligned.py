"""The short way for files in one order says what the long way says, or nothing."""

import numpy as np
import pytest

from sv_cli.errors import TableError
from sv_cli.scoring.labelled_scores import read_scored_trials, trial_speakers
from sv_cli.tables.pairs.aligned import read_aligned


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(6)
    # ids of many lengths, some of them the beginning of others
    ids = [f"id{'0' * (index % 23)}{index}" for index in range(60)]
    lines = [f"{one} {two}" for one in ids for two in ids if one < two]
    target = generator.random(len(lines)) < 0.2
    scores = [f"{value:.9g}" for value in generator.standard_normal(len(lines))]
    words = np.where(target, "target", "nontarget")
    for name, values in (("trials", words), ("scores", scores)):
        rows = zip(lines, values, strict=True)
        (tmp_path / name).write_text("".join(f"{key} {value}\n" for key, value in rows))
    return tmp_path


def _read(folder):
    return read_aligned(str(folder / "trials"), [str(folder / "scores")])


@pytest.mark.parametrize("block", [1 << 22, 100])
def test_the_short_way_is_the_long_way(files, monkeypatch, block):
    monkeypatch.setattr("sv_cli.tables.pairs.aligned._BLOCK_BYTES", block)
    target, scores = _read(files)
    lines = (files / "scores").read_text().splitlines(keepends=True)
    (files / "permuted").write_text("".join(reversed(lines)))
    assert read_aligned(str(files / "trials"), [str(files / "permuted")]) is None
    joined = read_scored_trials(str(files / "trials"), [str(files / "permuted")])
    np.testing.assert_array_equal(joined.target, target)
    np.testing.assert_array_equal(joined.scores, scores)
    short = read_scored_trials(str(files / "trials"), [str(files / "scores")])
    assert list(short.trials.pairs()) == list(joined.trials.pairs())
    assert trial_speakers(short.trials).num_speakers == trial_speakers(joined.trials).num_speakers


def _change(line, function):
    return lambda lines: [*lines[:line], function(lines[line]), *lines[line + 1 :]]


@pytest.mark.parametrize("name", ["trials", "scores"])
@pytest.mark.parametrize(
    "spoil",
    [
        _change(3, lambda line: line.replace(" ", "  ", 1)),
        _change(3, lambda line: line.replace(" ", "\t")),
        _change(3, lambda line: line.replace("\n", "\r\n")),
        _change(3, lambda line: line.replace("id", "xd", 1)),
        _change(3, lambda line: line.replace("\n", " x\n")),
        _change(3, lambda line: " ".join([*line.split()[:2], "1_0\n"])),
        _change(3, lambda line: " ".join([*line.split()[:2], "nan\n"])),
        _change(3, lambda line: " ".join([*line.split()[:2], "targets\n"])),
        _change(3, lambda line: "a" * 600 + line),
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[0]],
        lambda lines: ["\n", *lines],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [],
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(files, name, spoil):
    path = files / name
    path.write_text("".join(spoil(path.read_text().splitlines(keepends=True))))
    assert _read(files) is None


def test_a_pair_twice_in_both_files_is_found(files):
    for name in ("trials", "scores"):
        lines = (files / name).read_text().splitlines(keepends=True)
        (files / name).write_text("".join([*lines, lines[5]]))
    with pytest.raises(TableError, match="repeated pairs"):
        read_scored_trials(str(files / "trials"), [str(files / "scores")])


def test_a_last_line_without_its_end_is_left_to_the_reader_that_says_so(files):
    path = files / "scores"
    path.write_text(path.read_text().rstrip("\n"))
    assert _read(files) is None


def test_one_class_is_refused_the_short_way_too(files):
    path = files / "trials"
    path.write_text(path.read_text().replace("nontarget", "target"))
    with pytest.raises(TableError, match="are target trials"):
        read_scored_trials(str(path), [str(files / "scores")])
