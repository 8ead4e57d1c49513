"""One process at a time writes an output; a dead one holds nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sv_cli.errors import ExitStatus, SvError
from sv_cli.lock import claim_outputs, lock_file, lock_folder, release_claims

HOLDER = """
import sys, time
from sv_cli.lock import lock_folder
with lock_folder(sys.argv[1], command="train"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_writes_and_since_when(tmp_path: Path) -> None:
    process = hold(tmp_path)
    try:
        with pytest.raises(SvError) as caught, lock_folder(tmp_path, command="extract"):
            pass
    finally:
        process.kill()
        process.communicate()
    assert f"`svtool train` (pid {process.pid} on " in caught.value.message
    assert f"since {time.strftime('%Y-')}" in caught.value.message
    assert caught.value.status == ExitStatus.FAILED


def test_the_lock_of_a_killed_process_is_recognised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = hold(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".lock").exists()
    with lock_folder(tmp_path, command="extract"):
        record = json.loads((tmp_path / ".lock").read_text())
    assert record["pid"] == os.getpid()
    assert record["command"] == "extract"
    assert f"left behind by `svtool train` (pid {process.pid}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_does_not_hold_it_beyond_its_parent(tmp_path: Path) -> None:
    with lock_folder(tmp_path, command="train"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with lock_folder(tmp_path, command="train"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_files_and_shards_have_locks_of_their_own(tmp_path: Path) -> None:
    with (
        lock_file(tmp_path / "feats.1.ark", command="make-fbank"),
        lock_file(tmp_path / "feats.2.ark", command="make-fbank"),
    ):
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_ranks_behind_the_first_do_not_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock_folder(tmp_path, command="train"):
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with lock_folder(tmp_path, command="train"):
            pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with (
        pytest.raises(SvError, match="cannot write"),
        lock_folder(tmp_path / "out", command="train"),
    ):
        pass


def test_many_processes_exclude_one_another(tmp_path: Path) -> None:
    """Each adds 1 to a file under the lock, and tries again when it is refused."""
    script = """
import sys, time
from pathlib import Path
from sv_cli.errors import SvError
from sv_cli.lock import lock_folder
folder = Path(sys.argv[1])
for _ in range(30):
    while True:
        try:
            with lock_folder(folder, command="train"):
                place = folder / "count"
                value = int(place.read_text()) if place.exists() else 0
                time.sleep(0.0005)
                place.write_text(str(value + 1))
            break
        except SvError:
            time.sleep(0.001)
"""
    line = [sys.executable, "-c", script, str(tmp_path)]
    processes = [
        subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "90"


def test_a_folder_that_received_nothing_is_gone_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError), lock_folder(tmp_path / "new", command="train"):
        raise ValueError
    assert not (tmp_path / "new").exists()
    with lock_folder(tmp_path / "kept", command="train"):
        (tmp_path / "kept" / "file").touch()
    (tmp_path / "empty").mkdir()
    with lock_folder(tmp_path / "empty", command="train"):
        pass
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["empty", "kept"]
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.parametrize("kind", ["text", "link", "link to nothing", "fifo", "hard link"])
def test_a_file_that_is_no_lock_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    thesis, place = tmp_path / "thesis", tmp_path / "data" / ".lock"
    place.parent.mkdir()
    thesis.write_text("years of work")
    if kind == "text":
        place.write_text("years of work")
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "hard link":
        place.hardlink_to(thesis)
    else:
        place.symlink_to(thesis if kind == "link" else tmp_path / "new")
    with (
        pytest.raises(SvError, match="was not written by svtool"),
        lock_folder(place.parent, command="extract"),
    ):
        pass
    assert thesis.read_text() == "years of work"
    assert os.path.lexists(place)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "x", "pid": "no number", "host": "h", "since": "now"}',
        '{"command": "x", "pid": null, "host": "h", "since": "now"}',
        '{"command": "x", "pid": 1}',
        '{"command": ' + "[" * 4000,
        '{"comm',
    ],
)
def test_a_damaged_lock_is_taken_over(tmp_path: Path, text: str) -> None:
    (tmp_path / ".lock").write_text(text)
    with lock_folder(tmp_path, command="extract"):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_claims_last_until_the_end_of_the_command(tmp_path: Path) -> None:
    script = """
import sys
from sv_cli.lock import claim_outputs
claim_outputs(sys.argv[1], "-", "/dev/null", force=False)
"""
    line = [sys.executable, "-c", script, str(tmp_path / "out")]
    claim_outputs(tmp_path / "out", tmp_path / "other", force=False)
    try:
        refused = subprocess.run(line, capture_output=True, text=True)
    finally:
        release_claims()
    assert "out` is being written by" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run(line, capture_output=True).returncode == 0
    (tmp_path / "out").touch()
    with pytest.raises(SvError, match="exists already"):
        claim_outputs(tmp_path / "out", force=False)
    release_claims()
