"""`svtool data` commands that write audio, killed at work: nothing is half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_cli.tables.datadir.directory import DataDir

COMMANDS = {
    "to-shar": ("to-shar", "data", "out", "--shard-size", "2"),
    "resample": ("resample", "data", "out", "--rate", "8000"),
    "perturb-speed": ("perturb-speed", "data", "out", "--write-audio"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed")
    rng = np.random.Generator(np.random.PCG64(3))
    wav = {}
    for number in range(120):
        wav[f"s{number % 4}-u{number:03d}"] = str(root / f"{number}.wav")
        samples = (3000 * rng.standard_normal(64000)).astype(np.int16)
        soundfile.write(root / f"{number}.wav", samples, 16000)
    DataDir.from_tables(wav=wav, utt2spk={utt: utt[:2] for utt in wav}).write(root / "data")
    return root / "data"


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "sv_cli", "data", *arguments, "--num-procs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            line, cwd=folder, env=environment, start_new_session=True, stderr=log
        )


def finished(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of each file that is in its place."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def kill_when(killed: subprocess.Popen[bytes], out: Path, count: int) -> None:
    """Kill a command and its workers once so many files are in their place."""
    while killed.poll() is None:
        if sum(not path.name.startswith(".") for path in out.rglob("*.*")) >= count:
            break
        time.sleep(0.005)
    assert killed.poll() is None, "it ended before it could be killed"
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_goes_on(name: str, data: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"{after}" for after in (0, 1, 17, 40)]
    for folder in folders:
        folder.mkdir()
        (folder / "data").symlink_to(data)
    whole = start(folders[0], *COMMANDS[name])
    assert whole.wait() == 0, (folders[0] / "log").read_text()
    expected = {key: raw for key, (raw, _) in finished(folders[0] / "out").items()}
    for folder in folders[1:]:
        out = folder / "out"
        kill_when(start(folder, *COMMANDS[name]), out, int(folder.name))
        left = finished(out)
        assert int(folder.name) <= len(left) < len(expected)
        assert {key: raw for key, (raw, _) in left.items()}.items() <= expected.items()
        again = start(folder, *COMMANDS[name], "--resume")
        assert again.wait() == 0, (folder / "log").read_text()
        resumed = finished(out)
        assert {key: raw for key, (raw, _) in resumed.items()} == expected
        kept = [key for key in left if key.endswith((".flac", ".index"))]
        assert all(resumed[key] == left[key] for key in kept)
        assert not list(out.rglob(".*.tmp"))
