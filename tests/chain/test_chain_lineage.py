"""Every pair of tables that can meet: of one origin they go together, of two they are refused.

The tables of folder `m` come from one model and one chain of settings. Each other folder holds
the same tables with one thing changed. Each case replaces one input of a command by the one of
such a folder: as a file, in a copied folder, through an scp without a record, or through a pipe.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sv_cli.tables.lineage import record_path

sys.path.insert(0, str(Path(__file__).parents[1] / "commands"))
from scoring_world import World, message, run

# Folder -> what is different in it.
FOLDERS = {
    "m": {},
    "model": {"model": "m2"},
    "top_n": {"top_n": 4},
    "cohort": {"cohort": 1},
    "submean": {"submean": True},
    "inner": {"inner": True},
}
# Command -> arguments; `{name}` is a table of a folder.
COMMANDS = {
    "score": "score {trials} {emb} {test} OUT",
    "score submean": "score {trials} {emb} {test} OUT --submean {mean}",
    "score dense": "score --dense {emb} {test} OUT",
    "identify": "identify {emb} {test} OUT --threshold {threshold.score}",
    "asnorm": "asnorm {score} {emb} {test} {cohort} OUT --top-n 5",
    "asnorm use-stats": "asnorm {score} {emb} {test} {cohort} OUT --top-n 5 --use-stats {stats}",
    "calibrate apply": "calibrate apply {calibration} {norm} OUT",
    "calibrate train": "calibrate train {trials} {norm} OUT --embeddings {emb}",
    "decide": "decide {threshold} {norm} OUT",
    "fuse apply": "fuse apply {fusion} {norm} {score} OUT",
    "qmf measure": "qmf measure {emb} OUT --stats {stats} --allow-missing --max-skipped 60",
    "qmf apply": "qmf apply {qmf} {norm} {quality} OUT",
    "plda score": "plda score {plda} {emb} {test} {trials} OUT",
    "plda adapt": "plda adapt {plda} {emb} OUT",
    "plda transform": "plda transform {lda} {emb} OUT.ark",
    "plda train": "plda train {spk2utt} {emb} OUT --mean {mean}",
}
EMBEDDINGS = {"emb", "test", "cohort"}
# What a changed folder changes in a table; a table that it leaves as it is must go on working.
CHANGES = {
    "emb": {"model"},
    "test": {"model"},
    "cohort": {"model", "cohort"},
    "mean": {"model"},
    "lda": {"model"},
    "plda": {"model"},
    "score": {"model", "submean", "inner"},
    "threshold.score": {"model", "submean", "inner"},
    "norm": {"model", "top_n", "cohort", "submean", "inner"},
    "stats": {"model", "top_n", "cohort", "submean", "inner"},
    "quality": {"model", "top_n", "cohort", "submean", "inner"},
    "calibration": {"model", "top_n", "cohort", "submean", "inner"},
    "threshold": {"model", "top_n", "cohort", "submean", "inner"},
    "fusion": {"model", "top_n", "cohort", "submean", "inner"},
    "qmf": {"model", "top_n", "cohort", "submean", "inner"},
}
# Commands that do not look at the settings of a table, only at its model.
MODEL_ONLY = {("calibrate train", "norm"), ("qmf measure", "stats")}
NEEDS_RECORD = ("calibrate train", "emb")
SLOTS = {
    command: [word[1:-1] for word in line.split() if word[0] == "{" and word[1:-1] in CHANGES]
    for command, line in COMMANDS.items()
}


def build(folder: Path, *, model="m", top_n=5, cohort=0, submean=False, inner=False) -> None:
    """Write all tables of one chain of settings."""
    folder.mkdir()
    world = World(folder)
    matrix = world.matrix + np.float32(model != "m")
    world.write("emb", world.utts, matrix, model=model)
    world.write("test", world.utts, matrix, model=model)
    world.write("cohort", world.cohort_ids, world.cohort + cohort, model=model)
    mean = world / "mean"
    ok(f"mean {world / 'spk2utt'} {world / 'emb'} {world / 'speakers'} --global-mean {mean}")
    options = f" --submean {mean}" * submean + " --inner-product" * inner
    names = {each: world / each for each in (*CHANGES, "trials", "spk2utt")}
    steps = (
        "score {trials} {emb} {emb} {score}" + options,
        "asnorm {score} {emb} {emb} {cohort} {norm} --stats {stats}"
        f" --top-n {top_n}{options}",
        "qmf measure {emb} {quality} --stats {stats} --allow-missing --max-skipped 60"
        + f" --submean {world / 'mean'}" * submean,
        "calibrate train {trials} {norm} {calibration}",
        "calibrate threshold {trials} {norm} {threshold}",
        "calibrate threshold {trials} {score} {threshold.score}",
        "fuse train {trials} {norm} {score} {fusion}",
        "qmf train {trials} {norm} {quality} {qmf} --features magnitude:min,cohort_mean:min",
        "plda train {spk2utt} {emb} {plda} --center",
        "plda lda {spk2utt} {emb} {lda} --dim 4",
    )
    for step in steps:
        ok(fill(step, names))


def fill(line: str, names: dict[str, Path]) -> list[str]:
    return [str(names[word[1:-1]]) if word.startswith("{") else word for word in line.split()]


def ok(line) -> None:
    words = line.split() if isinstance(line, str) else line
    result = run(*words)
    assert result.exit_code == 0, (words, result.stderr, result.exception)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("lineage")
    for name, changes in FOLDERS.items():
        build(root / name, **changes)
    return root


def cases():
    """(command, slot, folder, form, expected) of every case."""
    for command, slots in SLOTS.items():
        yield command, slots[0], "m", "file", True
        for slot in slots:
            forms = ["file", "copy"] + (["scp"] if slot in EMBEDDINGS else [])
            wrong = CHANGES[slot] if (command, slot) not in MODEL_ONLY else {"model"}
            if command.startswith("asnorm") and slot == "cohort":
                # Another cohort is wrong for statistics of this one alone.
                wrong = {"model"} | ({"cohort"} if "stats" in command else set())
            for form in forms:
                yield command, slot, "m", form, True
                for folder in sorted(wrong):
                    yield command, slot, folder, form, False
            if slot in EMBEDDINGS | {"score", "norm"} and (command, slot) != NEEDS_RECORD:
                yield command, slot, "model", "pipe", True


CASES = list(dict.fromkeys(cases()))


def place(source: Path, form: str, slot: str, tmp_path: Path) -> str:
    """Return a table as a file, a copied folder, an scp without a record, or a pipe."""
    if form == "file":
        return str(source)
    if form == "pipe":
        name = source / "xvector.ark" if slot in EMBEDDINGS else source
        return f"ark:cat {name} |" if slot in EMBEDDINGS else f"cat {name} |"
    if form == "scp":
        lines = (source / "xvector.scp").read_text()
        (tmp_path / "named.scp").write_text(lines)
        return str(tmp_path / "named.scp")
    shutil.copytree(source.parent, tmp_path / "copy")
    return str(tmp_path / "copy" / source.name)


@pytest.mark.parametrize(
    ("command", "slot", "folder", "form", "fits"), CASES, ids=lambda value: str(value)
)
def test_tables_go_together_by_their_lineage(folders, tmp_path, command, slot, folder, form, fits):
    names = {each: str(folders / "m" / each) for each in (*CHANGES, "trials", "spk2utt")}
    names[slot] = place(folders / folder / slot, form, slot, tmp_path)
    words = [
        names[word[1:-1]] if word[0] == "{" else word.replace("OUT", str(tmp_path / "out"))
        for word in COMMANDS[command].split()
    ]
    result = run(*words)
    if fits:
        assert result.exit_code == 0, message(result)
        return
    assert result.exit_code == 1, result.stderr
    (line,) = [line for line in message(result).splitlines() if "error:" in line]
    assert " and " in line or " is of " in line  # both values are named
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_number_of_cases():
    assert len(CASES) >= 200


def test_copied_folder_keeps_its_vectors(folders, tmp_path):
    """A copy does not follow its original when that is written again."""
    original, copy = tmp_path / "new", tmp_path / "old"
    shutil.copytree(folders / "m" / "emb", original)
    shutil.copytree(original, copy)
    shutil.rmtree(original)
    shutil.copytree(folders / "model" / "emb", original)  # as `extract OTHER ... --force`
    trials = folders / "m" / "trials"
    assert run("score", trials, copy, copy, tmp_path / "scores").exit_code == 0
    record = json.loads(record_path(tmp_path / "scores").read_text())
    assert record["model"]["model_hash"] == "m"
    result = run("score", trials, copy, original, tmp_path / "mixed")
    assert result.exit_code == 1 and "different models" in message(result)


def test_joined_scp_of_two_models_is_refused(folders, tmp_path):
    lines = [(folders / name / "emb/xvector.scp").read_text() for name in ("m", "model")]
    half = [
        text.splitlines()[start : start + 30] for text, start in zip(lines, (0, 30), strict=True)
    ]
    (tmp_path / "both.scp").write_text("\n".join([*half[0], *half[1]]) + "\n")
    result = run("score", folders / "m/trials", tmp_path / "both.scp", folders / "m/emb")
    assert result.exit_code == 1 and "different models" in message(result)


def test_two_archives_in_one_folder_have_two_records(folders, tmp_path):
    trials = folders / "m/trials"
    for number, name in enumerate(("m", "model"), 1):
        shutil.copy(folders / name / "emb/xvector.ark", tmp_path / f"xv.{number}")
        shutil.copy(
            record_path(folders / name / "emb/xvector.ark"), record_path(tmp_path / f"xv.{number}")
        )
    result = run("score", trials, f"ark:{tmp_path}/xv.1", f"ark:{tmp_path}/xv.2")
    assert result.exit_code == 1 and "xv.1" in message(result)


@pytest.fixture
def emb(folders, tmp_path):
    shutil.copytree(folders / "m/emb", tmp_path / "emb")
    return tmp_path / "emb"


def refused(folders, table) -> str:
    result = run("score", folders / "m/trials", table, table)
    assert result.exit_code == 1, result.stderr
    return message(result)


def test_archive_replaced_under_its_record_is_refused(folders, emb):
    shutil.copy(folders / "model/emb/xvector.ark", emb)
    text = refused(folders, emb)
    assert "is not the file that its record describes" in text and "sha256" in text


def test_archive_replaced_without_records_is_refused(folders, emb, tmp_path):
    """Six other utterances of the same model under the offsets of these."""
    other = World(tmp_path)
    other.write("renamed", [f"t{utt[1:]}" for utt in other.utts], other.matrix)
    shutil.copy(tmp_path / "renamed/xvector.ark", emb)
    for path in emb.glob(".*"):
        path.unlink()
    assert "does not hold `s00-0` at the byte" in refused(folders, emb)


def test_new_archive_under_an_old_scp_is_refused(folders, emb):
    """What a kill between the two renames of `--force` leaves."""
    shutil.copy(folders / "model/emb/xvector.ark", emb)
    shutil.copy(record_path(folders / "model/emb/xvector.ark"), emb)
    assert "is not the file" in refused(folders, emb)


def edit(path: Path, **values) -> None:
    record = json.loads(record_path(path).read_text())
    record_path(path).write_text(json.dumps({**record, **values}))


def test_edited_record_is_refused(folders, emb):
    edit(emb / "xvector.scp", model={"model_hash": "m2"})
    assert "the record was edited" in refused(folders, emb)


def test_damaged_record_is_refused(folders, emb):
    for text in ("", "{}", "[]", "\0", '{"version": 1}', '{"version": "x", "svtool": 1}'):
        record_path(emb / "xvector.scp").write_text(text)
        assert "not a record of a table" in refused(folders, emb)


def test_record_of_a_newer_version_is_refused(folders, emb):
    edit(emb / "xvector.scp", version=2, svtool="9.0")
    assert "written by a newer svtool (9.0)" in refused(folders, emb)


def test_records_that_disagree_are_refused(folders, emb):
    other = folders / "model/emb/xvector.ark"
    record = json.loads(record_path(other).read_text())
    ours = json.loads(record_path(emb / "xvector.ark").read_text())
    from sv_cli.tables import lineage

    record["files"] = ours["files"]
    record["digest"] = lineage._digest(record)
    record_path(emb / "xvector.ark").write_text(json.dumps(record))
    assert "disagree" in refused(folders, emb)


def test_table_without_a_record_is_accepted_and_reported(folders, emb, tmp_path):
    for path in emb.glob(".*"):
        path.unlink()
    scores = tmp_path / "scores"
    assert run("score", folders / "m/trials", emb, emb, scores).exit_code == 0
    result = run("calibrate", "apply", folders / "m/threshold.score", scores)
    assert result.exit_code == 1  # not a calibration
    result = run("decide", folders / "m/threshold.score", scores, tmp_path / "decisions")
    assert result.exit_code == 0
    assert f"the model of `{scores}` is unknown" in result.stderr


def test_user_files_with_derived_names_are_kept(folders, tmp_path):
    world = World(tmp_path)
    for name in ("cohort.json", "x.json"):
        (tmp_path / name).write_text("mine")
    run("mean", world / "spk2utt", world / "emb", tmp_path / "cohort.ark")
    run("mean", world / "spk2utt", world / "emb", f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp")
    assert all((tmp_path / name).read_text() == "mine" for name in ("cohort.json", "x.json"))
    (tmp_path / "p.json").write_text("mine")
    result = run("plda", "train", world / "spk2utt", world / "emb", tmp_path / "p")
    assert result.exit_code == 1 and "p.json` exists already" in message(result)


def test_plda_copied_without_its_files(folders, tmp_path):
    source, trials, emb = folders / "m/plda", folders / "m/trials", folders / "m/emb"
    shutil.copy(source, tmp_path / "plda")
    result = run("plda", "score", tmp_path / "plda", emb, emb, trials, tmp_path / "one")
    assert result.exit_code == 0
    assert "no preprocessing is applied, its model is unknown" in result.stderr
    shutil.copy(f"{source}.mean.vec", tmp_path / "plda.mean.vec")
    result = run("plda", "score", tmp_path / "plda", emb, emb, trials, tmp_path / "two")
    assert result.exit_code == 1 and "copy all files of the model" in result.stderr
    for end in (".json", ".mean.vec", ""):
        shutil.copy(f"{source}{end}", tmp_path / f"plda{end}")
    shutil.copy(folders / "model/mean", tmp_path / "plda.mean.vec")
    result = run("plda", "score", tmp_path / "plda", emb, emb, trials, tmp_path / "three")
    assert result.exit_code == 1 and "is not the file that" in message(result)


def test_info_reports_where_a_file_comes_from(folders, tmp_path):
    shutil.copytree(folders / "m", tmp_path / "m")
    norm = tmp_path / "m/norm"
    found = json.loads(run("info", "--json", norm).stdout)
    assert (found["kind"], found["command"], found["model model_hash"]) == ("scores", "asnorm", "m")
    assert found["asnorm top_n"] == 5 and found["score submean"] is None
    assert found["input cohort"].endswith("cohort (unchanged)")
    for name, kind in (
        ("emb", "embeddings"),
        ("mean", "mean"),
        ("lda", "transform"),
        ("stats", "cohort statistics"),
        ("quality", "quality"),
        ("calibration", "scores"),
        ("plda", "embeddings"),
    ):
        result = run("info", tmp_path / "m" / name)
        assert result.exit_code == 0 and kind in result.stdout, name
    norm.write_text(norm.read_text() + "a b 1\n")
    result = run("info", norm)
    assert result.exit_code == 1 and "is not the file that its record describes" in message(result)
    assert run("info", tmp_path / "nothing").exit_code == 1


def test_device_gets_no_record(folders, tmp_path):
    """/dev/stdout is a file where a shell redirects it, but no table of its own."""
    words = ["score", folders / "m/trials", folders / "m/emb", folders / "m/emb", "/dev/stdout"]
    with (tmp_path / "scores").open("wb") as stream:
        command = [sys.executable, "-m", "sv_cli", *map(str, words)]
        subprocess.run(command, stdout=stream, check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "scores").read_bytes() == (folders / "m/score").read_bytes()
    assert not record_path("/dev/stdout").exists()


def test_records_do_not_match_a_pattern(folders, tmp_path):
    for name in ("one", "two"):
        shutil.copy(folders / "m/norm", tmp_path / name)
        shutil.copy(record_path(folders / "m/norm"), record_path(tmp_path / name))
    result = run("eval", folders / "m/trials", *tmp_path.glob("[!.]*"))
    assert result.exit_code == 0 and len(list(tmp_path.glob(".*"))) == 2


def test_fingerprint_of_a_large_file(tmp_path, monkeypatch):
    from sv_cli.tables import lineage

    path = tmp_path / "large"
    path.write_bytes(np.random.default_rng(0).bytes(1 << 20))
    whole = lineage.Fingerprint.of(path)
    monkeypatch.setattr(lineage, "_WHOLE_BYTES", 1 << 18)
    monkeypatch.setattr(lineage, "_BLOCK_BYTES", 1 << 8)
    sampled = lineage.Fingerprint.of(path)
    assert sampled.sha256 != whole.sha256 and sampled == lineage.Fingerprint.of(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert lineage.Fingerprint.of(path).sha256 != sampled.sha256
