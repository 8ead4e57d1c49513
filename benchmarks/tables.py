"""Time tables: embeddings against kaldiio, and `svtool data` on VoxCeleb2-sized directories.

python benchmarks/tables.py             # both
python benchmarks/tables.py 1090000     # utterances of the directory
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np

from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.kaldi.arrays import ArrayTable, ArrayWriter, iterate_arrays

NUM_EMBEDDINGS, DIM, ROUNDS = 20_000, 256, 5
NUM_SPEAKERS = 5_994
ROOT = str(Path(__file__).parents[1])


def main(num_utts: int) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        compare_with_kaldiio()
        time_data_directory(num_utts)


def compare_with_kaldiio() -> None:
    """Write, read in order and read by key 20,000 x 256, in turns; the best of each counts."""
    rows = np.random.default_rng(0).standard_normal((NUM_EMBEDDINGS, DIM), dtype=np.float32)
    keys = [f"id{row:05d}-abcdefghijk-{row:05d}" for row in range(NUM_EMBEDDINGS)]
    order = np.random.default_rng(1).permutation(NUM_EMBEDDINGS)[:5000].tolist()

    def write_ours() -> None:
        with ArrayWriter("ark,scp:a.ark,a.scp") as writer:
            for key, row in zip(keys, rows, strict=True):
                writer.write(key, row)

    def write_theirs() -> None:
        with kaldiio.WriteHelper("ark,scp:b.ark,b.scp") as writer:
            for key, row in zip(keys, rows, strict=True):
                writer(key, row)

    def choose(table: ArrayTable) -> None:
        for row in order:
            table[keys[row]]

    def choose_theirs() -> None:
        table = kaldiio.load_scp("b.scp")
        for row in order:
            table[keys[row]]

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "write ark and scp": (write_ours, write_theirs),
        "read an ark in order": (
            lambda: list(iterate_arrays("ark:a.ark")), lambda: list(kaldiio.load_ark("b.ark")),
        ),
        "read an scp whole": (
            lambda: read_embeddings("scp:a.scp").matrix,
            lambda: np.stack(list(kaldiio.load_scp("b.scp").values())),
        ),
        "5,000 of an scp by key": (lambda: choose(ArrayTable("scp:a.scp")), choose_theirs),
    }  # fmt: skip
    print(f"{NUM_EMBEDDINGS} x {DIM}: CPU s of svtool, of kaldiio, ratio")
    for name, (ours, theirs) in pairs.items():
        taken = [min(each) for each in zip(*((cpu(ours), cpu(theirs)) for _ in range(ROUNDS)),
                                           strict=True)]  # fmt: skip
        print(f"{name:24} {taken[0]:7.3f} {taken[1]:7.3f} {taken[1] / taken[0]:6.2f}", flush=True)


def cpu(function: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kaldiio leaves files open
        function()
    return time.process_time() - start


def time_data_directory(num_utts: int) -> None:
    """Make a directory, then validate, fix and split it by the commands."""
    make_directory(Path("vox2"), num_utts)
    print(f"data directory of {num_utts} utterances: CPU s, s, GB")
    commands = {
        "validate": ["validate", "vox2"],
        "fix, nothing wrong": ["fix", "vox2"],
        "split by 40": ["split", "vox2", "40", "parts"],
    }
    for name, arguments in commands.items():
        run(name, arguments)
    break_directory(Path("vox2"))
    run("fix, 1 % unsorted", ["fix", "vox2"])
    run("validate again", ["validate", "vox2"])


def make_directory(folder: Path, num_utts: int) -> None:
    """Write wav.scp, utt2spk, spk2utt, utt2dur with keys as long as those of VoxCeleb2."""
    folder.mkdir()
    per_spk = -(-num_utts // NUM_SPEAKERS)
    spks = [f"id{row // per_spk:05d}" for row in range(num_utts)]
    utts = [f"{spk}-abcdefghijk-{row % per_spk:05d}" for row, spk in enumerate(spks)]
    write(folder / "wav.scp", [f"{u} /corpora/vox2/dev/aac/{u}.flac" for u in utts])
    write(folder / "utt2spk", [f"{u} {spk}" for u, spk in zip(utts, spks, strict=True)])
    write(folder / "utt2dur", [f"{u} {4 + row % 400 / 100}" for row, u in enumerate(utts)])
    groups: dict[str, list[str]] = {}
    for utt, spk in zip(utts, spks, strict=True):
        groups.setdefault(spk, []).append(utt)
    write(folder / "spk2utt", [f"{spk} {' '.join(members)}" for spk, members in groups.items()])


def break_directory(folder: Path) -> None:
    """Move every hundredth line of wav.scp to its end."""
    lines = (folder / "wav.scp").read_text().splitlines()
    moved = lines[::100]
    del lines[::100]
    write(folder / "wav.scp", lines + moved)


def write(path: Path, lines: list[str]) -> None:
    """Write lines."""
    path.write_text("\n".join(lines) + "\n")


def run(name: str, arguments: list[str]) -> None:
    """Run `svtool data` in a process of its own and print what it took."""
    environment = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "sv_cli", "data", *arguments, "--quiet"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:24} {seconds:7.2f} {wall:7.2f} {after.ru_maxrss / 2**20:6.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_090_000)
