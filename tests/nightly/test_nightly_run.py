"""`svtool score-job`: what is new is scored once; the rest waits, is retried, or is told."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from survival_jobs import REPOSITORY
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.lock import lock_folder
from sv_cli.tables.embeddings import read_embeddings, write_embeddings

RUNNER = CliRunner()


def job(*arguments: object, status: int = 0, name: str = "job.toml") -> dict:
    """Run the job in this process; return its summary."""
    result = RUNNER.invoke(app, ["score-job", name, *map(str, arguments)])
    assert result.exit_code == status, result.stderr + str(result.exception)
    summary = Path("out/summary.json")
    return {
        "stderr": result.stderr,
        **(json.loads(summary.read_text()) if summary.exists() else {}),
    }


def svtool(*arguments: str) -> None:
    result = RUNNER.invoke(app, list(arguments))
    assert result.exit_code == 0, result.stderr


def arrive(*numbers: int) -> list[str]:
    """Let some of the recordings come in; return their keys."""
    paths = [sorted(Path("later").iterdir())[number] for number in numbers]
    for path in paths:
        (Path("incoming") / path.name).write_bytes(path.read_bytes())
    return [path.name for path in paths]


def rows(folder: str = "out") -> list[list[str]]:
    return [line.split() for line in Path(folder, "results.txt").read_text().splitlines()]


def scored(folder: str = "out") -> dict[tuple[str, str], float]:
    found = {(row[0], row[1]): float(row[2]) for row in rows(folder)}
    assert len(found) == len(rows(folder)), "a row stands twice"
    return found


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_threshold_that_decides_nothing_is_refused(tmp_path: Path, value: str) -> None:
    lines = ["model", "recordings", "enroll", "out"]
    text = "".join(f'{name} = "{tmp_path / name}"\n' for name in lines)
    (tmp_path / "job.toml").write_text(f"{text}threshold = {value}\n")
    result = RUNNER.invoke(app, ["score-job", str(tmp_path / "job.toml")])
    assert result.exit_code == 2
    assert f"`threshold`: {value} accepts or rejects every row" in result.stderr
    assert not (tmp_path / "out").exists()


def test_three_runs_from_a_clean_shell(night: Path) -> None:
    """First all, then only the new, then nothing; the same as one run over everything."""

    def run(out: str) -> dict:
        line = ["/usr/bin/env", "-i", f"PYTHONPATH={REPOSITORY}", "OMP_NUM_THREADS=1"]
        line += [sys.executable, "-m", "sv_cli", "score-job", str(night / "job.toml")]
        line += ["--log-format", "json", "--set", f"out={night / out}"]
        done = subprocess.run(
            line, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert all(json.loads(line)["level"] for line in done.stderr.splitlines())
        return json.loads((night / out / "summary.json").read_text())

    arrive(*range(7))
    assert run("out")["scored"] == 7
    arrive(*range(7, 12))
    second = run("out")
    assert (second["scored"], second["done_before"]) == (5, 7)
    before = Path("out/results.txt").read_bytes()
    third = run("out")
    assert (third["scored"], third["rows"], third["done_before"]) == (0, 0, 12)
    assert Path("out/results.txt").read_bytes() == before
    assert run("whole")["scored"] == 12
    assert sorted(before.splitlines()) == sorted(
        Path("whole/results.txt").read_bytes().splitlines()
    )
    assert len(before.splitlines()) == 12 * 6


def test_scores_are_those_of_the_single_commands(night: Path) -> None:
    arrive(*range(12))
    svtool("extract", "model.pt", "data", "emb", "--max-skipped", "48")
    names = {path.stem: path.name for path in Path("incoming").iterdir()}
    enrolled = read_embeddings("enrolled").ids
    pairs = [(enroll, test) for enroll in enrolled for test in sorted(names)]
    Path("trials").write_text("".join(f"{one} {two}\n" for one, two in pairs))
    svtool("score", "trials", "enrolled", "emb", "raw", "--submean", "enrolled")
    svtool("asnorm", "raw", "enrolled", "emb", "enrolled", "normed", "--submean", "enrolled",
           "--top-n", "4")  # fmt: skip
    arguments = ["--set", "submean=enrolled", "--set", "cohort=enrolled", "--set", "top_n=4"]
    job(*arguments, "--set", "threshold=0.5")
    expected = {}
    for line in Path("normed").read_text().splitlines():
        enroll, test, score = line.split()
        expected[enroll, names[test]] = float(score)
    found = scored()
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(
        [found[pair] for pair in expected], list(expected.values()), rtol=0, atol=2e-5
    )
    assert all((row[3] == "accept") == (float(row[2]) >= 0.5) for row in rows())
    assert {row[3] for row in rows()} == {"accept", "reject"}
    kept = read_embeddings("out/embeddings/batch-000001.scp")
    assert kept.ids == sorted(names.values())[:4]
    assert kept.info == read_embeddings("emb").info


def test_listed_pairs_alone_are_scored(night: Path) -> None:
    first, second, _ = arrive(0, 1, 2)
    Path("pairs").write_text(f"s0-00 {first}\ns0-03 {first}\ns0-01 {second}\n")
    summary = job("--set", "trials=pairs")
    assert set(scored()) == {("s0-00", first), ("s0-03", first), ("s0-01", second)}
    assert summary["not_in_trials"] == 1
    Path("pairs").write_text("nobody s0-00.wav\n")
    assert "not enrolled: `nobody`" in job("--set", "trials=pairs", status=1)["stderr"]


def test_files_that_are_still_written_wait(night: Path) -> None:
    old, young = arrive(0, 1)
    past = time.time() - 3600
    os.utime(f"incoming/{old}", (past, past))
    assert job("--set", "settle_seconds=600")["waiting"] == 1
    assert {test for _, test in scored()} == {old}
    os.utime(f"incoming/{young}", (past, past))
    assert job("--set", "settle_seconds=600")["scored"] == 1


def test_a_clock_that_was_set_back_holds_nothing_up_for_ever(night: Path) -> None:
    (name,) = arrive(0)
    future = time.time() + 86400
    os.utime(f"incoming/{name}", (future, future))
    assert job()["waiting"] == 1
    assert job("--set", "settle_seconds=600")["waiting"] == 1
    assert job()["scored"] == 1


def test_a_file_that_changes_while_it_is_read_is_left(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sv_cli.nightly import batches as module

    first, second = arrive(0, 1)
    score = module.Scorer.rows
    monkeypatch.setattr(
        module.Scorer,
        "rows",
        lambda self, key, *rest: os.utime(f"incoming/{second}") or score(self, key, *rest),
    )
    summary = job()
    assert (summary["scored"], summary["waiting"]) == (1, 1)
    monkeypatch.undo()
    os.chdir(night)
    assert job()["scored"] == 1
    assert {test for _, test in scored()} == {first, second}


def test_what_cannot_be_read_is_tried_again_then_given_up(night: Path) -> None:
    good, bad = arrive(0, 1)
    content = Path("incoming", bad).read_bytes()
    Path("incoming", bad).write_bytes(b"RIFFjunk")
    for attempt in (1, 2, 3):
        summary = job(status=3)
        assert list(summary["failed"]) == [bad]
        assert ("given up" in summary["stderr"]) == (attempt == 3)
    assert list(summary["given_up"]) == [bad]
    summary = job()
    assert (summary["failed"], list(summary["given_up"])) == ({}, [bad])
    Path("incoming", bad).write_bytes(content)
    summary = job()
    assert (summary["scored"], summary["given_up"]) == (1, {})
    assert {test for _, test in scored()} == {good, bad}


def test_max_skipped_forgives(night: Path) -> None:
    arrive(0)
    Path("incoming/broken.wav").write_bytes(b"")
    assert job("--max-skipped", 1)["scored"] == 1


def test_names_become_single_words(night: Path) -> None:
    arrive(0)
    Path("incoming/a b").mkdir()
    Path("incoming/s0-00.wav").rename("incoming/a b/100%.wav")
    Path("incoming/.hidden.wav").write_bytes(b"")
    Path("incoming/notes.txt").write_bytes(b"")
    job()
    assert {test for _, test in scored()} == {"a%20b/100%25.wav"}
    assert sorted(path.name for path in Path("out/embeddings").iterdir()) == [
        ".batch-000001.ark.lineage.json", ".batch-000001.scp.lineage.json",
        "batch-000001.ark", "batch-000001.scp",
    ]  # fmt: skip


def test_a_wav_scp_is_watched_as_well(night: Path) -> None:
    arrive(0, 1, 2)
    Path("list.scp").write_text("u0 incoming/s0-00.wav\nu1 cat incoming/s0-01.wav |\n")
    assert job("--set", "recordings=list.scp")["scored"] == 2
    with Path("list.scp").open("a") as stream:
        stream.write("u2 incoming/s0-02.wav\nu3 nowhere.wav\n")
    summary = job("--set", "recordings=list.scp", "--no-pipes", status=3)
    assert summary["scored"] == 1
    assert "no such recording" in summary["failed"]["u3"]
    assert {test for _, test in scored()} == {"u0", "u1", "u2"}


def test_rows_of_two_kinds_do_not_meet(night: Path) -> None:
    arrive(0)
    job()
    arrive(1)
    refused = job("--set", "submean=enrolled", status=1)
    assert "were made differently: score submean none and " in refused["stderr"]
    assert (refused["status"], refused["scored"]) == ("failed", 0)
    assert "submean" in refused["error"]


@pytest.mark.parametrize("changed", ["cohort", "submean", "calibration", "threshold", "top_n"])
def test_inputs_that_were_replaced_under_their_names_are_refused(night: Path, changed: str) -> None:
    """Contents are compared, not names: rows of two kinds never meet in one file."""
    ids = read_embeddings("enrolled").ids
    labels = [f"{one} {two} {'target' if one == two else 'nontarget'}\n"
              for one in ids for two in ids]  # fmt: skip
    shutil.copytree("enrolled", "others")
    Path("trials").write_text("".join(labels))
    svtool("score", "trials", "enrolled", "enrolled", "raw")
    svtool("calibrate", "threshold", "trials", "raw", "t.json", "--at", "score:0.5")
    svtool("calibrate", "train", "trials", "raw", "c.json")
    options = {
        "cohort": ["cohort=others", "top_n=4"],
        "top_n": ["cohort=others", "top_n=4"],
        "submean": ["submean=others"],
        "calibration": ["calibration=c.json"],
        "threshold": ["threshold=t.json"],
    }[changed]
    arguments = [word for option in options for word in ("--set", option)]
    arrive(0)
    job(*arguments)
    job(*arguments)  # nothing changed
    if changed in ("cohort", "submean"):
        table = read_embeddings("others")
        table.matrix[0] += 1
        write_embeddings("others", table)
    elif changed == "calibration":
        svtool("calibrate", "train", "trials", "raw", "c.json", "--p-target", "0.1", "--force")
    elif changed == "threshold":
        svtool("calibrate", "threshold", "trials", "raw", "t.json", "--at", "score:0.6", "--force")
    else:
        arguments[-1] = "top_n=3"
    arrive(1)
    refused = job(*arguments, status=1)
    assert "results.txt` holds scores that were made differently: " in refused["stderr"]
    word = "decide threshold" if changed == "threshold" else changed
    assert f"{word} " in refused["error"] and " and " in refused["error"]
    assert len(rows()) == 6


def test_a_second_copy_is_refused(night: Path) -> None:
    with lock_folder("out", command="score-job"):
        assert "is being written by `svtool score-job`" in job(status=1)["stderr"]


def test_a_recording_that_changed_after_its_score_is_told(night: Path) -> None:
    (name,) = arrive(0)
    job()
    with Path("incoming", name).open("ab") as stream:
        stream.write(b"\0\0")
    summary = job()
    assert summary["changed"] == [name]
    assert "changed after they were scored" in summary["stderr"]
    assert len(rows()) == 6


def test_a_run_without_anything_new_loads_no_torch(night: Path) -> None:
    arrive(0)
    job()
    script = """
import sys
from sv_cli.nightly.run import run_job
from sv_cli.nightly.settings import JobSettings
run_job(JobSettings(model="model.pt", recordings="incoming", enroll="enrolled", out="out"))
assert not {"torch", "scipy"} & sys.modules.keys()
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_settings_are_shown_and_checked(night: Path) -> None:
    shown = RUNNER.invoke(app, ["score-job", "job.toml", "--show-settings"]).stdout
    assert "settle_seconds = 0.0  # job.toml\n" in shown
    assert "max_attempts = 3  # default\n" in shown
    assert "did you mean `recordings`" in job("--set", "recording=x", status=2)["stderr"]


def test_paths_start_at_the_job_file(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive(0)
    monkeypatch.chdir("/")
    result = RUNNER.invoke(app, ["score-job", str(night / "job.toml")])
    assert result.exit_code == 0, result.stderr
    assert (night / "out" / "results.txt").exists()


def test_a_recording_without_a_signal_gets_no_row(night: Path) -> None:
    (good,) = arrive(0)
    soundfile.write("incoming/zero.wav", np.zeros(16000), 16000)
    summary = job("--set", "threshold=-1", status=3)
    assert {test for _, test in scored()} == {good}
    assert summary["failed"] == {"zero.wav": "digital silence: all samples are zero"}
    arrive(1)
    strict = job("--set", "out=strict", "--set", "extract.min_speech=60", status=3)
    assert "too little speech" in strict["stderr"]


def test_what_is_no_regular_file_is_reported_and_left(night: Path) -> None:
    arrive(0)
    os.mkfifo("incoming/a.wav")
    Path("incoming/b.wav").symlink_to("a.wav")
    summary = job()
    assert summary["found"] == summary["scored"] == 1
    assert "left out `incoming/a.wav`: not a regular file" in summary["stderr"]


def test_a_watched_folder_is_read_where_audio_root_is_set(night: Path) -> None:
    arrive(0, 1)
    Path("elsewhere").mkdir()
    summary = job("--set", "audio_root=elsewhere")
    assert (summary["scored"], summary["waiting"]) == (2, 0)


def test_a_directory_as_job_file_is_refused(night: Path) -> None:
    summary = job(name="incoming", status=2)
    assert "cannot read `incoming`: Is a directory" in summary["stderr"]
