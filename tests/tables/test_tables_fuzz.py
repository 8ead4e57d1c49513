"""Damaged files are refused or read as they are, fast and in little memory."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGE = 4_000_000_000
SIDE = struct.pack("<i", 1 << 15)
WAV = b"RIFF\xff\xff\xff\xffWAVE"
FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
# 16 kHz, one channel of 16 bits, and 2^36 - 1 samples
STREAM_INFO = (16000 << 44 | 15 << 36 | 0xFFFFFFFFF).to_bytes(8, "big")
HEADER_CLAIMS = {
    "matrix.ark": b"utt \0BFM \x04" + SIDE + b"\x04" + SIDE,
    "vector.ark": b"utt \0BDV \x04" + struct.pack("<i", LARGE // 2),
    "compressed.ark": b"utt \0BCM " + struct.pack("<ff", 0, 1) + SIDE + SIDE,
    "integers.ark": b"utt \0B\x04" + struct.pack("<i", LARGE // 2) + b"\x04",
    "huge.wav": WAV + b"fmt " + struct.pack("<I", LARGE),
    "list.wav": WAV + b"LIST" + struct.pack("<I", LARGE),
    "data.wav": WAV + FORMAT + b"data" + struct.pack("<I", LARGE),
    "samples.flac": b"fLaC\x80\0\0\x22\x10\0\x10\0" + bytes(6) + STREAM_INFO + bytes(16),
    "moov.m4a": struct.pack(">I", 8) + b"ftyp" + struct.pack(">I", LARGE) + b"moov",
}


READ = """
import resource, sys
from pathlib import Path
from sv_cli.audio.mp4 import mp4_info
from sv_cli.audio.read import read_waveform
from sv_cli.errors import SvError
from sv_cli.tables.kaldi.arrays import iterate_arrays
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
readers = {".ark": lambda p: list(iterate_arrays(f"ark:{p}")), ".m4a": mp4_info}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        readers.get(path.suffix, lambda p: read_waveform(str(p)))(path)
        print(path.name, "read")
    except SvError as error:
        print(path.name, "refused")
"""


def run(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_claim_of_4_gb_in_a_file_of_1_kb_allocates_nothing(tmp_path: Path) -> None:
    """Every reader works within 200 MB of addresses, whatever a header says."""
    for name, head in HEADER_CLAIMS.items():
        (tmp_path / name).write_bytes(head + bytes(1024 - len(head)))
    done = run("-c", READ, str(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    told = dict(line.split() for line in done.stdout.splitlines())
    assert told.pop("data.wav") == "read"  # to the end of the file, which is said
    assert told == dict.fromkeys(HEADER_CLAIMS.keys() - {"data.wav"}, "refused")


def test_damaged_inputs_of_every_reader(tmp_path: Path) -> None:
    done = run(
        str(ROOT / "tests" / "fuzzing.py"),
        "--inputs",
        "25",
        "--keep",
        str(tmp_path),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " 0 failures" in done.stdout


@pytest.mark.slow
def test_more_damaged_inputs_of_every_reader(tmp_path: Path) -> None:
    words = ("--inputs", "0", "--seconds", "60", "--seed", "1", "--keep", str(tmp_path))
    done = run(str(ROOT / "tests" / "fuzzing.py"), *words, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
