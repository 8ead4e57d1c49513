"""CPU seconds and peak memory of `svtool identify` on 10^5 enrolled speakers.

    python benchmarks/identify.py                              # 100,000 x 256, 10,000 tests
    python benchmarks/identify.py --num-enrolled 1000000 --num-tests 1000

The tables are made in a temporary folder (TMPDIR names its place); a test is the embedding of its
speaker with noise. The command is run as a user runs it, and its process is measured from outside,
start-up, reading and writing included.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from sv_cli.tables.embeddings import EmbeddingTable, ModelInfo, write_embeddings

DIM, NOISE = 256, 1.2
ROOT = str(Path(__file__).resolve().parent.parent)


def main() -> None:
    """Make the tables, run the command with one and with ten best speakers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-enrolled", type=int, default=100_000)
    parser.add_argument("--num-tests", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1, help="threads of the matrix products")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_tables(options.num_enrolled, options.num_tests)
        for top_k in (1, 10):
            run_identify(top_k, options.threads)


def make_tables(num_enrolled: int, num_tests: int) -> None:
    """Write enrolled embeddings, tests of some of them, and who the tests are."""
    generator = np.random.default_rng(0)
    enrolled = generator.standard_normal((num_enrolled, DIM), dtype=np.float32)
    who = generator.choice(num_enrolled, num_tests, replace=num_tests > num_enrolled)
    tests = enrolled[who] + NOISE * generator.standard_normal((num_tests, DIM), dtype=np.float32)
    info = ModelInfo("benchmark", DIM, 16000, "wespeaker", "none")
    names = [f"id{row:07d}" for row in range(num_enrolled)]
    write_embeddings("enrolled", EmbeddingTable(names, enrolled, info))
    utts = [f"test{row:07d}" for row in range(num_tests)]
    write_embeddings("test", EmbeddingTable(utts, tests, info))
    rows = zip(utts, who.tolist(), strict=True)
    Path("utt2spk").write_text("".join(f"{utt} {names[row]}\n" for utt, row in rows))


def run_identify(top_k: int, threads: int) -> None:
    """Run the command and print what it took."""
    line = f"identify enrolled test out.{top_k} --top-k {top_k} --threshold 0.4 --utt2spk utt2spk"
    command = [sys.executable, "-m", "sv_cli", *line.split()]
    environment = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"`svtool {line}` ended with {os.waitstatus_to_exitcode(status)}")
    print(f"top {top_k}: {cpu_seconds(usage):.1f} CPU s, {usage.ru_maxrss / 2**20:.2f} GB")


def cpu_seconds(usage: resource.struct_rusage) -> float:
    """Return user and system time."""
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
