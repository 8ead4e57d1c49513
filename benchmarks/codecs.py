"""What band limits and codecs cost, what they leave, and how many bits they take.

Usage: python benchmarks/codecs.py DATA_DIR [--root DIR] [--batch 16] [--seconds 2] [--rounds 5]

Crops of the first utterances of a data directory, on one thread; best CPU time of the rounds. The
ratio of a telephone codec is taken against the line without a codec.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from augment import best_seconds

from sv_cli.audio import codec
from sv_cli.audio.codec import CODECS
from sv_cli.audio.read import read_waveform
from sv_cli.augment.band import limit_band
from sv_cli.augment.codec import Coder, PhoneLine, is_phone_codec
from sv_cli.augment.draw import Coded
from sv_cli.augment.settings import CodecSettings
from sv_cli.logs import format_table
from sv_cli.memory import keep_freed_memory
from sv_cli.tables.datadir.directory import DataDir

RATE = 16000
LEVELS = (0.0, 0.5, 0.8, 0.95)


def read_crops(data: str, root: str, count: int, length: int) -> torch.Tensor:
    """Return (count, length) from the middles of utterances that are long enough."""
    crops: list[np.ndarray] = []
    for utterance in DataDir.load(data).recordings():
        waveform, _ = read_waveform(utterance.rx, sample_rate=RATE, audio_root=root)
        first = (len(waveform) - length) // 2
        if first >= 0:
            crops.append(waveform[first : first + length])
        if len(crops) == count:
            break
    return torch.from_numpy(np.stack(crops))


def snr_db(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the median ratio over the crops."""
    before, error = before.double(), (after - before).double()
    return float((10 * torch.log10(before.square().sum(1) / error.square().sum(1))).median())


class CountingFile:
    """Adds up the bytes that the codecs make."""

    num_bytes = 0

    @classmethod
    def attach(cls) -> None:
        """Count from now on."""
        read = soundfile.read

        def counted(stream: object, **more: object) -> object:
            cls.num_bytes += len(stream.getvalue())  # type: ignore[attr-defined]
            return read(stream, **more)

        codec.soundfile.read = counted


def measure(name: str, level: float, crops: torch.Tensor, rounds: int) -> list[str]:
    """Return one line of the table."""
    count, length = crops.shape
    settings = CodecSettings(prob=1.0, names=(name,), compression=(level, level))  # type: ignore[arg-type]
    coder = Coder(settings, sample_rate=RATE, num_samples=length)
    coder._num_threads = 1
    coded = Coded(np.arange(count), np.zeros(count, np.int64), np.full(count, level))
    line = PhoneLine(RATE, length)
    before = line.up(line.down(crops)) if is_phone_codec(name) else crops
    CountingFile.num_bytes = 0
    after = coder(crops, coded)
    rate = CountingFile.num_bytes * 8 / (count * length / RATE) / 1000
    seconds = best_seconds({"code": partial(coder, crops, coded)}, rounds)["code"]
    told = f"{level:g}" if name in CODECS and CODECS[name].has_compression else ""
    size = f"{rate:.0f}" if rate else "64"
    return [name, told, f"{seconds / count * 1e3:.2f}", size, f"{snr_db(before, after):.1f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--root", help="where relative audio paths start [DATA_DIR/../..]")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    CountingFile.attach()
    root = arguments.root or str(Path(arguments.data).parent.parent)
    crops = read_crops(arguments.data, root, arguments.batch, round(arguments.seconds * RATE))
    low, high = torch.full((len(crops),), 300.0), torch.full((len(crops),), 3400.0)
    limit = partial(limit_band, crops, low, high, RATE)
    seconds = best_seconds({"band": limit}, arguments.rounds)["band"]
    rows = [["band 300 - 3400 Hz", "", f"{seconds / len(crops) * 1e3:.2f}", "", ""]]
    for name in ("ulaw", "alaw", *CODECS):
        has_levels = name in CODECS and CODECS[name].has_compression
        for level in LEVELS if has_levels else LEVELS[1:2]:
            rows.append(measure(name, level, crops, arguments.rounds))
    print(f"CPU ms a crop of {arguments.seconds:g} s, {soundfile.__libsndfile_version__}")
    print(format_table(["codec", "level", "ms", "kbit/s", "SNR dB"], rows), end="")


if __name__ == "__main__":
    main()
