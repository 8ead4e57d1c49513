"""The example world: the folder in which the examples of every command's help run.

It holds what the examples name: recordings, a table of them, data directories, a trained model,
embeddings, scores, quality tables, a PLDA, and weights as another project leaves them. Everything
is made by svtool itself, once a test session, and shared by the processes of pytest-xdist.
"""

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fake_corpora import build_corpora

READER_LEFT = "the reader of the output went away"
REPOSITORY = Path(__file__).parents[1]
PARTS = ("train", "cohort", "dev", "eval")
_SETTINGS = (
    "num_epochs=3", "batch_size=8", "data.chunk_seconds=1.0", "data.num_workers=0",
    "model_options.m_channels=8", "model_options.num_blocks=[1,1,1,1]",
    "model_options.embedding_dim=16", "engine.precision=fp32",
)  # fmt: skip
# Few enough that the tables of examples fit, enough that a PLDA of 16 dimensions can be trained.
_STEPS = (
    "prepare demo data --size tiny --num-procs 1",
    "train --model eres2net --data data/train --exp-dir exp/eres2net"
    + "".join(f" --set {setting}" for setting in _SETTINGS),
    *(f"extract exp/eres2net data/{part} emb/{part}" for part in PARTS),
    *(
        line
        for part in ("dev", "eval")
        for line in (
            f"score data/{part}/trials emb/{part} emb/{part} scores/{part}.cosine",
            f"asnorm scores/{part}.cosine emb/{part} emb/{part} emb/cohort scores/{part}.asnorm"
            f" --top-n 4 --stats scores/{part}.stats",
            f"qmf measure data/{part} emb/{part} qmf/{part} --stats scores/{part}.stats",
        )
    ),
    "qmf train data/dev/trials scores/dev.asnorm qmf/dev qmf/model.json",
    "plda train data/train/spk2utt emb/train plda/plda --center --lda-dim 8 --length-norm",
    "plda lda data/train/spk2utt emb/train plda/lda.mat --dim 8",
)

_JOB = """\
model = "exp/eres2net"
recordings = "recordings"
enroll = "emb/dev"
out = "out/job"
settle_seconds = 0
"""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which `svtool` is this checkout, in a shell, too."""
    wrapper = folder / "bin" / "svtool"
    if not wrapper.exists():
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sv_cli "$@"\n')
        wrapper.chmod(0o755)
    path = os.pathsep.join([str(wrapper.parent), str(Path(sys.executable).parent)])
    return {
        **os.environ,
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }


def run_line(line: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line of a help text as a user would, in bash; a failure anywhere in a pipe counts.

    A reader that has seen enough (`| head`) ends its writer, which is no failure.
    """
    run = subprocess.run(
        ["bash", "-c", f"set -o pipefail\n{line}\n"],
        cwd=folder, env=env, capture_output=True, text=True,
    )  # fmt: skip
    if "| head" in line and (run.returncode == 141 or READER_LEFT in run.stderr):
        run.returncode = 0
    return run


def build_world(folder: Path) -> Path:
    """Make the world in `folder` unless it is there; return it."""
    done = folder / ".done"
    if done.exists():
        return folder
    try:
        folder.mkdir(parents=True)
    except FileExistsError:  # another process makes it
        deadline = time.monotonic() + 900
        while not done.exists():
            if (folder / ".failed").exists() or time.monotonic() > deadline:
                raise RuntimeError(f"the example world in {folder} was not finished") from None
            time.sleep(0.5)
        return folder
    try:
        _make(folder)
    except BaseException:
        (folder / ".failed").touch()
        raise
    done.touch()
    return folder


def enter_world(world: Path, folder: Path) -> Path:
    """Return a copy of the world for one example: tables copied, audio linked, `out` empty."""
    for entry in world.iterdir():
        if entry.name in ("recordings", "bin", "corpora"):
            (folder / entry.name).symlink_to(entry)
        elif entry.is_dir():
            shutil.copytree(entry, folder / entry.name, ignore=shutil.ignore_patterns("audio"))
        else:
            shutil.copy(entry, folder / entry.name)
    (folder / "out").mkdir()
    return folder


def _make(folder: Path) -> None:
    env = environment(folder)
    for line in _STEPS:
        run = run_line(f"svtool {line}", folder, env)
        if run.returncode:
            raise RuntimeError(f"`svtool {line}` ended with {run.returncode}:\n{run.stderr}")
    _write_weights(folder / "wespeaker" / "avg_model.pt")
    build_corpora(folder / "corpora")
    (folder / "job.toml").write_text(_JOB)
    (folder / "recordings").symlink_to(folder / "data" / "audio")
    gender = dict(
        line.split()
        for part in PARTS
        for line in (folder / "data" / part / "spk2gender").read_text().splitlines()
    )
    with (folder / "recordings.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "spk", "gender"])
        for path in sorted((folder / "data" / "audio").glob("*/*.wav")):
            spk = path.parent.name
            writer.writerow([f"recordings/{spk}/{path.name}", spk, gender[spk]])


def _write_weights(path: Path) -> None:
    """Write a state dict alone, in WeSpeaker's layout."""
    import torch

    from sv_cli.models.registry import build_model

    torch.manual_seed(0)
    path.parent.mkdir()
    torch.save(build_model("resnet18", m_channels=8, embedding_dim=16).state_dict(), path)
