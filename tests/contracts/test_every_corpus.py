"""Every corpus says what it is, refuses what it is not, and comes out the same each time."""

from pathlib import Path

import pytest
from fake_corpora import FAKES, build_corpora
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.corpora.registry import CORPORA
from sv_cli.tables.datadir.directory import validate

PAGE = Path(__file__).parents[2] / "docs" / "corpora.md"
OWN = ("folder", "csv", "demo")  # not published anywhere
# Corpus -> its fake tree, and what it needs besides.
TREES = {
    "voxceleb1": ("voxceleb",),
    "voxceleb2": ("voxceleb",),
    "voxsrc": ("voxsrc2023",),
    "cnceleb": ("cnceleb", "--combine-short", "0.25"),
    "3dspeaker": ("3dspeaker",),
    "librispeech": ("LibriSpeech", "--trials", "4"),
    "aishell": ("aishell", "--trials", "4"),
    "commonvoice": ("commonvoice/ka",),
    "musan": ("musan",),
    "rirs": ("RIRS_NOISES",),
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_corpora(tmp_path_factory.mktemp("corpora"))


def svtool(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_every_published_corpus_has_a_tree() -> None:
    assert set(TREES) == set(CORPORA) - set(OWN)
    assert {tree for tree, *_ in TREES.values()} <= set(FAKES)


@pytest.mark.parametrize("name", CORPORA)
def test_it_says_what_it_is(name: str) -> None:
    corpus = CORPORA[name]
    assert corpus.name == name
    assert len(corpus.summary) > 20
    assert not corpus.summary.endswith(".")
    assert corpus.licence
    assert corpus.origin.startswith("https://") or name in OWN
    assert len(corpus.examples) >= 2
    assert all(f"svtool prepare {name} " in line for line in corpus.examples)
    assert any("|" in line for line in corpus.examples)


@pytest.mark.parametrize("name", CORPORA)
def test_its_help_has_description_licence_address_and_examples(name: str) -> None:
    result = svtool("prepare", name, "--help")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for text in (CORPORA[name].summary, f"Licence: {CORPORA[name].licence}", "Examples:"):
        assert " ".join(text.split()) in words


@pytest.mark.parametrize("name", CORPORA)
def test_the_page_of_corpora_has_its_row(name: str) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    assert rows
    assert CORPORA[name].origin in rows[0]


@pytest.mark.parametrize("name", TREES)
def test_an_empty_directory_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = svtool("prepare", name, tmp_path / "empty", tmp_path / "out")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "Traceback" not in result.output
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("name", TREES)
def test_a_folder_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    result = svtool("prepare", name, tmp_path / "nothing", tmp_path / "out")
    assert result.exit_code == 1
    assert len([line for line in result.stderr.splitlines() if "error:" in line]) == 1


@pytest.mark.parametrize("name", TREES)
def test_it_comes_out_valid_and_the_same_again(name: str, trees: Path, tmp_path: Path) -> None:
    tree, *options = TREES[name]
    source, out = trees / tree, tmp_path / "out"
    result = svtool("prepare", name, source, out, *options)
    assert result.exit_code == 0, result.stderr
    done = sorted(path.parent for path in out.rglob(".done"))
    assert done
    for directory in done:
        assert not validate(directory, check_files=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert svtool("prepare", name, source, out, *options).exit_code == 1
    again = svtool("prepare", name, source, out, *options, "--force", "--num-procs", "1")
    assert again.exit_code == 0, again.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", TREES)
def test_a_broken_recording_ends_with_status_3(name: str, tmp_path: Path) -> None:
    tree, *options = TREES[name]
    FAKES[tree](tmp_path / tree)
    audio = sorted(p for p in (tmp_path / tree).rglob("*") if p.suffix in (".wav", ".flac"))
    broken = next(
        path for path in audio
        if "Device09" not in path.name and ("vox2" in path.parts or name != "voxceleb2")
    )  # fmt: skip
    broken.write_bytes(b"no sound")
    extra = ["--allow-missing"] if "allow_missing" in CORPORA[name].settings.model_fields else []
    command = ("prepare", name, tmp_path / tree, tmp_path / "out", *options, *extra)
    result = svtool(*command)
    assert result.exit_code == 3, result.stderr
    assert broken.name in result.stderr
    assert svtool(*command, "--force", "--max-skipped", "50").exit_code == 0


@pytest.mark.parametrize(
    "name", [n for n, c in CORPORA.items() if "check_archives" in c.settings.model_fields]
)
def test_a_damaged_archive_stops_everything(name: str, trees: Path, tmp_path: Path) -> None:
    from importlib import import_module

    module = import_module(CORPORA[name].prepare.__module__)
    archive = next(iter(module.ARCHIVES))
    assert all(len(digest) == 32 for digest in module.ARCHIVES.values())
    (tmp_path / archive).write_bytes(b"cut off")
    tree, *options = TREES[name]
    result = svtool(
        "prepare", name, trees / tree, tmp_path / "out", *options, "--check-archives", tmp_path
    )
    assert result.exit_code == 1
    assert f"by the MD5 sum: `{archive}`" in result.stderr
    assert not (tmp_path / "out").exists()
