"""Reading processes: where their sockets are, and one that hangs."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from sv_cli.errors import SettingsError, explain
from sv_cli.sampling.dataset import EpochBatches
from sv_cli.sampling.loader import _socket_folder, load_batches
from sv_cli.sampling.plan import EpochPlan


def test_sockets_leave_a_tmpdir_of_too_long_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    assert _socket_folder() is None
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 100)))
    assert _socket_folder() in ("/tmp", "/var/tmp", "/dev/shm")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SettingsError, match="too long for the sockets") as caught:
        _socket_folder()
    assert caught.value.hint is not None and "num_workers = 0" in caught.value.hint


class Hanging:
    """Crops from a disk that does not answer."""

    def read(self, item: int, rng: np.random.Generator, **_: object) -> np.ndarray:
        time.sleep(100)
        return np.zeros(1, np.float32)


def test_a_reading_process_that_hangs_is_told() -> None:
    batches = EpochBatches(Hanging(), np.zeros(4, np.int64), EpochPlan(4, 2, 1, 0), epoch=0, rank=0)
    loader = load_batches(
        batches, first_step=0, num_workers=1, pin_memory=False, timeout_seconds=1.5
    )
    with pytest.raises(RuntimeError) as caught:
        next(iter(loader))
    told = explain(caught.value)
    assert told is not None and told.message.startswith("no data came for 1.5 s")
    assert told.hint is not None and "--resume" in told.hint
