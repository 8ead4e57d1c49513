"""Whatever is done to a long command, nothing finished is lost and nothing half-written is seen."""

from pathlib import Path

import pytest
from survival_faults import FAULTS, CannotBeDone, inflict
from survival_jobs import JOBS, make_inputs, run, wipe

pytestmark = pytest.mark.timeout(1800)
# By default one command of each kind: parts joined at the end, rows appended.
QUICK = {
    ("make-fbank", "SIGKILL 2"), ("score-job", "SIGKILL 3"), ("extract", "SIGKILL 2"),
    ("train", "SIGKILL 2"),
}  # fmt: skip
CASES = [
    pytest.param(name, fault, marks=() if (name, fault) in QUICK else pytest.mark.slow)
    for name in JOBS
    for fault in ("SIGKILL 2", "SIGKILL 3", "SIGKILL 20", *FAULTS)
    if (name, fault) in QUICK or fault not in ("SIGKILL 2", "SIGKILL 3")
]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("survival") / "inputs")


@pytest.fixture(scope="session")
def references(inputs: Path) -> dict[str, dict[str, bytes]]:
    """What each command writes when it is left alone; filled on demand."""
    return {}


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_command_survives(
    name: str, fault: str, inputs: Path, references: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    job = JOBS[name]
    if name not in references:
        done = run(inputs, job.arguments)
        assert done.returncode == job.done_status, done.stderr
        references[name] = job.read(inputs)
        assert references[name].keys() == set(job.outputs)
        wipe(inputs)
    try:
        inflict(fault, job, inputs, tmp_path / "case", references[name])
    except CannotBeDone as reason:
        pytest.skip(str(reason))
