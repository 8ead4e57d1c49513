"""CPU seconds and peak memory of the scoring commands on a job of the size of VoxCeleb1-E.

    python benchmarks/scoring.py                    # 145,160 x 256, 579,818 trials, cohort 5,994
    python benchmarks/scoring.py --growth           # 10^5 to 10^8 trials: 9 GB of disk
    python benchmarks/scoring.py --growth 1e5 3.7e7 --only score eval

The tables are made in a temporary folder (TMPDIR names its place); each command is run as a user
runs it, and its process is measured from outside, start-up, reading and writing included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sv_cli.tables.kaldi.arrays import ArrayWriter

NUM_EMBEDDINGS, DIM, NUM_TRIALS, NUM_COHORT = 145_160, 256, 579_818, 5_994
ROOT = str(Path(__file__).resolve().parent.parent)
TRIALS_A_WRITE = 1_000_000
GROWTH = (1e5, 1e6, 1e7, 1e8)


@dataclass(frozen=True)
class Measured:
    """One run of a command."""

    name: str
    num_trials: int
    cpu_seconds: float
    wall_seconds: float
    peak_gb: float


def main() -> None:
    """Make the tables, run the commands, print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--growth", type=float, nargs="*", help="numbers of trials [10^5 to 10^8]")
    parser.add_argument("--threads", type=int, default=1, help="threads of the matrix products")
    parser.add_argument("--only", nargs="*", default=[], help="names of the commands to run")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.json:
            options.json = options.json.resolve()
        os.chdir(folder)
        if options.growth is None:
            measured = measure_jobs(options.only, options.threads)
        else:
            sizes = [int(size) for size in options.growth or GROWTH]
            measured = measure_growth(sizes, options.only, options.threads)
    if options.json:
        options.json.write_text(json.dumps([asdict(m) for m in measured], indent=1) + "\n")


def measure_jobs(only: list[str], threads: int) -> list[Measured]:
    """Run each command on the list of the size of VoxCeleb1-E."""
    # keys as long as those of VoxCeleb
    ids = [f"id{row // 24:05d}-abcdefghijk-{row % 24:05d}" for row in range(NUM_EMBEDDINGS)]
    make_tables(ids)
    make_trials("trials", NUM_TRIALS, ids)
    make_durations("data", ids)
    return [
        run(name, arguments, NUM_TRIALS, threads)
        for name, arguments in jobs().items()
        if not only or name in only
    ]


def jobs() -> dict[str, list[str]]:
    """Command lines by name, in the order in which they need each other."""
    both = ["emb", "emb"]
    return {
        "score": ["score", "trials", *both, "scores"],
        "score --submean": ["score", "trials", *both, "scores.submean", "--submean", "cohort"],
        "asnorm": ["asnorm", "scores", *both, "cohort", "asnormed", "--stats", "stats"],
        "asnorm --use-stats": [
            "asnorm", "scores", *both, "cohort", "asnormed2", "--use-stats", "stats",
        ],
        "snorm": ["asnorm", "scores", *both, "cohort", "snormed", "--method", "snorm"],
        "plda train": ["plda", "train", "spk2utt", "emb", "plda"],
        "plda score": ["plda", "score", "plda", *both, "trials", "llrs"],
        "mean": ["mean", "spk2utt", "emb", "means", "num_utts"],
        "qmf measure": ["qmf", "measure", "data", "emb", "quality", "--stats", "stats"],
        "qmf train": ["qmf", "train", "trials", "asnormed", "quality", "qmf.json"],
        "qmf apply": ["qmf", "apply", "qmf.json", "asnormed", "quality", "qmfed"],
        "calibrate train": ["calibrate", "train", "trials", "qmfed", "calibration.json"],
        "calibrate apply": ["calibrate", "apply", "calibration.json", "qmfed", "calibrated"],
        "fuse train": ["fuse", "train", "trials", "scores", "asnormed", "fusion.json"],
        "fuse apply": ["fuse", "apply", "fusion.json", "scores", "asnormed", "fused"],
        "eval": ["eval", "trials", "calibrated"],
        "score --dense --top-k 1": ["score", "--dense", "cohort", "emb", "best", "--top-k", "1"],
        "score --dense --top-k 1 --precision bf16": [
            "score", "--dense", "cohort", "emb", "best16", "--top-k", "1", "--precision", "bf16",
        ],
    }  # fmt: skip


def measure_growth(sizes: list[int], only: list[str], threads: int) -> list[Measured]:
    """Run the commands that work off lists on longer and longer ones, with short keys."""
    ids = [f"u{row}" for row in range(NUM_EMBEDDINGS)]
    make_tables(ids)
    make_trials("some", NUM_EMBEDDINGS, ids)  # meets every embedding
    both = ["emb", "emb"]
    run("score", ["score", "some", *both, "some.scores"], NUM_EMBEDDINGS, threads)
    commands = {
        "score": ["score", "list", *both, "list.scores"],
        "eval": ["eval", "list", "list.scores"],
        "asnorm --use-stats": [
            "asnorm", "list.scores", *both, "cohort", "list.asnorm", "--use-stats", "stats",
        ],
        "plda score": ["plda", "score", "plda", *both, "list", "list.llrs"],
    }  # fmt: skip
    wanted = [name for name in commands if not only or name in only]
    if "asnorm --use-stats" in wanted:
        arguments = ["asnorm", "some.scores", *both, "cohort", "some.asnorm", "--stats", "stats"]
        run("asnorm", arguments, NUM_EMBEDDINGS, threads)
    if "plda score" in wanted:
        run("plda train", ["plda", "train", "spk2utt", "emb", "plda"], NUM_EMBEDDINGS, threads)
    measured = []
    for size in sizes:
        make_trials("list", size, ids)
        for name in wanted:
            measured.append(run(name, commands[name], size, threads))
            for made in ("list.asnorm", "list.llrs"):  # as large as the list
                Path(made).unlink(missing_ok=True)
        Path("list.scores").unlink(missing_ok=True)
    return measured


def make_tables(ids: list[str]) -> None:
    """Embeddings of speakers with 24 utterances each, a cohort, spk2utt."""
    generator = np.random.default_rng(0)
    speakers = generator.standard_normal((NUM_EMBEDDINGS // 24 + 1, DIM)).astype(np.float32)
    noise = generator.standard_normal((NUM_EMBEDDINGS, DIM)).astype(np.float32)
    write("emb", ids, speakers[np.arange(NUM_EMBEDDINGS) // 24] + noise)
    cohort = generator.standard_normal((NUM_COHORT, DIM)).astype(np.float32)
    write("cohort", [f"cohort{row:05d}" for row in range(NUM_COHORT)], cohort)
    with Path("spk2utt").open("w") as stream:
        for speaker in range(NUM_EMBEDDINGS // 24):
            stream.write(f"id{speaker:05d} {' '.join(ids[24 * speaker : 24 * speaker + 24])}\n")


def make_durations(folder: str, ids: list[str]) -> None:
    """Durations between 2 and 20 seconds, for the quality measures."""
    Path(folder).mkdir()
    seconds = np.random.default_rng(1).uniform(2, 20, len(ids)).tolist()
    lines = [f"{utt} {value:.2f}\n" for utt, value in zip(ids, seconds, strict=True)]
    (Path(folder) / "utt2dur").write_text("".join(lines))


def write(folder: str, ids: list[str], matrix: np.ndarray) -> None:
    """Write a table of embeddings."""
    with ArrayWriter(f"ark,scp:{folder}/xvector.ark,{folder}/xvector.scp") as writer:
        for key, row in zip(ids, matrix, strict=True):
            writer.write(key, row)


def make_trials(path: str, num_trials: int, ids: list[str]) -> None:
    """Distinct pairs in a scattered order, one in two of the same speaker, in blocks."""
    with Path(path).open("w") as stream:
        for start in range(0, num_trials, TRIALS_A_WRITE):
            trial = np.arange(start, min(start + TRIALS_A_WRITE, num_trials))
            # a stride without common divisor visits every utterance before it comes back
            enroll = (trial * 88_883) % NUM_EMBEDDINGS
            shift = 1 + trial // NUM_EMBEDDINGS
            test = (enroll + shift) % NUM_EMBEDDINGS
            same = enroll // 24 == test // 24
            words = np.where(same, "target", "nontarget").tolist()
            rows = zip(enroll.tolist(), test.tolist(), words, strict=True)
            stream.write("".join([f"{ids[e]} {ids[t]} {word}\n" for e, t, word in rows]))


def run(name: str, arguments: list[str], num_trials: int, threads: int) -> Measured:
    """Run a command in a process of its own and print what it took."""
    count = str(threads)
    paths = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    environment = dict(
        os.environ, OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count, PYTHONPATH=paths
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    command = [sys.executable, "-c", _PEAK, *arguments]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = int(done.stderr.rsplit("peak_kb=", 1)[1]) / 1e6
    measured = Measured(name, num_trials, round(cpu, 2), round(wall, 2), round(peak, 3))
    per_million = 1e6 * cpu / num_trials
    print(
        f"{name:24s} {num_trials:11,d} trials {cpu:8.2f} CPU-s {per_million:7.2f} CPU-s a million "
        f"{wall:8.2f} s {peak:7.3f} GB",
        flush=True,
    )
    return measured


# the high-water mark of the process itself: ru_maxrss starts from the parent's
_PEAK = """
import sys
sys.argv[0] = "svtool"
from sv_cli.cli import main
try:
    main()
finally:
    status = open("/proc/self/status").read()
    print("peak_kb=" + status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""

if __name__ == "__main__":
    main()
