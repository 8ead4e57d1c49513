"""CPU time of training steps with and without `sv_cli.memory.keep_freed_memory`, side by side.

    python benchmarks/allocator.py

Runs ECAPA-TDNN (GLOB c512, batch 32 of 200 frames, bf16 where the processor gains by it) in a
fresh process each, in turns, and prints the CPU seconds of the same steps and their ratio.
"""

import json
import subprocess
import sys

ROUNDS, STEPS = 3, 6
WORKER = """
import json, resource, sys, torch
from sv_cli.memory import keep_freed_memory
from sv_cli.models.registry import build_model
from sv_cli.training.learner import Classifier, make_head
from sv_cli.training.precision import autocast, choose_precision
from sv_cli.training.settings import LossSettings

kept, steps = bool(int(sys.argv[1])), int(sys.argv[2])
torch.set_num_threads(1)
if kept:
    keep_freed_memory()
encoder = build_model("ecapa_glob_c512")
network = Classifier(encoder, make_head(LossSettings(), embedding_dim=192, num_classes=100))
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
feats, labels = torch.randn(32, 200, 80), torch.randint(0, 100, (32,))
device = torch.device("cpu")
precision = choose_precision("auto", device)

def step():
    with autocast(precision, device):
        loss, _ = network(feats, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

step()
before = resource.getrusage(resource.RUSAGE_SELF)
for _ in range(steps):
    step()
after = resource.getrusage(resource.RUSAGE_SELF)
user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
print(json.dumps({"user": user, "sys": system}))
"""


def measure(kept: bool) -> dict[str, float]:
    """Return user and system seconds of the steps in a fresh process."""
    line = [sys.executable, "-c", WORKER, str(int(kept)), str(STEPS)]
    return json.loads(subprocess.run(line, capture_output=True, check=True, text=True).stdout)


def main() -> None:
    """Print each round and the ratio."""
    totals = {True: 0.0, False: 0.0}
    for _ in range(ROUNDS):
        for kept in (False, True):
            seconds = measure(kept)
            totals[kept] += seconds["user"] + seconds["sys"]
            name = "kept" if kept else "default"
            print(f"{name:8s} user {seconds['user']:6.2f} s  sys {seconds['sys']:6.2f} s")
    print(f"{STEPS} steps: default takes {totals[False] / totals[True]:.2f} times the CPU time")


if __name__ == "__main__":
    main()
