"""Print the table command x fault -> what happened: `python tests/survival/fault_table.py`.

Words after it choose commands and faults (`extract`, `"disk full"`); `--kills N` sets the random
moments of SIGKILL (20).
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from survival_faults import FAULTS, CannotBeDone, inflict
from survival_jobs import JOBS, make_inputs, run, wipe


def main(words: list[str]) -> int:
    kills = 20
    if "--kills" in words:
        place = words.index("--kills")
        kills = int(words[place + 1])
        del words[place : place + 2]
    faults = [f"SIGKILL {kills}", *FAULTS]
    chosen = [fault for fault in faults if not set(words) & set(faults) or fault in words]
    commands = [name for name in JOBS if not set(words) & set(JOBS) or name in words]
    failures = 0
    print("| command | fault | what happened |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        inputs = make_inputs(Path(temporary) / "inputs")
        for name in commands:
            job = JOBS[name]
            run(inputs, job.arguments)
            reference = job.read(inputs)
            wipe(inputs)
            for number, fault in enumerate(chosen):
                folder = Path(temporary) / f"{name}-{number}"
                try:
                    happened = inflict(fault, job, inputs, folder, reference)
                except CannotBeDone as reason:
                    happened = f"not done: {reason}"
                except AssertionError as error:
                    failures += 1
                    happened = "FAILED: " + " ".join(str(error).split())[-600:]
                shown = "SIGKILL" if fault.startswith("SIGKILL") else fault
                print(f"| `{name}` | {shown} | {happened} |", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
