"""The commands chain through real shell pipes and say what they say over files."""

import json
from pathlib import Path

import pytest
from example_world import enter_world, environment, run_line

pytestmark = pytest.mark.timeout(900)

PIPED = (
    "svtool extract exp/eres2net data/eval ark:- --precision fp32"
    " | svtool score data/eval/trials ark:- ark:- -"
    " | svtool asnorm - emb/eval emb/eval emb/cohort - --top-n 4"
    " | tee out/piped.scores"
    " | svtool eval data/eval/trials - --json"
)
FILED = (
    "svtool extract exp/eres2net data/eval out/emb --precision fp32",
    "svtool score data/eval/trials out/emb out/emb out/cosine.scores",
    "svtool asnorm out/cosine.scores emb/eval emb/eval emb/cohort out/filed.scores --top-n 4",
    "svtool eval data/eval/trials out/filed.scores --json",
)


def test_recordings_to_eer_through_pipes(world: Path, tmp_path: Path) -> None:
    folder = enter_world(world, tmp_path)
    piped = run_line(PIPED, folder, environment(world))
    assert piped.returncode == 0, piped.stderr
    for line in FILED:
        filed = run_line(line, folder, environment(world))
        assert filed.returncode == 0, filed.stderr
    assert (folder / "out/piped.scores").read_bytes() == (folder / "out/filed.scores").read_bytes()
    one, other = json.loads(piped.stdout), json.loads(filed.stdout)
    assert one["systems"][0]["eer"] == other["systems"][0]["eer"]
    assert 0.0 <= one["systems"][0]["eer"] <= 0.5  # a model of a few steps: chance is allowed


def test_a_link_that_breaks_breaks_the_chain(world: Path, tmp_path: Path) -> None:
    folder = enter_world(world, tmp_path)
    line = PIPED.replace("data/eval ark:-", "data/nowhere ark:-")
    broken = run_line(line, folder, environment(world))
    assert broken.returncode != 0
    assert broken.stdout == ""
    assert "data/nowhere" in broken.stderr


def test_pipes_inside_specifiers(world: Path, tmp_path: Path) -> None:
    folder = enter_world(world, tmp_path)
    line = (
        "gzip -kf emb/eval/xvector.ark && "
        "svtool score 'sort -u data/eval/trials |' 'ark:gunzip -c emb/eval/xvector.ark.gz |' "
        "'ark:gunzip -c emb/eval/xvector.ark.gz |' - | wc -l"
    )
    run = run_line(line, folder, environment(world))
    assert run.returncode == 0, run.stderr
    trials = (folder / "data/eval/trials").read_text().splitlines()
    assert int(run.stdout) == len(trials)
    refused = run_line(line.replace("svtool score", "svtool score --no-pipes"), folder,
                       environment(world))  # fmt: skip
    assert refused.returncode != 0
    assert "pipe" in refused.stderr
