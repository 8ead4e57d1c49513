"""What a data directory or checkpoint from elsewhere can make svtool do: read, and nothing else."""

import ast
import shutil
from pathlib import Path

import pytest
from survival_jobs import make_inputs
from typer.testing import CliRunner

from sv_cli.atomic import appending, write_all
from sv_cli.cli import app
from sv_cli.errors import SvError

ROOT = Path(__file__).resolve().parents[2] / "sv_cli"
# The shell is reached through the specifiers alone; the others start this program itself.
STARTS_PROCESSES = {"tables/kaldi/specifier.py", "commands/demo.py"}
FILES = sorted(ROOT.rglob("*.py"))
PIPED = [
    "make-fbank scp:{data/wav.scp} out/feats",
    "make-fbank pipes.scp out/feats",
    "make-vad pipes.scp out/vad",
    "make-vad {feats.ark} out/vad --from-feats",
    "extract model.pt scp:{data/wav.scp} out/emb",
    "extract model.pt pipes.scp out/emb",
    "extract model.pt {feats.ark} out/emb --feats",
    "mean {enrolled.spk2utt} enrolled out/spk.ark",
    "mean enrolled.spk2utt {enrolled.ark} out/spk.ark",
    "score {trials} enrolled enrolled out/scores",
    "score trials {enrolled.ark} enrolled out/scores",
    "score trials enrolled enrolled out/scores --submean {enrolled.ark}",
    "asnorm {scores} enrolled enrolled enrolled out/normed --top-n 3",
    "asnorm scores enrolled enrolled {enrolled.ark} out/normed --top-n 3",
    "eval {trials} scores",
    "eval trials {scores}",
    "calibrate train trials {scores} out/calibration.json",
    "plda train enrolled.spk2utt {enrolled.ark} out/plda",
    "score-job job.toml --set recordings=pipes.scp",
    "score-job job.toml --set enroll={enrolled.ark}",
    "train --data piped --exp-dir out/exp --model ecapa_glob_c512 --set num_epochs=1"
    " --set batch_size=4 --set data.chunk_seconds=0.25 --set data.num_workers=0",
]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of all of these commands; every recording of `pipes.scp` and `piped` is a pipe."""
    folder = make_inputs(tmp_path_factory.mktemp("security") / "inputs")
    lines = (folder / "data" / "wav.scp").read_text().splitlines()
    piped = [line.replace(" ", " touch ran; cat ", 1) + " |\n" for line in lines]
    (folder / "pipes.scp").write_text("".join(piped[:4]))
    shutil.copytree(folder / "data", folder / "piped")
    (folder / "piped" / "wav.scp").write_text("".join(piped))
    keys = [line.split()[0] for line in lines[:6]]
    (folder / "enrolled.spk2utt").write_text(f"a {' '.join(keys[:3])}\nb {' '.join(keys[3:])}\n")
    shutil.copy(folder / "enrolled" / "xvector.ark", folder / "enrolled.ark")
    pairs = [(one, two) for one in keys for two in keys if one < two]
    labels = ["target" if number % 2 else "nontarget" for number in range(len(pairs))]
    trials = zip(pairs, labels, strict=True)
    (folder / "trials").write_text("".join(f"{a} {b} {label}\n" for (a, b), label in trials))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("score", "trials", "enrolled", "enrolled", "scores")
        run("make-fbank", "first.scp", "feats.ark", "--window-type", "hamming")
    return folder


def run(*words: str):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("line", PIPED)
def test_no_pipes_refuses_them_in_every_table(
    line: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the pipe runs without the option, so that it is looked at, and not with it."""
    folder = tmp_path / "case"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    words = [
        word.replace("{", "touch ran; cat ").replace("}", " |") if "{" in word else word
        for word in line.split()
    ]
    run(*words)
    assert Path("ran").exists(), "the table was never read"
    Path("ran").unlink()
    shutil.rmtree("out", ignore_errors=True)
    monkeypatch.setenv("SVTOOL_NO_PIPES", "")  # what the option sets is taken back afterwards
    refused = run(*words, "--no-pipes")
    assert refused.exit_code in (1, 3), refused.stderr
    assert not Path("ran").exists()
    assert "pipes are refused" in refused.stderr


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "yes", "on"])
def test_the_variable_refuses_pipes_in_any_spelling(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sv_cli.tables.kaldi.specifier import pipes_allowed

    monkeypatch.setenv("SVTOOL_NO_PIPES", value)
    assert not pipes_allowed()
    for off in ("", "0", "false", "no"):
        monkeypatch.setenv("SVTOOL_NO_PIPES", off)
        assert pipes_allowed()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_is_executed_from_files(path: Path) -> None:
    """No eval, exec or pickle; torch.load without code; no shell but that of the specifiers."""
    name = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names}
            assert "subprocess" not in modules or name in STARTS_PROCESSES
            assert not modules & {"marshal", "shelve", "dill", "joblib"}
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert called not in (
            "eval",
            "exec",
            "os.system",
            "os.popen",
            "pickle.load",
            "pickle.loads",
        )
        if called == "torch.load":
            assert given.get("weights_only") == "True"
        if called in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False"
        if called.endswith(".extractall"):
            assert given.get("filter") == "'data'"
        assert "shell" not in given or name == "tables/kaldi/specifier.py"


def test_names_in_a_watched_folder_stay_inside_the_output(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys like `../../x` are text in tables; no file is named after them."""
    folder = tmp_path / "case"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    recordings = sorted(Path("incoming").iterdir())
    keys = ["../../escaped", "/tmp/../escaped", "a/b/../../../c"]
    rows = [f"{key} {path}\n" for key, path in zip(keys, recordings, strict=False)]
    Path("names.scp").write_text("".join(rows))
    before = {str(path) for path in tmp_path.rglob("*")}
    assert run("score-job", "job.toml", "--set", "recordings=names.scp").exit_code == 0
    assert run("extract", "model.pt", "scp:names.scp", "out/emb").exit_code == 0
    assert run("make-fbank", "scp:names.scp", "out/feats", "--num-procs", "1").exit_code == 0
    new = {str(path) for path in tmp_path.rglob("*")} - before
    assert all(path.startswith(str(folder / "out")) for path in new), new


def test_links_in_a_data_directory_do_not_redirect_outputs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, home = tmp_path / "case", tmp_path / "home"
    shutil.copytree(made, folder)
    (home / "tables").mkdir(parents=True)
    (home / "thesis").write_text("years of work")
    monkeypatch.chdir(folder)
    data = Path("data")
    (data / "feats.scp").symlink_to(home / "profile")
    (data / "feats.ark").symlink_to(home / "thesis")
    assert run("make-fbank", "data", "ark,scp:data/feats.ark,data/feats.scp").exit_code == 1
    assert (
        run("make-fbank", "data", "ark,scp:data/feats.ark,data/feats.scp", "--force").exit_code == 0
    )
    for name in (".vad.ark.lock", ".more.ark.parts"):
        (data / name).symlink_to(home / ("thesis" if name.endswith("lock") else "tables"))
    assert run("make-vad", "data", "data/vad.ark").exit_code == 1
    refused = run("make-fbank", "data", "data/more.ark")
    assert refused.exit_code == 1
    assert "is a symbolic link" in refused.stderr
    assert sorted(path.name for path in home.rglob("*")) == ["tables", "thesis"]
    assert (home / "thesis").read_text() == "years of work"


def test_data_fix_writes_through_no_link(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / "text").write_text((tmp_path / "data" / "utt2spk").read_text().replace(" ", " lang-"))
    before = (home / "text").read_text()
    Path("data/utt2lang").symlink_to(home / "text")
    backup = Path("data/.backup")
    backup.symlink_to(home)
    assert run("data", "fix", "data").exit_code == 0
    assert backup.is_symlink() and Path("data/.backup.2").is_dir()
    assert (home / "text").read_text() == before
    assert [path.name for path in home.iterdir()] == ["text"]


def test_logs_are_not_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years of work")
    (tmp_path / "train.log").symlink_to(tmp_path / "thesis")
    with (
        pytest.raises(SvError, match="is a symbolic link"),
        appending(tmp_path / "train.log") as descriptor,
    ):
        write_all(descriptor, b"x")
    assert (tmp_path / "thesis").read_text() == "years of work"
