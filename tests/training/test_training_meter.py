"""Where the time went, how fast data comes, and the picture of a run."""

import errno
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.errors import SettingsError, SvError, TrainingError
from sv_cli.training.journal import Journal, find_curves
from sv_cli.training.meter import DataReaders, StageClock, judge, shares
from sv_cli.training.report import describe_epochs, draw_report, read_log


def test_the_clock_tells_the_stages_apart() -> None:
    import time

    clock = StageClock(torch.device("cpu"))
    before = clock.seconds()
    clock.enter("data")
    time.sleep(0.03)
    clock.enter("network")
    time.sleep(0.01)
    clock.enter("other")
    share = shares(before, clock.seconds())
    assert sum(share.values()) == pytest.approx(100.0)
    assert share["data"] > share["network"] > share["features"] == 0.0


@pytest.mark.parametrize(
    ("data", "features", "reading", "advice"),
    [
        (34.0, 10.0, DataReaders(0, 8), "num_workers=-1"),
        (34.0, 10.0, DataReaders(2, 8), "more `data.num_workers` (now 2, 8 cores)"),
        (34.0, 10.0, DataReaders(7, 8), "on a local disk"),
        (34.0, 10.0, DataReaders(7, 8, from_features=True), "data.source=wav"),
        (2.0, 50.0, DataReaders(7, 8), "features and augmentation 50 %"),
        (2.0, 10.0, DataReaders(7, 8), "fast enough"),
    ],
)
def test_the_verdict(data: float, features: float, reading: DataReaders, advice: str) -> None:
    share = {"data": data, "features": features, "network": 100 - data - features, "other": 0.0}
    verdict = judge(share, reading)
    assert advice in verdict and f"data wait took {data:.0f} % of the time" in verdict


def test_bench_loader_prints_figures(voices: Path) -> None:
    line = ["train", "--data", str(voices), "--bench-loader", "9", "--set", "batch_size=4"]
    done = CliRunner().invoke(app, [*line, "--set", "data.num_workers=0"])
    assert done.exit_code == 0, done.output
    figures = dict(row.split() for row in done.stdout.splitlines() if len(row.split()) == 2)
    assert int(figures["utterances"]) == 36
    ratio = float(figures["utterances_per_cpu_second"]) * float(figures["cpu_ms_per_utterance"])
    assert ratio == pytest.approx(1000, rel=0.02)


def record(step: int, loss: float, **more: float) -> dict[str, object]:
    return {"event": "step", "step": step, "epoch": step / 4, "loss": loss, "accuracy": 50.0,
            "lr": 0.1 / step, "margin": 0.1, "wait_share": 5.0, "features_share": 15.0,
            "network_share": 80.0, **more}  # fmt: skip


def test_the_picture_of_a_run(tmp_path: Path) -> None:
    records = [record(1, 3.0), record(2, 2.9), record(2, 2.8), record(3, 2.0)]
    records += [{"event": "validation", "step": 3, "epoch": 1, "dev_eer": 12.5}]
    log = tmp_path / "log.jsonl"
    broken = [
        '{"event": "st',
        "5",
        '{"event": "step"}',
        '{"event": "validation", "step": 9}',
        "\xe4",
    ]
    text = "\n".join([*map(json.dumps, records), *broken])
    log.write_bytes(text.encode("latin-1"))
    steps, validations = read_log(log)
    assert [step["loss"] for step in steps] == [3.0, 2.8, 2.0]
    assert [one["dev_eer"] for one in validations] == [12.5]
    path = draw_report(tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000


def test_a_line_for_each_validated_epoch() -> None:
    steps = [record(3, 4.0), record(4, 8.0), record(6, 2.0), record(8, 1.0, accuracy=100.0)]
    told = [(4, 1, 12.5), (8, 2, 14.0)]
    validations = [{"step": s, "epoch": e, "dev_eer": eer} for s, e, eer in told]
    lines = [line.split("\t") for line in describe_epochs(steps, validations).splitlines()]
    assert lines == [
        ["epoch", "lr", "loss", "accuracy", "dev_eer", "best_eer"],
        ["1", "0.025", "5.000000", "50.00", "12.500", "12.500"],
        ["2", "0.0125", "1.500000", "75.00", "14.000", "12.500"],
    ]
    resumed = describe_epochs([], validations[:1]).splitlines()[1]
    assert resumed == "1\t-\t-\t-\t12.500\t12.500"


def test_a_line_that_broke_off_takes_no_other_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(record(1, 3.0)) + '\n{"event": "step", "st')
    Journal(tmp_path, active=True).write(**record(2, 2.5))
    Journal(tmp_path, active=True).write(**record(3, 2.0))
    assert [step["loss"] for step in read_log(log)[0]] == [3.0, 2.5, 2.0]
    assert len(log.read_text().splitlines()) == 4


def test_a_full_disk_is_told_by_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sv_cli.atomic.os.write", refuse)
    with pytest.raises(SvError, match=r"train\.log`: No space left") as caught:
        Journal(tmp_path, active=True).write("step", step=1)
    assert "--resume" in (caught.value.hint or "")


def test_no_log_no_picture(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such log"):
        draw_report(tmp_path)
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(TrainingError, match="no step"):
        draw_report(tmp_path)


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(SettingsError, match="not installed") as caught:
            find_curves(tmp_path)
        assert "svtool[tensorboard]" in (caught.value.hint or "")
        return
    open_curves = find_curves(tmp_path)
    assert not any(tmp_path.iterdir())
    writer = open_curves()
    writer.add_scalar("step/loss", 1.0, 1)
    writer.close()
    assert any((tmp_path / "tensorboard").iterdir())
