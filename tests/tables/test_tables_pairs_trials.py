"""Trial and score lists: formats are recognised, and joined by key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.errors import SettingsError, TableError
from sv_cli.tables.pairs.scores import Scores, join, read_scores, write_scores
from sv_cli.tables.pairs.trials import read_trials, write_trials

PAIRS = st.lists(
    st.tuples(st.sampled_from("abcdé"), st.sampled_from("xyz1")), min_size=1, unique=True
)


@pytest.fixture
def table(tmp_path):
    def write(content, name="list"):
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a x target\na y nontarget\n", "enroll test target|nontarget"),
        ("1 a x\n0 a y\n", "1|0 enroll test"),
        ("a x 1\na y 0\n", "enroll test 1|0"),
        ("a\tx target\r\na  y nontarget \r\n", "enroll test target|nontarget"),
        ("1 x target\n1 y nontarget\n", "enroll test target|nontarget"),
    ],
)
def test_the_formats_are_recognised_and_said(table, capsys, content, said):
    trials = read_trials(table(content), labels="required")
    assert [test for _, test in trials.pairs()] == ["x", "y"]
    assert trials.target.tolist() == [True, False]
    assert f"format `{said}`" in capsys.readouterr().err


def test_row_45_two_columns_have_no_labels(table):
    assert read_trials(table("a x\nb y\n")).target is None
    with pytest.raises(TableError, match="no labels"):
        read_trials(table("a x\nb y\n"), labels="required")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("a x target\n\nb y target\n", ":2`: blank line"),
        ("a x target\nb y\n", ":2`: 2 fields"),
        ("a x target\nb y impostor\n", ":2`: label `impostor`"),
        ("1 a x\n2 a y\n", ":2`: label `2`"),
        ("a x spam\n", ":1`: no label"),
        ("1 a 0\n", "both look like labels"),
        ("", "is empty"),
        ("a x target\nb x target\na x nontarget\n", r"`a x` \(lines 1 and 3\)"),
    ],
)
def test_mistakes_have_their_line(table, content, where):
    with pytest.raises(TableError, match=where):
        read_trials(table(content))


@given(PAIRS, st.data())
def test_trials_written_are_read(tmp_path_factory, pairs, data):
    path = str(tmp_path_factory.mktemp("t") / "trials")
    labels = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    words = ["target" if label else "nontarget" for label in labels]
    text = "".join(f"{a} {b} {word}\n" for (a, b), word in zip(pairs, words, strict=True))
    write_trials(path, read_trials(f"printf '{text}' |"))
    back = read_trials(path)
    assert list(back.pairs()) == pairs
    assert back.target.tolist() == labels


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a x 0.5\na y -1e-3\n", ""),
        ("0.5 a x\n-1e-3 a y\n", "score enroll test"),
        ("a x 0.5 target\na y -1e-3 nontarget\n", "enroll test score label"),
        ("a x 0.5 target 1 2 3\na y -1e-3 nontarget 4 5 6\n", "enroll test score label"),
        ("1 x 0.5\n1 y -1e-3\n", ""),
        ("a x target 0.5\na y nontarget -1e-3\n", "enroll test label score"),
        ("a x 1 0.5\na y 0 -1e-3\n", "enroll test label score"),
    ],
)
def test_formats_of_scores(table, capsys, content, said):
    scores = read_scores(table(content))
    assert scores.score.tolist() == [0.5, -1e-3]
    assert scores.test_ids == ["x", "y"]
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("a x 0.5\na y nan\n", ":2`: score `nan`"),
        ("a x 0.5\na y 1_0\n", ":2`: score `1_0`"),
        ("a x 0.5\na y much\n", ":2`: score `much`"),
        ("a x much\n", ":1`: score `much`"),
        ("a x 0.5 q\n", "fourth"),
        ("a x 0.5\na y 1\na x 2\n", r"`a x` \(lines 1 and 3\)"),
    ],
)
def test_scores_that_cannot_be(table, content, where):
    with pytest.raises(TableError) as caught:
        read_scores(table(content))
    assert caught.match(where)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1001 2001 0.91\n1002 2002 -3\n", ["1001 2001", "1002 2002"]),
        ("0.91 1001 2001\n-3 1002 2002\n", ["1001 2001", "1002 2002"]),
        ("1 1001 2001\n0.91 1002 2002\n", ["1001 2001", "1002 2002"]),
        ("0.91 a 2001\n-3 b c\n", ["a 2001", "b c"]),
        ("1001 a 0.91\nb c -3\n", ["1001 a", "b c"]),
        ("a b 1\nc d 2\n", ["a b", "c d"]),
    ],
)
def test_numeric_ids_are_told_from_scores_by_all_rows(table, content, expected):
    scores = read_scores(table(content))
    pairs = zip(scores.enroll.tolist(), scores.test.tolist(), strict=True)
    assert [f"{scores.enroll_ids[a]} {scores.test_ids[b]}" for a, b in pairs] == expected


@pytest.mark.parametrize(
    "content",
    [
        "1001 2001 3\n1002 2002 4\n",
        "0.5 1001 2.5\n0.6 1002 2.6\n",
        "1001 a none\n1002 b 0.5\n",
        "none a 1001\n0.5 b 1002\n",
    ],
)
def test_an_ambiguous_order_is_refused_and_can_be_named(table, content):
    with pytest.raises(TableError, match=r":1`: .*score") as caught:
        read_scores(table(content))
    assert "--columns enroll,test,score" in (caught.value.hint or "") or "not a number" in str(
        caught.value
    )
    if "none" not in content:
        assert read_scores(table(content), columns="enroll,test,score").score[0] in (3, 2.5)
        assert read_scores(table(content), columns="score,enroll,test").score[0] in (1001, 0.5)


def test_a_score_among_numeric_ids_far_below_is_refused(table):
    rows = "".join(f"0.{row % 89 + 10}5 1001 {row}\n" for row in range(300_000))
    with pytest.raises(TableError, match=r":300001`: `0\.5` is in a column of ids"):
        read_scores(table(f"{rows}1001 2001 0.5\n"))


def test_two_label_columns_are_refused_and_can_be_named(table):
    path = table("a x 1 0\nb y 0 1\n")
    with pytest.raises(TableError, match="both contain labels"):
        read_scores(path)
    assert read_scores(path, columns="enroll,test,label,score").score.tolist() == [0, 1]
    with pytest.raises(SettingsError, match="`--columns a,b` is not an order"):
        read_scores(path, columns="a,b")


def test_scores_keep_nine_digits(tmp_path, table):
    trials = read_trials(table("a x\nb y\n"))
    write_scores(str(tmp_path / "s"), Scores.of_trials(trials, np.array([1 / 3, -1e-12])))
    assert (tmp_path / "s").read_text() == "a x 0.333333333\nb y -1e-12\n"


@given(PAIRS, st.randoms(use_true_random=False))
def test_a_join_is_by_key_whatever_the_order(tmp_path_factory, pairs, random):
    folder = tmp_path_factory.mktemp("t")
    values = {pair: number / 7 for number, pair in enumerate(pairs)}
    shuffled = random.sample(pairs, len(pairs))
    (folder / "trials").write_text("".join(f"{a} {b} target\n" for a, b in pairs))
    (folder / "scores").write_text("".join(f"{a} {b} {values[a, b]!r}\n" for a, b in shuffled))
    found = join(read_trials(str(folder / "trials")), read_scores(str(folder / "scores")))
    assert found.tolist() == [values[pair] for pair in pairs]


def test_missing_and_superfluous_keys_are_named_and_counted(table):
    trials = read_trials(table("".join(f"a x{i}\n" for i in range(8)), "trials"))
    few = read_scores(table("a x0 1\n", "few"))
    with pytest.raises(TableError, match=r"7 trials have no score: `a x1`.*`a x5` and 2 more"):
        join(trials, few)
    found = join(trials, few, allow_missing=True)
    assert found[0] == 1
    assert np.isnan(found[1:]).all()
    many = read_scores(table("".join(f"a x{i} 1\n" for i in range(8)) + "b x0 1\na z 1\n", "many"))
    for allow in (False, True):
        with pytest.raises(TableError, match="2 scores have no trial: `b x0`, `a z`"):
            join(trials, many, allow_missing=allow)
