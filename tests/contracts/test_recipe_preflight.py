"""run.sh stops before its first stage when anything that a later stage needs is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import fake_corpora
import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
VOXCELEB = {"vox1": "voxceleb", "vox2": "voxceleb", "musan": "musan", "rirs": "RIRS_NOISES"}
CNCELEB = {"cnceleb": "cnceleb", "musan": "musan", "rirs": "RIRS_NOISES"}
SPEAKERS = {"corpus": "3dspeaker", "musan": "musan", "rirs": "RIRS_NOISES"}
SYSTEMS = [
    ("voxceleb_v2/resnet34_lm", VOXCELEB),
    ("cnceleb_v2/resnet34_lm", CNCELEB),
    ("3dspeaker/voxceleb_ecapa", VOXCELEB),
    ("3dspeaker/cnceleb_ecapa", CNCELEB),
    ("3dspeaker/3dspeaker_ecapa", SPEAKERS),
    ("speaker_net_voxceleb2/ecapa_c512_lm", VOXCELEB),
    ("ecapa_tdnn_voxceleb2/ecapa_c512", VOXCELEB),
]
STARTED = 77


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for name in ("voxceleb", "cnceleb", "3dspeaker", "musan", "RIRS_NOISES"):
        fake_corpora.FAKES[name](tmp_path / name)
    (tmp_path / "voxceleb/voxsrc2021_val.txt").write_text("1 a b\n")
    (tmp_path / "bin").mkdir()
    svtool = tmp_path / "bin/svtool"
    svtool.write_text(f'#!/bin/sh\n[ "$1" = info ] && exit\necho "$@"\nexit {STARTED}\n')
    svtool.chmod(0o755)
    return tmp_path


def run(name: str, corpora: Path, folders: dict[str, str], *more: str):
    folder, model = name.split("/")
    line = ["bash", str(RECIPES / folder / "run.sh"), "--model", model]
    line += ["--work", str(corpora / "work"), *more]
    for option, below in folders.items():
        line += [f"--{option}", str(corpora / below)]
    env = {**os.environ, "PATH": f"{corpora}/bin:{os.environ['PATH']}"}
    return subprocess.run(line, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(("name", "folders"), SYSTEMS)
def test_the_first_stage_starts_when_all_is_there(
    name: str, folders: dict[str, str], corpora: Path
) -> None:
    done = run(name, corpora, folders)
    assert done.returncode == STARTED, done.stderr
    assert done.stdout.splitlines()[1].startswith("prepare ")


@pytest.mark.parametrize(("name", "folders"), SYSTEMS)
def test_every_missing_folder_is_named_at_once(
    name: str, folders: dict[str, str], corpora: Path
) -> None:
    done = run(name, corpora, {})
    assert (done.returncode, done.stdout) == (2, "")
    for option in folders:
        assert f"--{option} is missing" in done.stderr


@pytest.mark.parametrize(("name", "folders"), SYSTEMS)
def test_missing_trials_stop_the_run(name: str, folders: dict[str, str], corpora: Path) -> None:
    for pattern in ("*.txt", "trials*", "enroll.map"):
        for path in corpora.rglob(pattern):
            path.unlink()
    done = run(name, corpora, folders)
    assert (done.returncode, done.stdout) == (2, "")
    wanted = "veri_test2.txt" if folders is VOXCELEB else "trials"
    assert wanted in done.stderr


def test_lists_come_from_their_own_folder_or_by_network(corpora: Path) -> None:
    (corpora / "lists").mkdir()
    for path in (corpora / "voxceleb").glob("*.txt"):
        path.rename(corpora / "lists" / path.name)
    name, folders = SYSTEMS[0]
    assert run(name, corpora, folders).returncode == 2
    given = run(name, corpora, folders, "--lists-folder", str(corpora / "lists"))
    assert given.returncode == STARTED and f"--lists {corpora}/lists" in given.stdout
    fetched = run(name, corpora, folders, "--fetch", "yes")
    assert fetched.returncode == STARTED and "--fetch" in fetched.stdout


@pytest.mark.parametrize("kind", ["noise", "music", "speech"])
def test_noise_of_every_kind_is_needed(kind: str, corpora: Path) -> None:
    shutil.rmtree(corpora / "musan" / kind)
    done = run("voxceleb_v2/resnet34", corpora, VOXCELEB)
    assert done.returncode == 2 and f"--musan: no recordings in `{corpora}/musan/{kind}`" in (
        done.stderr
    )


def test_weights_to_start_from_are_needed(corpora: Path) -> None:
    done = run("voxceleb_v2/simam_resnet34_lm", corpora, VOXCELEB)
    assert done.returncode == 2 and "starts from weights that --initial names" in done.stderr
    done = run("voxceleb_v2/simam_resnet34_lm", corpora, VOXCELEB, "--initial", "/nowhere.pt")
    assert done.returncode == 2 and "--initial: no `/nowhere.pt`" in done.stderr


def test_a_missing_extra_is_named(corpora: Path) -> None:
    (corpora / "bin/svtool").write_text("#!/bin/sh\necho 'extra ssl  missing transformers'\n")
    done = run("voxceleb_v2/w2vbert_lora", corpora, VOXCELEB)
    assert done.returncode == 2 and "w2vbert_lora needs transformers" in done.stderr


def test_later_stages_need_what_the_first_wrote(corpora: Path) -> None:
    done = run("voxceleb_v2/resnet34", corpora, {}, "--stage", "2")
    assert done.returncode == 2 and "data/vox2/dev`: run stage 1" in done.stderr
    assert "no trials" in done.stderr and "trials-H-clean`: run stage 1" in done.stderr


def test_speaker_net_scores_all_lists_that_it_reports() -> None:
    script = RECIPES / "speaker_net_voxceleb2/run.sh"
    line = ["bash", str(script), "--dry-run", "--vox1", "/v", "--voxsrc22", "/s"]
    words = [text.split() for text in subprocess.check_output(line, text=True).splitlines()]
    lists = [
        "data/vox1/test/trials-O-clean", "data/vox1/all/trials-E-clean",
        "data/vox1/all/trials-H-clean", "data/vox1/test/trials-O", "data/vox1/all/trials-E",
        "data/vox1/all/trials-H", "data/voxsrc21/trials", "data/voxsrc22/trials",
    ]  # fmt: skip
    assert [row[2] for row in words if row[:2] == ["svtool", "eval"]] == lists
    scored = [row[2] for row in words if row[:2] == ["svtool", "score"]]
    assert [name for name in scored if "calibration" not in name] == lists
