"""Bad input of the scoring commands: a clear error that names the first offenders, no output."""

import copy
import shutil

import numpy as np
import pytest
from scoring_world import World, message, run


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Scores, qualities, and a model of each kind trained on them."""
    made = World(tmp_path_factory.mktemp("bad"))
    emb, scores, quality = made / "emb", made / "good", made / "quality"
    trained = (made / "trials", scores)
    for command in (
        ["score", made / "trials", emb, emb, scores],
        ["qmf", "measure", emb, quality],
        ["qmf", "train", *trained, quality, made / "qmf", "--features", "magnitude:min"],
        ["calibrate", "train", *trained, made / "calibration"],
        ["calibrate", "threshold", *trained, made / "threshold"],
        ["fuse", "train", *trained, scores, made / "fusion"],
        ["plda", "train", made / "spk2utt", emb, made / "plda", "--center", "--length-norm"],
    ):
        result = run(*command)
        assert result.exit_code == 0, result.stderr
    return made


@pytest.fixture
def world(original, tmp_path):
    """A copy to spoil."""
    shutil.copytree(original.folder, tmp_path, dirs_exist_ok=True)
    made = copy.copy(original)
    made.folder = tmp_path
    return made


def _refused(world, result, *words):
    assert result.exit_code == 1, result.stderr
    assert result.stdout == ""
    assert not (world / "out").exists()
    (line,) = [line for line in message(result).splitlines() if "error:" in line]
    for word in words:
        assert word in line


# Commands that read the scores `S`, by the names of the files of the world.
LABELLED = {
    "eval": "eval trials S",
    "calibrate train": "calibrate train trials S out",
    "calibrate threshold": "calibrate threshold trials S out",
    "qmf train": "qmf train trials S quality out --features magnitude:min",
    "fuse train": "fuse train trials S good out",
    "fuse train, second": "fuse train trials good S out",
}
UNLABELLED = {
    "asnorm": "asnorm S emb emb cohort out --top-n 4",
    "qmf apply": "qmf apply qmf S quality out",
    "calibrate apply": "calibrate apply calibration S out",
    "fuse apply": "fuse apply fusion S good out",
    "fuse apply, second": "fuse apply fusion good S out",
    "decide": "decide threshold S out",
}
FILES = {"trials", "good", "S", "out", "quality", "qmf", "calibration", "threshold", "fusion",
         "emb", "cohort", "plda", "spk2utt", "test"}  # fmt: skip


def _run(world, line, **named):
    words = line.split()
    verbs = 2 if words[0] in ("calibrate", "qmf", "fuse", "plda") else 1
    rest = [world / named.get(word, word) if word in FILES else word for word in words[verbs:]]
    return run(*words[:verbs], *rest)


def _swap(line):
    enroll, test, score = line.split()
    return f"{test} {enroll} {score}"


def _with_score(text):
    return lambda lines: [*lines[:4], f"{lines[4].rsplit(' ', 1)[0]} {text}", *lines[5:]]


# What is done to the lines of a score file, and words of the error.
SPOILT = {
    "nan": (_with_score("nan"), ["spoilt:5`", "`nan` is not a number"]),
    "inf": (_with_score("inf"), ["spoilt`", "scores are not finite: `s00-0 s05-4`"]),
    "-inf": (_with_score("-inf"), ["spoilt`", "scores are not finite: `s00-0 s05-4`"]),
    "a word": (_with_score("high"), ["spoilt:5`", "`high` is not a number"]),
    "twice": (lambda lines: [*lines, lines[4]], ["spoilt`", "1 repeated pairs: `s00-0 s05-4`"]),
    "cut in a line": (lambda lines: [*lines[:4], lines[4].rsplit(" ", 1)[0]], ["spoilt:5`"]),
    "empty": (lambda _: [], ["spoilt`", "empty"]),
}
MISFIT = {
    "cut off": (lambda lines: lines[:-3], ["3 trials have no score: `s03-3 s08-3`"]),
    "other pairs": (lambda lines: [*lines, "x y 1"], ["1 scores have no trial: `x y`"]),
    "swapped sides": (
        lambda lines: list(map(_swap, lines)),
        ["scores have no trial: `s00-1 s00-0`"],
    ),
}


def _spoil(world, spoil):
    world.text("spoilt", spoil((world / "good").read_text().splitlines()))


@pytest.mark.parametrize("command", [*LABELLED, *UNLABELLED])
@pytest.mark.parametrize("kind", SPOILT)
def test_scores_that_are_none(world, command, kind):
    spoil, words = SPOILT[kind]
    _spoil(world, spoil)
    _refused(world, _run(world, (LABELLED | UNLABELLED)[command], S="spoilt"), *words)


@pytest.mark.parametrize("command", LABELLED)
@pytest.mark.parametrize("kind", MISFIT)
def test_scores_of_other_trials(world, command, kind):
    spoil, words = MISFIT[kind]
    _spoil(world, spoil)
    _refused(world, _run(world, LABELLED[command], S="spoilt"), "spoilt", *words)


@pytest.mark.parametrize("command", [*LABELLED, *UNLABELLED])
def test_a_number_that_is_cut_off_is_said(world, command):
    text = (world / "good").read_text()
    (world / "spoilt").write_text(text[:-3])
    result = _run(world, (LABELLED | UNLABELLED)[command], S="spoilt")
    assert result.exit_code == 0
    assert "the last line of `" in result.stderr
    assert "spoilt` has no end: was the file cut off?" in result.stderr


@pytest.mark.parametrize("cut", [5, 20, 33])
def test_a_file_cut_at_any_byte_gives_no_eer(world, cut):
    """All but the digits of the very last score, which are said to be cut off."""
    content = (world / "good").read_bytes()
    last_number = content.rstrip().rindex(b" ") + 1
    world.text("spoilt", [])
    for end in range(last_number - cut, last_number - cut + 5):
        (world / "spoilt").write_bytes(content[: min(end, last_number)])
        _refused(world, _run(world, LABELLED["eval"], S="spoilt"), "spoilt")


@pytest.mark.parametrize("command", [*LABELLED, *UNLABELLED])
def test_permuted_scores_give_what_sorted_ones_give(world, command):
    line = (LABELLED | UNLABELLED)[command]
    found = []
    world.text("good", (world / "good").read_text().splitlines())  # without its record, as later
    for _ in range(2):
        result = _run(world, line, S="good")
        assert result.exit_code == 0, result.stderr
        found.append((world / "out").read_text() if "out" in line.split() else result.stdout)
        (world / "out").unlink(missing_ok=True)
        lines = (world / "good").read_text().splitlines()
        world.text("good", [lines[at] for at in np.random.default_rng(0).permutation(len(lines))])
    one, two = (sorted(map(tuple, map(str.split, text.splitlines()))) for text in found)
    if not command.endswith(("train", "train, second")):
        assert one == two
        return
    for left, right in zip(one, two, strict=True):  # of sums in another order
        assert [_rounded(word) for word in left] == [_rounded(word) for word in right]


def _rounded(word):
    try:
        return f"{float(word.rstrip(',')):.5g}"
    except ValueError:
        return word


@pytest.mark.parametrize("command", LABELLED)
@pytest.mark.parametrize("kind", ["target", "nontarget"])
def test_lists_of_one_class(world, command, kind):
    pairs = zip(
        (world / "trials").read_text().splitlines(),
        (world / "good").read_text().splitlines(),
        strict=True,
    )
    chosen = [(trial, score) for trial, score in pairs if trial.endswith(f" {kind}")]
    world.text("few", [trial for trial, _ in chosen])
    for name in ("spoilt", "good"):
        world.text(name, [score for _, score in chosen])
    result = _run(world, LABELLED[command], S="spoilt", trials="few")
    _refused(world, result, "few`", f"all {len(chosen)} trials are {kind} trials")


@pytest.mark.parametrize("command", [*LABELLED, "score", "plda score"])
def test_repeated_trials(world, command):
    lines = (world / "trials").read_text().splitlines()
    world.text("twice", [*lines, lines[2]])
    others = {
        "score": "score trials emb emb out",
        "plda score": "plda score plda emb emb trials out",
    }
    result = _run(world, (LABELLED | others)[command], S="good", trials="twice")
    pair = " ".join(lines[2].split()[:2])
    _refused(world, result, "twice`", f"1 repeated pairs: `{pair}` (lines 3 and {len(lines) + 1})")


@pytest.mark.parametrize("command", LABELLED)
def test_trials_without_labels(world, command):
    lines = (world / "trials").read_text().splitlines()
    world.text("plain", [line.rsplit(" ", 1)[0] for line in lines])
    _refused(world, _run(world, LABELLED[command], S="good", trials="plain"), "plain", "label")


# Commands that read embeddings, of which `test` is spoilt.
EMBEDDED = {
    "score, enrolment": "score trials test emb out",
    "score, test": "score trials emb test out",
    "score, mean": "score trials emb emb out --submean test",
    "score --dense": "score emb test out --dense --top-k 2",
    "identify, enrolled": "identify test emb out",
    "identify, test": "identify emb test out",
    "asnorm, test": "asnorm good emb test cohort out --top-n 4",
    "asnorm, cohort": "asnorm good emb emb test out --top-n 4",
    "plda score": "plda score plda emb test trials out",
    "plda train": "plda train spk2utt test out --length-norm",
    "qmf measure": "qmf measure test out",
}


@pytest.mark.parametrize("command", EMBEDDED)
@pytest.mark.parametrize(
    ("kind", "value"), [("NaN", np.nan), ("infinit", np.inf), ("zero vector", 0.0)]
)
def test_embeddings_without_direction(world, command, kind, value):
    matrix = world.matrix.copy()
    matrix[[3, 7]] = value
    world.write("test", world.utts, matrix)
    _refused(world, _run(world, EMBEDDED[command]), "`s00-3`, `s01-2`", kind)


TWO_TABLES = [name for name in EMBEDDED if name not in ("plda train", "qmf measure")]


@pytest.mark.parametrize("command", TWO_TABLES)
def test_embeddings_of_two_models(world, command):
    world.write("test", world.utts, world.matrix, model="another")
    _refused(world, _run(world, EMBEDDED[command]), "model", " m", "another")


@pytest.mark.parametrize("command", TWO_TABLES)
def test_embeddings_of_two_sizes(world, command):
    world.write("test", world.utts, world.matrix[:, :4].copy())
    _refused(world, _run(world, EMBEDDED[command]), "values", " 4", " 6")


@pytest.mark.parametrize("command", EMBEDDED)
def test_a_table_of_vectors_of_two_sizes(world, command):
    rows = [f"{utt} [ {' '.join(['1'] * (6 - (utt == 's00-3')))} ]" for utt in world.utts]
    (world / "test").mkdir()
    (world / "test/xvector.scp").write_text(
        "".join(f"{utt} {world / utt}.vec\n" for utt in world.utts)
    )
    for utt, row in zip(world.utts, rows, strict=True):
        world.text(f"{utt}.vec", [row.split(" ", 1)[1]])
    _refused(world, _run(world, EMBEDDED[command]), "`s00-3` is 5")


def test_a_single_cohort_member(world):
    world.write("one", ["c0"], world.cohort[:1])
    line = UNLABELLED["asnorm"].replace("--top-n 4", "--method snorm")
    _refused(world, _run(world, line, S="good", cohort="one"), "the cohort has 1 member")


def test_more_cohort_members_than_there_are(world):
    line = UNLABELLED["asnorm"].replace("--top-n 4", "--top-n 9")
    _refused(world, _run(world, line, S="good"), "top-n is 9", "the 8 members of the cohort")
