"""Reading processes: where their sockets are."""

import os
from pathlib import Path

import pytest

from sv_cli.errors import SettingsError
from sv_cli.sampling.loader import _socket_folder


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
