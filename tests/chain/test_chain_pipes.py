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


# Scores to EER: each link as a command whose input is the output of the one before.
SCORING = (
    "svtool score data/eval/trials emb/eval emb/eval {out}",
    "svtool asnorm {scores} emb/eval emb/eval emb/cohort {out} --top-n 4",
    "svtool qmf apply qmf/model.json {scores} qmf/eval {out}",
    "svtool calibrate apply out/calibration.json {scores} {out}",
    "svtool eval data/eval/trials {scores} --json",
)
_CALIBRATE = (
    "svtool qmf apply qmf/model.json scores/dev.asnorm qmf/dev out/dev.qmf",
    "svtool calibrate train data/dev/trials out/dev.qmf out/calibration.json",
)


def test_scores_to_eer_through_pipes_are_the_same_bytes(world: Path, tmp_path: Path) -> None:
    folder = enter_world(world, tmp_path)
    filed = [
        link.format(scores=f"out/scores.{place - 1}", out=f"out/scores.{place}")
        for place, link in enumerate(SCORING)
    ]
    filed[-1] += " > out/filed.json"
    for line in (*_CALIBRATE, *filed):
        run = run_line(line, folder, environment(world))
        assert run.returncode == 0, run.stderr
    links = [f" | tee out/piped.{place} | " for place in range(len(SCORING) - 1)]
    piped = SCORING[0].format(out="-")
    for link, command in zip(links, SCORING[1:], strict=True):
        piped += link + command.format(scores="-", out="-")
    run = run_line(piped, folder, environment(world))
    assert run.returncode == 0, run.stderr
    for place in range(len(SCORING) - 1):
        through_pipe = (folder / f"out/piped.{place}").read_bytes()
        assert through_pipe == (folder / f"out/scores.{place}").read_bytes()
    # the table is called by the name of its file
    by_file = (folder / "out/filed.json").read_text()
    assert run.stdout == by_file.replace(f'"scores.{len(SCORING) - 2}"', '"stdin"')


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
