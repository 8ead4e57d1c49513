"""Faults done to the long commands; each tells what happened, or fails."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from survival_jobs import (
    Job,
    children,
    command,
    environment,
    finish,
    kill_at_random,
    run,
    start,
    wait_for,
    wait_for_group_to_end,
    wipe,
)

Reference = dict[str, bytes]
FULL = {"make-fbank": "1000k", "extract": "16k", "train": "8m", "score-job": "24k"}


class CannotBeDone(Exception):
    """The machine does not let this fault be done."""


def go_on(job: Job, folder: Path, reference: Reference, *more: str) -> None:
    """Start the command again; it ends with the same bytes."""
    done = run(folder, [*job.arguments, *job.again, *more])
    assert done.returncode == job.done_status, done.stderr
    job.check_finished(folder, reference)


def said(errors: str, *, status: int, wanted: int = 1) -> str:
    """Return the error line of a command that ended as it should: told, without a traceback."""
    assert "Traceback" not in errors, errors
    assert status == wanted, errors
    lines = [line for line in errors.splitlines() if "error: " in line]
    return lines[-1].partition("error: ")[2] if lines else ""


def sigkill(moments: int) -> Callable[[Job, Path, Reference], str]:
    """Return a fault: SIGKILL of the first process at so many random moments."""

    def kill(job: Job, folder: Path, reference: Reference) -> str:
        kills = kill_at_random(job, folder, reference, moments=moments, seed=moments)
        assert kills.moments == moments
        ended = f", {kills.finished_before} ended before theirs" if kills.finished_before else ""
        return f"{moments} kills{ended}: same bytes, no orphan"

    return kill


def sigterm(job: Job, folder: Path, reference: Reference) -> str:
    process = start(folder, job.arguments)
    assert wait_for(folder / job.lock, process)
    time.sleep(0.5)
    process.terminate()
    errors = finish(process)
    saved = job.name == "train" and process.returncode == 0  # it came between two steps
    said(errors, status=process.returncode, wanted=0 if saved else 130)
    wait_for_group_to_end(process.pid)
    job.check_visible(folder, reference)
    assert not list(folder.rglob(".*.tmp"))
    go_on(job, folder, reference)
    how = "state saved, status 0" if saved else "status 130"
    return f"{how}, no orphan; same bytes"


def disk_full(job: Job, folder: Path, reference: Reference) -> str:
    errors, status = in_small_disk(job, folder, options=f"size={FULL[job.name]}")
    told = said(errors, status=status)
    assert "No space left on device" in told, errors
    job.check_finished(folder, reference)
    return "status 1, `No space left on device`; with space again: same bytes"


def file_too_large(job: Job, folder: Path, reference: Reference) -> str:
    largest = {"make-fbank": 100_000, "extract": 1500, "train": 1_000_000, "score-job": 1500}
    limit = largest[job.name]
    done = subprocess.run(
        command(job.arguments), cwd=folder, env=environment(), text=True, capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    told = said(done.stderr, status=done.returncode)
    assert "File too large" in told, done.stderr
    job.check_visible(folder, reference)
    go_on(job, folder, reference)
    return "status 1, `File too large`; same bytes"


def read_only(job: Job, folder: Path, reference: Reference) -> str:
    (folder / "out").write_text("a file where the folder should be")
    done = run(folder, job.arguments)
    said(done.stderr, status=done.returncode)
    (folder / "out").unlink()
    errors, status = in_small_disk(job, folder, options="ro", again="remount,rw,size=64m")
    assert "Read-only file system" in said(errors, status=status), errors
    job.check_finished(folder, reference)
    return "status 1, `Read-only file system`; writable again: same bytes"


def in_small_disk(
    job: Job, folder: Path, *, options: str, again: str = "remount,size=64m"
) -> tuple[str, int]:
    """Run in a disk of its own, enlarge it, go on, and copy what is there to the real disk."""
    words = " ".join(f"'{word}'" for word in command(job.arguments))
    resumed = " ".join([words, *job.again])
    script = f"""
        mkdir -p out && mount -t tmpfs -o {options} none out || exit 99
        {words} 2> full.log; echo $? > full.status
        mount -o {again} none out || exit 99
        {resumed} 2> again.log || exit 98
        rm -rf saved && cp -a out saved
    """
    line = ["unshare", "-m", "sh", "-c", script]
    done = subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode in (1, 99, 127):
        raise CannotBeDone(f"no disk of its own can be mounted: {done.stderr.strip()}")
    assert done.returncode == 0, (folder / "again.log").read_text()
    wipe(folder)
    (folder / "saved").rename(folder / "out")
    return (folder / "full.log").read_text(), int((folder / "full.status").read_text())


def vanished_input(job: Job, folder: Path, reference: Reference) -> str:
    """Some recordings are gone, then the whole of the data; then all is there again."""
    gone = sorted((folder / "incoming").iterdir())[20:40:4]
    (folder / "kept").mkdir()
    for path in gone:
        path.rename(folder / "kept" / path.name)
    done = run(folder, job.arguments)
    status = {"train": 1, "score-job": 0}.get(job.name, 3)
    said(done.stderr, status=done.returncode, wanted=status)
    if job.name != "score-job":  # a watched folder never held them
        assert any(path.stem in done.stderr for path in gone), done.stderr
    (folder / "incoming").rename(folder / "away")
    if job.name == "score-job":
        again = run(folder, job.arguments)
        assert "no such directory" in said(again.stderr, status=again.returncode)
    (folder / "away").rename(folder / "incoming")
    for path in gone:
        (folder / "kept" / path.name).rename(path)
    (folder / "kept").rmdir()
    go_on(job, folder, reference)
    how = {0: "the rest scored, status 0", 1: "status 1, named", 3: "skipped by name, status 3"}
    return f"{how[status]}; there again: same bytes"


def broken_pipe(job: Job, folder: Path, reference: Reference) -> str:
    """The reader of the messages goes away; so does that of the data, where they go to a pipe."""
    process = start(folder, job.arguments)
    assert process.stderr is not None
    process.stderr.close()
    process.wait()
    assert process.returncode == job.done_status
    job.check_finished(folder, reference)
    told = "goes on without the reader of its messages: same bytes"
    if job.name not in ("make-fbank", "extract"):
        return told
    words = job.arguments[:-3]
    line = " ".join(command([*words, "ark:-"]))
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -c 10 > head; exit ${{PIPESTATUS[0]}}"],
        cwd=folder, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert "the reader of the output went away" in said(done.stderr, status=done.returncode)
    return told + "; `| head`: status 1, said"


def dead_worker(job: Job, folder: Path, reference: Reference) -> str:
    """A worker is killed as the system does it when memory runs out."""
    process = start(folder, [*job.arguments, *job.pool])
    assert wait_for(folder / job.lock, process)
    deadline = time.monotonic() + 60
    while len(workers := children(process.pid)) < job.workers and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert workers, finish(process)
    os.kill(workers[-1], signal.SIGKILL)
    errors = finish(process)
    told = said(errors, status=process.returncode)
    assert str(workers[-1]) in told, errors
    by_signal = "SIGKILL" in told or "Killed" in told  # torch does not always know it
    assert by_signal or job.name == "train", errors
    wait_for_group_to_end(process.pid)
    job.check_visible(folder, reference)
    go_on(job, folder, reference)
    named = "pid and signal" if job.name != "train" else "pid"
    return f"status 1, the worker named by {named}, no orphan; same bytes"


def no_memory(job: Job, folder: Path, reference: Reference) -> str:
    """A recording is longer than memory: 2 GB of samples under a limit of 6 GB of addresses."""
    path = sorted((folder / "incoming").iterdir())[30]
    kept = path.read_bytes()
    num_samples = 1 << 30
    soundfile.write(path, np.zeros(1, np.int16), 16000)
    header = bytearray(path.read_bytes()[:44])
    header[4:8] = (36 + 2 * num_samples).to_bytes(4, "little")
    header[40:44] = (2 * num_samples).to_bytes(4, "little")
    path.write_bytes(header)
    os.truncate(path, 44 + 2 * num_samples)  # sparse: it takes no room on the disk
    limit = 6 << 30
    done = subprocess.run(
        command(job.arguments), cwd=folder, env=environment(), text=True, capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    path.write_bytes(kept)
    if job.name == "train":  # crops are read out of it, not the whole
        assert done.returncode == 0, done.stderr
        wipe(folder)
        go_on(job, folder, reference)
        return "reads crops alone and goes on"
    job.check_visible(folder, reference)
    told = said(done.stderr, status=done.returncode)
    assert "out of memory" in told, done.stderr
    go_on(job, folder, reference)
    return "status 1, `out of memory`; same bytes"


def clock_change(job: Job, folder: Path, reference: Reference) -> str:
    """All inputs come from the future; what a killed run left is from 1970."""
    future = time.time() + 10 * 365 * 86400
    for path in folder.rglob("*"):
        os.utime(path, (future, future))
    process = start(folder, job.arguments)
    assert wait_for(folder / job.lock, process)
    time.sleep(1.0)
    process.kill()
    process.communicate()
    for path in (folder / "out").rglob("*"):
        os.utime(path, (0, 0))
    runs = 1
    if job.name == "score-job":
        run(folder, job.arguments)
        runs = 2
    go_on(job, folder, reference)
    return f"same bytes ({runs} more run{'s' if runs > 1 else ''})"


def second_copy(job: Job, folder: Path, reference: Reference) -> str:
    process = start(folder, job.arguments)
    assert wait_for(folder / job.lock, process)
    again = run(folder, [*job.arguments, *job.again])
    refused = process.poll() is None
    errors = finish(process)
    assert process.returncode == job.done_status, errors
    if refused:
        told = said(again.stderr, status=again.returncode)
        assert "is being written by" in told and f"pid {process.pid}" in told, again.stderr
    job.check_finished(folder, reference)
    return "status 1, the first named by pid, host and time; the first goes on"


FAULTS: dict[str, Callable[[Job, Path, Reference], str]] = {
    "SIGTERM": sigterm,
    "disk full": disk_full,
    "file size limit": file_too_large,
    "read-only output": read_only,
    "vanished input": vanished_input,
    "broken pipe": broken_pipe,
    "worker killed": dead_worker,
    "out of memory": no_memory,
    "clock change": clock_change,
    "second copy": second_copy,
}


def inflict(fault: str, job: Job, inputs: Path, folder: Path, reference: Reference) -> str:
    """Do one fault in a copy of the inputs; return what happened."""
    shutil.copytree(inputs, folder, symlinks=True)
    wipe(folder)
    if fault.startswith("SIGKILL"):
        return sigkill(int(fault.split()[1]))(job, folder, reference)
    return FAULTS[fault](job, folder, reference)
