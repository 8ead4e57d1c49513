"""One copy of the noise for the processes of a machine, and what happens when the first fails."""

import errno
import hashlib
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sv_cli.augment import sharing
from sv_cli.augment.banks import Series, hold_banks
from sv_cli.augment.recordings import Form, find_series
from sv_cli.augment.settings import AugmentSettings
from sv_cli.augment.sharing import load_banks
from sv_cli.errors import SvError
from sv_cli.training import machine
from sv_cli.training.distributed import World, join_world
from sv_cli.training.machine import Machine

Find = Callable[[], Iterator[Series]]

# Forked, for a fresh process takes seconds until torch is there.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Reading:
    """The recordings of a chain, read in one of several ways."""

    def __init__(self, rooms: Path, how: str) -> None:
        self.rooms, self.how, self.called = rooms, how, False

    def find(self) -> list[Series]:
        """Return them as the chain finds them."""
        chain = {"musan": f"{self.rooms}/musan", "rir": f"{self.rooms}/rir"}
        settings = AugmentSettings.model_validate({"chain": "speaker-net", **chain})
        return find_series(settings, Form(16000))

    def __call__(self) -> Iterator[Series]:
        """Give them, or fail at the second series."""
        self.called = True
        for number, series in enumerate(self.find()):
            if number == 1 and self.how == "fails":
                raise SvError("the noise is gone", hint="bring it back")
            if number == 1 and self.how == "breaks":
                raise ZeroDivisionError("by mistake")
            if number == 1 and self.how == "full":
                raise OSError(errno.ENOSPC, "No space left on device")
            yield Series(series.kinds, self._delayed(series))

    def _delayed(self, series: Series) -> Iterator[np.ndarray]:
        for waveform in series.waveforms:
            time.sleep(0.25 if self.how == "long" else 0.0)
            yield waveform


def digest(samples: np.ndarray) -> str:
    return hashlib.sha256(samples.tobytes()).hexdigest()


def told_by(rank: int, reading: Reading, folder: Path, world: World) -> dict[str, object]:
    """Return what a process has and sees once the banks are there, or its error."""
    shared = Machine(world)
    try:
        if reading.how == "alone":
            shared.each(lambda: 1 // rank)
        banks = load_banks(reading, num_samples=8000, sharing=shared)
    except Exception as error:
        return {"error": type(error).__name__, "said": str(error)}
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    return {
        "bits": digest(banks.samples),
        "alone": digest(hold_banks(reading.find(), num_samples=8000).samples),
        "kinds": {kind: list(place) for kind, place in banks.index.kinds.items()},
        "called": reading.called,
        "inodes": [line[4] for line in mapped if str(folder) in " ".join(line[5:])],
    }


def run_rank(rank: int, port: int, reading: Reading, folder: Path) -> None:
    """Be one of two processes of a machine, whose TMPDIR is `folder`."""
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    tempfile.tempdir = str(folder)
    machine.PULSE_SECONDS = 0.2
    with join_world("cpu", timeout_seconds=2.0 if reading.how == "long" else 30.0) as world:
        told = told_by(rank, reading, folder, world)
        (folder.parent / f"{rank}.json").write_text(json.dumps(told))


def run_both(rooms: Path, how: str, folder: Path) -> list[dict]:
    """Return what the two processes told, by rank."""
    folder.mkdir()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    context = multiprocessing.get_context("fork")
    both = [
        context.Process(target=run_rank, args=(rank, port, Reading(rooms, how), folder))
        for rank in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    return [json.loads((folder.parent / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("how", ["plain", pytest.param("long", marks=pytest.mark.slow)])
def test_both_have_the_bits_of_one_and_nothing_is_left(
    rooms: Path, tmp_path: Path, how: str
) -> None:
    """`long`: reading takes longer than the processes wait for one another."""
    first, second = run_both(rooms, how, tmp_path / "tmp")
    assert first["bits"] == second["bits"] == first["alone"] == second["alone"]
    assert first["kinds"] == second["kinds"] and first["kinds"]["speech"] == [8, 4]
    assert first["called"] and not second["called"], "each has read for itself"
    assert first["inodes"] == second["inodes"] and len(first["inodes"]) == 1, "not one file"
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("fails", "SvError", "the noise is gone"),
        ("full", "SvError", "no room for the recordings of the augmentation after"),
        ("breaks", "TrainingError", "process 0: ZeroDivisionError: by mistake"),
        ("alone", "TrainingError", "process 0: ZeroDivisionError: integer division"),
    ],
)
def test_a_failure_of_the_first_ends_both(
    rooms: Path, tmp_path: Path, how: str, error: str, words: str
) -> None:
    first, second = run_both(rooms, how, tmp_path / "tmp")
    assert second["error"] == error and words in second["said"]
    assert first["error"] == (error if error == "SvError" else "ZeroDivisionError")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_without_room_is_told_in_a_line(
    rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/dev/full` refuses every byte, as a full disk does."""
    monkeypatch.setattr(sharing, "_nameless_file", partial(Path("/dev/full").open, "wb"))
    with pytest.raises(SvError) as caught:
        load_banks(Reading(rooms, "plain"), num_samples=8000, sharing=Machine(World(0, 1, None)))
    assert "no room for the recordings of the augmentation" in caught.value.message
    assert "\n" not in caught.value.message and "TMPDIR" in str(caught.value.hint)


def test_a_system_that_hides_open_files_lets_each_hold_its_own(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_OPEN_FILES", tmp_path / "none")
    reading = Reading(rooms, "plain")
    banks = load_banks(reading, num_samples=8000, sharing=Machine(World(0, 1, None)))
    assert digest(banks.samples) == digest(hold_banks(reading.find(), num_samples=8000).samples)
