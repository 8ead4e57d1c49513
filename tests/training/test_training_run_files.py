"""The experiment directory: what is removed, what is kept, and when nothing may change at all."""

from pathlib import Path

import pytest
import torch
from small_run import small_run

from sv_cli.checkpoints.model_file import ModelFile
from sv_cli.errors import SettingsError, SvError, TrainingError
from sv_cli.features.settings import FRONTENDS
from sv_cli.training.run import RunPaths, run_training
from sv_cli.training.run_files import RunFiles


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def finished(voices: Path, tmp_path: Path) -> RunPaths:
    """A finished run of a few steps."""
    paths = RunPaths(str(voices), str(tmp_path / "exp"))
    run_training(small_run(), paths)
    return paths


def test_a_refused_start_changes_nothing(finished: RunPaths, tmp_path: Path) -> None:
    exp = Path(finished.exp_dir)
    before = contents(exp)
    with pytest.raises(SettingsError, match=r"schedule\.lr"):
        run_training(small_run(schedule={"lr": 0.5}), finished, resume=True)
    assert contents(exp) == before
    with pytest.raises(TrainingError, match="earlier run"):
        run_training(small_run(), finished)
    assert contents(exp) == before
    for wrong in ({"loss": {"options": {"nonsense": 1}}}, {"augment": {"chain": "wespeaker"}},
                  {"init": {"model": str(tmp_path / "nowhere")}}):  # fmt: skip
        with pytest.raises(SvError):
            run_training(small_run(**wrong), finished, force=True)
        assert contents(exp) == before


def test_restart_removes_files_of_earlier_runs_only(finished: RunPaths) -> None:
    exp = Path(finished.exp_dir)
    (exp / "mean-of-ten.pt").write_bytes(b"mine")
    (exp / "catalog.txt").write_text("mine, too")
    (exp / "logs").mkdir()
    (exp / "epoch-099.pt").write_bytes(b"of a longer run")
    run_training(small_run(), finished, force=True)
    left = {path.name for path in exp.iterdir()}
    assert {"mean-of-ten.pt", "catalog.txt", "logs", "final.pt"} <= left
    assert "epoch-099.pt" not in left


def test_models_without_a_state_are_not_removed_by_resuming(finished: RunPaths) -> None:
    exp = Path(finished.exp_dir)
    (exp / "state.pt").unlink()
    before = contents(exp)
    with pytest.raises(TrainingError, match=r"no `state\.pt`") as caught:
        run_training(small_run(), finished, resume=True)
    assert contents(exp) == before and "--init" in (caught.value.hint or "")
    for path in exp.glob("*.pt"):
        path.unlink()
    assert run_training(small_run(), finished, resume=True).steps == 7


def test_the_last_epochs_are_kept_by_number(tmp_path: Path) -> None:
    model = ModelFile("xvector", {}, FRONTENDS["wespeaker"], {"a": torch.zeros(1)}, [], {})
    for epoch in (998, 999, 1000, 1001):
        RunFiles(tmp_path).save_epoch(model, epoch=epoch, keep_last=2)
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-1000.pt", "epoch-1001.pt"}


def test_resuming_on_other_data(
    finished: RunPaths, voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One utterance less: told. So many that epochs are shorter: refused."""
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    paths = RunPaths(str(fewer), finished.exp_dir)
    for lost, ids in ((1, "s3-u2"), (6, "-u2")):
        for name in ("wav.scp", "utt2spk", "utt2dur"):
            rows = (voices / name).read_text().splitlines()
            kept = [row for row in rows if ids not in row.split()[0]]
            assert len(rows) - len(kept) == lost
            (fewer / name).write_text("\n".join(kept) + "\n")
        if lost == 1:
            run_training(small_run(), paths, resume=True)
            assert "warning: the training data is not what" in capsys.readouterr().err
        else:
            with pytest.raises(SettingsError, match="7 steps an epoch then, 6 now"):
                run_training(small_run(), paths, resume=True)
    run_training(small_run(), finished, resume=True)
    assert "warning" not in capsys.readouterr().err


def test_numbers_that_nothing_can_be_done_with() -> None:
    with pytest.raises(SettingsError, match="`seed`"):
        small_run(seed=2**32)
    assert small_run(seed=2**32 - 1).seed == 2**32 - 1
