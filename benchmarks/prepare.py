"""Time `svtool prepare voxceleb2` on a made tree of many small recordings.

python benchmarks/prepare.py [NUM_SPEAKERS]
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

VIDEOS, CLIPS = 20, 10


def main(num_speakers: int) -> None:
    """Make the tree, prepare it, print files a second."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        soundfile.write(root / "x.flac", np.zeros(24000), 16000)
        content = (root / "x.flac").read_bytes()
        for spk in range(num_speakers):
            for video in range(VIDEOS):
                folder = root / "dev/wav" / f"id{spk:05d}" / f"video{video:06d}"
                folder.mkdir(parents=True)
                for clip in range(CLIPS):
                    (folder / f"{clip:05d}.flac").write_bytes(content)
        count = num_speakers * VIDEOS * CLIPS
        command = [sys.executable, "-m", "sv_cli", "prepare", "voxceleb2", root, root / "out"]
        start = time.perf_counter()
        subprocess.run([*map(str, command), "--quiet"], check=True)
        wall = time.perf_counter() - start
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = usage.ru_utime + usage.ru_stime
        sys.stdout.write(
            f"{count} files: {cpu:.1f} CPU s, {wall:.1f} s, {count / cpu:.0f} files a CPU second, "
            f"{usage.ru_maxrss / 2**20:.2f} GB\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
