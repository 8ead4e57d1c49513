"""`svtool --help` is instant: it loads none of the heavy libraries; completion works."""

import os
import resource
import subprocess
import sys

HEAVY = ("torch", "torchaudio", "lhotse", "scipy", "matplotlib", "numpy", "soundfile", "kaldiio")
CPU_SECONDS = 0.35

SHOW_HELP = f"""
import sys
from sv_cli.cli import app
try:
    app(["--help"])
except SystemExit as end:
    assert not end.code, end.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""


def test_help_loads_no_heavy_library() -> None:
    run = subprocess.run([sys.executable, "-c", SHOW_HELP], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "train" in run.stdout


def test_help_costs_little_cpu() -> None:
    def measure() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "sv_cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    measure()  # byte-compile
    assert min(measure() for _ in range(5)) < CPU_SECONDS


def test_the_shell_completes_verbs() -> None:
    words = {"COMP_WORDS": "svtool plda sc", "COMP_CWORD": "2", "_SVTOOL_COMPLETE": "complete_bash"}
    run = subprocess.run(
        [sys.executable, "-m", "sv_cli"],
        env={**os.environ, **words}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout.split() == ["score"], run.stderr
