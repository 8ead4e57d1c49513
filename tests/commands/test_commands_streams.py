"""Commands on long lists: chunks, pipes and orders change no byte; spoilt lists give no result."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scoring_world import World, message, run

NAMES = ("cosine", "asnormed", "llrs", "calibrated", "weighed", "fused", "decisions", "crossed")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world with scores of two systems, a PLDA and trained score models."""
    world = World(tmp_path_factory.mktemp("streams"))
    generator = np.random.default_rng(3)
    noisy = world.matrix + 0.3 * generator.standard_normal(world.matrix.shape).astype(np.float32)
    world.write("noisy", world.utts, noisy)
    world.text("stats", [f"{utt} {0.1 + row / 900} 0.2" for row, utt in enumerate(world.utts)])
    names = ("trials", "emb", "noisy", "stats", "spk2utt", "quality", "qmf.json", "c.json",
             "t.json", "f.json", "plda", "one", "two")  # fmt: skip
    trials, emb, noisy, stats, spk2utt, quality, qmf, cal, limit, fusion, plda, one, two = (
        world / name for name in names
    )
    commands = [
        ("score", trials, emb, emb, one),
        ("score", trials, noisy, noisy, two),
        ("plda", "train", spk2utt, emb, plda),
        ("qmf", "measure", emb, quality, "--stats", stats),
        ("qmf", "train", trials, one, quality, qmf, "--features", "wespeaker-cnceleb"),
        ("calibrate", "train", trials, one, cal),
        ("calibrate", "threshold", trials, one, limit),
        ("fuse", "train", trials, one, two, fusion),
    ]
    for words in commands:
        result = run(*words)
        assert result.exit_code == 0, result.stderr
    return world


def commands(world, trials, scores, out):
    """Command lines that write a table of a list, by name."""
    emb, cohort, other = world / "emb", world / "cohort", world / "two"
    quality, models = world / "quality", {name: world / f"{name}.json" for name in "ctf"}
    return {
        "cosine": ("score", trials, emb, emb, out),
        "asnormed": ("asnorm", scores, emb, emb, cohort, out, "--top-n", 4),
        "crossed": ("asnorm", scores, emb, emb, cohort, out, "--top-n", 4, "--selection", "other"),
        "llrs": ("plda", "score", world / "plda", emb, emb, trials, out),
        "calibrated": ("calibrate", "apply", models["c"], scores, out),
        "weighed": ("qmf", "apply", world / "qmf.json", scores, quality, out),
        "fused": ("fuse", "apply", models["f"], scores, other, out),
        "decisions": ("decide", models["t"], scores, out),
    }  # fmt: skip


def small_chunks(monkeypatch, rows=7):
    monkeypatch.setattr("sv_cli.tables.pairs.stream.CHUNK_ROWS", rows)
    monkeypatch.setattr("sv_cli.tables.text._BLOCK", 100)
    monkeypatch.setattr("sv_cli.tables.pairs.repeats.MOST_CODES", 5)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_and_pipes_change_nothing(world, tmp_path, monkeypatch, name):
    files = world / "trials", world / "one"
    assert run(*commands(world, *files, tmp_path / "whole")[name]).exit_code == 0
    whole = (tmp_path / "whole").read_bytes()
    small_chunks(monkeypatch)
    assert run(*commands(world, *files, tmp_path / "parts")[name]).exit_code == 0
    parts = (tmp_path / "parts").read_bytes()
    source = files[0] if name in ("cosine", "llrs") else files[1]
    piped = run(*commands(world, "-", "-", "-")[name], stdin=source.read_bytes())
    assert piped.stdout_bytes == parts
    if name in ("asnormed", "crossed"):  # the last digit depends on how a product is cut
        one, other = (
            np.array([float(line.split()[2]) for line in text.splitlines()])
            for text in (whole, parts)
        )
        np.testing.assert_allclose(other, one, atol=2e-5)
    else:
        assert parts == whole


def spoil(lines, kind):
    return {
        "permuted": lines[::-1],
        "truncated": lines[:-3],
        "duplicated": [*lines, lines[4]],
        "superfluous": [*lines, "s00-0 s00-0 0.5"],
        "cut": [*lines[:-1], lines[-1].rsplit(" ", 1)[0]],
        "infinite": [*lines[:-1], f"{lines[-1].rsplit(' ', 1)[0]} inf"],
    }[kind]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["duplicated", "cut"])
def test_a_bad_end_of_a_long_list_leaves_no_output(world, tmp_path, monkeypatch, name, kind):
    wants_trials = name in ("cosine", "llrs")
    lines = (world / ("trials" if wants_trials else "one")).read_text().splitlines()
    path = tmp_path / "spoilt"
    path.write_text("".join(f"{line}\n" for line in spoil(lines, kind)))
    small_chunks(monkeypatch)
    result = run(*commands(world, path, path, tmp_path / "out")[name])
    assert result.exit_code == 1
    expected = {
        "duplicated": f"`{' '.join(lines[4].split()[:2])}` (lines 5 and {len(lines) + 1})",
        "cut": f"spoilt:{len(lines)}`: 2 fields",
    }[kind]
    assert expected in message(result)
    assert [each.name for each in tmp_path.iterdir()] == ["spoilt"]


@pytest.mark.parametrize(("source", "rows"), [("file", 7), ("pipe", 7), ("pipe", 1 << 20)])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("truncated", "3 trials have no score"),
        ("duplicated", "1 repeated pairs"),
        ("superfluous", "1 scores have no trial: `s00-0 s00-0`"),
        ("cut", "2 fields in scores"),
        ("infinite", "scores are not finite"),
    ],
)
def test_spoilt_scores_never_give_an_eer(
    world, tmp_path, monkeypatch, source, rows, kind, expected
):
    lines = (world / "one").read_text().splitlines()
    content = "".join(f"{line}\n" for line in spoil(lines, kind))
    (tmp_path / "spoilt").write_text(content)
    small_chunks(monkeypatch, rows)
    name, stdin = (tmp_path / "spoilt", None) if source == "file" else ("-", content)
    for words in (("eval", world / "trials", name), ("eval", world / "trials", name, "--json")):
        result = run(*words, stdin=stdin)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert expected in message(result)
    model = tmp_path / "model.json"
    for command in ("calibrate", "fuse"):
        assert run(command, "train", world / "trials", name, model, stdin=stdin).exit_code == 1
        assert not model.exists()


@pytest.mark.parametrize("rows", [7, 1 << 20])
def test_permuted_scores_give_the_same_figures(world, monkeypatch, rows):
    lines = (world / "one").read_text().splitlines()
    permuted = "".join(f"{line}\n" for line in spoil(lines, "permuted"))
    words = ("eval", world / "trials")
    expected = json.loads(run(*words, world / "one", "--json").stdout)
    small_chunks(monkeypatch, rows)
    result = run(*words, "-", "--json", stdin=permuted)
    assert "joined in memory" in result.stderr
    found = json.loads(result.stdout)
    for record in (found, expected):
        record["systems"][0]["name"] = ""
    assert found == expected


def test_statistics_of_late_keys_are_worked_out_when_they_are_met(world, tmp_path, monkeypatch):
    """A table of statistics that has the first keys only; then embeddings and cohort are read."""
    files = [world / "one", world / "emb", world / "emb", world / "cohort"]
    words = ["asnorm", *files, tmp_path / "all", "--top-n", 4, "--stats", tmp_path / "stats"]
    assert run(*words).exit_code == 0
    first = set(" ".join((world / "one").read_text().splitlines()[:20]).split())
    lines = (tmp_path / "stats").read_text().splitlines(keepends=True)
    (tmp_path / "some").write_text("".join(line for line in lines if line.split()[0] in first))
    small_chunks(monkeypatch)
    words = ["asnorm", *files, tmp_path / "mixed", "--top-n", 4, "--use-stats", tmp_path / "some"]
    assert run(*words, "--stats", tmp_path / "again").exit_code == 0
    columns = [
        np.array([float(line.split()[-1]) for line in (tmp_path / name).read_text().splitlines()])
        for name in ("all", "mixed", "stats", "again")
    ]
    np.testing.assert_allclose(columns[1], columns[0], atol=2e-5)
    np.testing.assert_allclose(columns[3], columns[2], atol=1e-6)


WITHOUT_TORCH = """
import sys
from sv_cli.cli import app
for words in {commands!r}:
    try:
        app(words)
    except SystemExit as end:
        assert not end.code, (words, end.code)
    assert "torch" not in sys.modules, words
"""


def test_scoring_works_without_torch(world, tmp_path):
    lines = commands(world, world / "trials", world / "one", tmp_path / "out")
    lines["eval"] = ("eval", world / "trials", world / "one")
    lines["dense"] = ("score", "--dense", world / "emb", world / "emb", tmp_path / "out")
    words = [[str(word) for word in line] for line in lines.values()]
    forced = [line if line[0] == "eval" else [*line, "--force"] for line in words]
    code = WITHOUT_TORCH.format(commands=forced)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
