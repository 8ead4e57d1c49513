"""`svtool verify` and `svtool info` on the example world."""

import json
import shutil
from pathlib import Path

import pytest
from example_world import environment, run_line

from sv_cli.checkpoints.model_file import read_model, save_model

FIRST, SECOND = "recordings/d0001/d0001-000.wav", "recordings/d0001/d0001-001.wav"


@pytest.fixture
def svtool(world: Path, tmp_path: Path):
    def run(arguments: str, *, status: int = 0):
        done = run_line(f"svtool {arguments}", world, environment(tmp_path))
        assert done.returncode == status, done.stderr
        return done

    return run


def test_score_is_that_of_score(svtool, world: Path, tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(f"a {FIRST}\nb {SECOND}\n")
    (tmp_path / "trials").write_text("a b target\n")
    svtool(f"extract exp/eres2net scp:{tmp_path}/wav.scp {tmp_path}/emb")
    line = svtool(f"score {tmp_path}/trials {tmp_path}/emb {tmp_path}/emb").stdout
    expected = float(line.split()[2])
    done = svtool(f"verify exp/eres2net {FIRST} {SECOND}")
    enroll, test, score = done.stdout.split()
    assert (enroll, test) == (FIRST, SECOND)
    assert float(score) == pytest.approx(expected, abs=1e-5)
    assert "no threshold is known" in done.stderr


@pytest.mark.parametrize(("threshold", "decision"), [("-1", "same"), ("1.5", "different")])
def test_threshold_decides(svtool, threshold: str, decision: str) -> None:
    done = svtool(f"verify exp/eres2net {FIRST} {SECOND} --threshold {threshold}")
    assert done.stdout.split()[3] == decision


def test_threshold_of_the_model_and_of_a_file(svtool, world: Path, tmp_path: Path) -> None:
    model = read_model(world / "exp" / "eres2net")
    model.notes["threshold"] = -1.0
    save_model(tmp_path / "published.pt", model)
    done = svtool(f"verify {tmp_path}/published.pt {FIRST} {SECOND}")
    assert done.stdout.split()[3] == "same" and "as published" in done.stderr
    table = f"{tmp_path}/threshold.json"
    svtool(f"calibrate threshold data/dev/trials scores/dev.cosine {table}")
    chosen = json.loads(Path(table).read_text())["threshold"]
    line = svtool(f"verify exp/eres2net {FIRST} {SECOND} --threshold {table}").stdout.split()
    assert line[3] == ("same" if float(line[2]) >= chosen else "different")


def test_calibration_makes_a_ratio_and_moves_with_the_prior(svtool, tmp_path: Path) -> None:
    table = f"{tmp_path}/calibration.json"
    svtool(f"calibrate train data/dev/trials scores/dev.cosine {table}")
    made = json.loads(Path(table).read_text())
    pair = f"verify exp/eres2net {FIRST} {SECOND}"
    score = float(svtool(f"{pair} --threshold 0").stdout.split()[2])
    for prior, limit in (("0.5", 0.0), ("0.01", 4.59512)):
        line = svtool(f"{pair} --calibration {table} --p-target {prior}").stdout.split()
        ratio = made["scale"] * score + made["offset"]
        assert float(line[2]) == pytest.approx(ratio, rel=1e-5, abs=1e-4)
        assert line[3] == ("same" if ratio >= limit else "different")


def test_bad_input_is_told_in_one_line(svtool, world: Path, tmp_path: Path) -> None:
    table = tmp_path / "threshold.json"
    svtool(f"calibrate threshold data/dev/trials scores/dev.cosine {table}")
    values = json.loads(table.read_text())
    values["lineage"]["model"]["model_hash"] = "0" * 16
    table.write_text(json.dumps(values))
    done = svtool(f"verify exp/eres2net {FIRST} {SECOND} --threshold {table}", status=1)
    assert "was trained on scores of model eres2net_base 000000000000" in done.stderr
    done = svtool(f"verify exp/eres2net {FIRST} nowhere.wav --threshold 0", status=1)
    assert "`nowhere.wav`: no such file" in done.stderr
    done = svtool(f"verify exp/eres2net {FIRST} {SECOND} --threshold nan", status=2)
    assert "`--threshold nan` is no number" in done.stderr


def test_info_tells_the_versions(svtool) -> None:
    facts = json.loads(svtool("info --json").stdout)
    assert facts["torch"].startswith("2.") and facts["cores"].isdigit()
    assert ("missing" in facts["ffmpeg"]) == (shutil.which("ffmpeg") is None)
    assert facts["svtool"] in svtool("info").stdout
