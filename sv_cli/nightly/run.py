"""One run of a job: what is new is read, scored and appended, and a summary is left."""

import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sv_cli import __version__, logs
from sv_cli.atomic import atomic_open
from sv_cli.errors import SvError
from sv_cli.lock import lock_folder
from sv_cli.nightly.incoming import Incoming, is_settled, list_incoming
from sv_cli.nightly.settings import JobSettings
from sv_cli.nightly.state import JobState
from sv_cli.nightly.tally import Tally


def run_job(settings: JobSettings) -> Tally:
    """Score what is new, and write `summary.json`, also when the run fails.

    Raises
    ------
    SvError
        When another run is at work, or a table is wrong.
    """
    out = Path(settings.out)
    with lock_folder(out, command="score-job"):
        started, tally = time.time(), Tally()
        try:
            _run(settings, JobState.load(out), tally)
        except BaseException as error:
            reason = getattr(error, "message", "") or str(error) or type(error).__name__
            with suppress(SvError):  # the error that ends the run is reported, not the full disk
                _write_summary(settings, tally, started, error=reason)
            raise
        _write_summary(settings, tally, started)
    return tally


def _run(settings: JobSettings, state: JobState, tally: Tally) -> None:
    incoming = list_incoming(
        settings.recordings, suffixes=settings.suffixes, audio_root=settings.audio_root
    )
    tally.found = len(incoming)
    new = _choose(incoming, settings, state, tally)
    if new:
        from sv_cli.nightly.batches import Batches  # torch is loaded when there is something to do

        Batches(settings, state, tally).score(new)
    state.write_notes()
    tally.given_up = {
        key: failure.error
        for key, failure in state.failures.items()
        if failure.attempts >= settings.max_attempts
    }


def _choose(
    incoming: Sequence[Incoming], settings: JobSettings, state: JobState, tally: Tally
) -> list[Incoming]:
    """Return what is new and ready; the rest is counted."""
    new = []
    now = time.time()
    seen, state.seen = state.seen, {}
    for each in incoming:
        if each.key in state.done:
            tally.done_before += 1
            if each.form != state.done[each.key]:
                tally.changed.append(each.key)
            continue
        failure = state.failures.get(each.key)
        if failure is not None and failure.form != each.form:
            del state.failures[each.key]  # a different file: its attempts are counted from 0
            failure = None
        if failure is not None and failure.attempts >= settings.max_attempts:
            continue
        if is_settled(each.form, seen.get(each.key), settle_seconds=settings.settle_seconds):
            new.append(each)
            continue
        tally.waiting += 1
        before = seen.get(each.key)
        state.seen[each.key] = before if before and before[0] == each.form else (each.form, now)
    if tally.changed:
        logs.warn(f"{len(tally.changed)} recordings changed after they were scored")
    return new


def _write_summary(
    settings: JobSettings, tally: Tally, started: float, *, error: str | None = None
) -> None:
    values = {
        "status": "failed" if error else "skipped" if tally.failed else "done",
        "error": error,
        "started": _clock(started),
        "finished": _clock(time.time()),
        "host": socket.gethostname(),
        "svtool": __version__,
        **asdict(tally),
        "settings": settings.model_dump(mode="json"),
    }
    with atomic_open(Path(settings.out) / "summary.json") as stream:
        json.dump(values, stream, indent=1)
        stream.write("\n")


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
