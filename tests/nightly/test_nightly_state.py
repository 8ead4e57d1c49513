"""Rows are committed once, whatever happens between any two steps."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sv_cli.errors import SvError
from sv_cli.nightly.state import JobState

ROWS = [b"a u%d 0.5\nb u%d 0.25\n" % (number, number) for number in range(3)]


class Stopped(BaseException):
    """Stands for SIGKILL: nothing in the code under test catches it."""


def commit_all(out: Path) -> None:
    """Commit three batches, as a run does that goes on where the one before stopped."""
    state = JobState.load(out)
    for number, rows in enumerate(ROWS):
        key = f"u{number}"
        if key not in state.done:
            state.commit({key: (1, 2)}, rows)


class Clock:
    """Counts the places where a process may be killed, and kills it at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.count, self.at = 0, at
        write, replace, unlink = os.write, Path.replace, Path.unlink

        def slow_write(descriptor: int, data: Any) -> int:
            self.tick()
            return write(descriptor, bytes(data)[:5])

        def ticking_replace(path: Path, target: Any) -> Path:
            self.tick()
            done = replace(path, target)
            self.tick()
            return done

        def ticking_unlink(path: Path, missing_ok: bool = False) -> None:
            self.tick()
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(os, "write", slow_write)
        monkeypatch.setattr(Path, "replace", ticking_replace)
        monkeypatch.setattr(Path, "unlink", ticking_unlink)

    def tick(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Stopped


def test_a_kill_at_every_step_neither_loses_nor_doubles_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b"".join(ROWS)
    moment = 0
    while True:
        moment += 1
        out = tmp_path / str(moment)
        with monkeypatch.context() as patch:
            clock = Clock(patch, moment)
            try:
                commit_all(out)
            except Stopped:
                pass
            else:
                break
        visible = (out / "results.txt").read_bytes() if (out / "results.txt").exists() else b""
        assert whole.startswith(visible)
        with monkeypatch.context() as patch:  # the run that goes on is killed as well
            clock = Clock(patch, 1 + moment % 7)
            with contextlib.suppress(Stopped):
                commit_all(out)
        commit_all(out)
        assert (out / "results.txt").read_bytes() == whole, f"killed at step {moment}"
        left = {path.name for path in (out / "state").iterdir() if not path.name.endswith(".tmp")}
        assert left == {f"batch-{number:06d}.json" for number in (1, 2, 3)} | (
            {"pending.rows"} & left
        )
    assert clock.count > 30


def stop_in_append(out: Path, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Commit a first batch, and stop the second after some bytes of its rows."""
    state = JobState.load(out)
    state.commit({"u0": None}, ROWS[0])
    with monkeypatch.context() as patch:
        write = os.write

        def torn(descriptor: int, data: Any) -> int:
            write(descriptor, bytes(data)[:after])
            raise Stopped

        patch.setattr(os, "write", torn)
        with pytest.raises(Stopped):
            state.commit({"u1": None}, ROWS[1])
    assert (out / "results.txt").read_bytes() == ROWS[0] + ROWS[1][:after]


def test_a_torn_row_is_completed_in_the_file_that_was_rotated_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in_append(tmp_path, monkeypatch, after=7)
    (tmp_path / "results.txt").rename(tmp_path / "results.txt.1")
    (tmp_path / "results.txt").touch()
    state = JobState.load(tmp_path)
    state.commit({"u2": None}, ROWS[2])
    assert (tmp_path / "results.txt.1").read_bytes() == ROWS[0] + ROWS[1]
    assert (tmp_path / "results.txt").read_bytes() == ROWS[2]
    assert JobState.load(tmp_path).done == {"u0": None, "u1": None, "u2": None}


def test_a_rotation_between_runs_starts_a_new_file(tmp_path: Path) -> None:
    JobState.load(tmp_path).commit({"u0": None}, ROWS[0])
    (tmp_path / "results.txt").rename(tmp_path / "results.txt.1")
    JobState.load(tmp_path).commit({"u1": None}, ROWS[1])
    assert (tmp_path / "results.txt").read_bytes() == ROWS[1]


def test_what_cannot_be_told_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_append(tmp_path / "gone", monkeypatch, after=7)
    (tmp_path / "gone" / "results.txt").rename(tmp_path / "elsewhere")
    with pytest.raises(SvError, match="rotated away"):
        JobState.load(tmp_path / "gone")
    stop_in_append(tmp_path / "other", monkeypatch, after=7)
    with (tmp_path / "other" / "results.txt").open("ab") as stream:
        stream.write(b"a row of somebody else\n")
    with pytest.raises(SvError, match="changed by others"):
        JobState.load(tmp_path / "other")


def test_a_full_disk_is_told_and_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = JobState.load(tmp_path)
    with monkeypatch.context() as patch:

        def full(descriptor: int, data: Any) -> int:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "write", full)
        with pytest.raises(SvError, match="No space left on device") as caught:
            state.commit({"u0": None}, ROWS[0])
    assert "run again" in str(caught.value.hint)
    assert JobState.load(tmp_path).done == {"u0": None}
    assert (tmp_path / "results.txt").read_bytes() == ROWS[0]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    JobState.load(tmp_path).commit({"u0": None}, ROWS[0])
    (tmp_path / "state" / "batch-000001.json").write_text('{"recor')
    with pytest.raises(SvError, match=r"batch-000001\.json` is damaged"):
        JobState.load(tmp_path)


def test_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    key = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    JobState.load(tmp_path).commit({key: (3, 4)}, b"a caf\xe9.wav 0.5\n")
    assert JobState.load(tmp_path).done == {key: (3, 4)}
    assert json.loads((tmp_path / "state" / "batch-000001.json").read_text())["batch"] == 1
