"""Filter banks of svtool, torchaudio and kaldi-native-fbank on the same files, in one run.

Usage: python benchmarks/fbank.py AUDIO_DIR [--num-utts 400] [--rounds 5]

Each peer turns the same waveforms, already read, into 80 log-Mel bins (povey window, no dither) on
one CPU thread. Rounds are interleaved and the best CPU time of each counts, start-up excluded.
A second table reads the files too.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sv_cli.audio.read import read_waveform
from sv_cli.audio.torchaudio_door import load_torchaudio
from sv_cli.features.fbank import fbank
from sv_cli.features.settings import FbankSettings
from sv_cli.logs import format_table

Compute = Callable[[np.ndarray], np.ndarray]


def svtool() -> Compute:
    """Return ours."""
    settings = FbankSettings()
    return lambda waveform: fbank(torch.from_numpy(waveform), settings).numpy()


def torchaudio() -> Compute:
    """Return torchaudio.compliance.kaldi."""
    kaldi = load_torchaudio("torchaudio.compliance.kaldi")
    options = {"num_mel_bins": 80, "dither": 0.0, "sample_frequency": 16000.0}
    return lambda waveform: kaldi.fbank(
        torch.from_numpy(waveform).unsqueeze(0) * 32768.0, **options
    ).numpy()


def kaldi_native_fbank() -> Compute:
    """Return kaldi-native-fbank with its loop over frames."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80

    def compute(waveform: np.ndarray) -> np.ndarray:
        extractor = knf.OnlineFbank(options)
        extractor.accept_waveform(16000, (waveform * 32768.0).tolist())
        extractor.input_finished()
        return np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])

    return compute


PEERS = {"svtool": svtool, "torchaudio": torchaudio, "kaldi-native-fbank": kaldi_native_fbank}


def best_seconds(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least CPU seconds of each, measured in turns."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, run in work.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    return best


def show(title: str, seconds: dict[str, float], num_utts: int, audio_seconds: float) -> None:
    """Print one table of results."""
    rows = [
        [
            name,
            f"{value:.3f}",
            f"{num_utts / value:.0f}",
            f"{value / audio_seconds:.6f}",
            f"{value / seconds['svtool']:.2f}",
        ]
        for name, value in seconds.items()
    ]
    print(f"\n{title}")
    print(format_table(["", "CPU s", "utt/CPU s", "RTF", "svtool is x faster"], rows), end="")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio_dir", type=Path)
    parser.add_argument("--num-utts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    suffixes = {".wav", ".flac"}
    files = sorted(str(p) for p in arguments.audio_dir.rglob("*") if p.suffix in suffixes)
    files = files[: arguments.num_utts]
    waveforms = [read_waveform(name)[0] for name in files]
    audio_seconds = sum(map(len, waveforms)) / 16000
    print(f"{len(files)} recordings, {audio_seconds:.0f} s, one thread, best of {arguments.rounds}")
    peers = {name: make() for name, make in PEERS.items()}
    expected = peers["svtool"](waveforms[0])
    for name, compute in peers.items():
        difference = np.abs(compute(waveforms[0]) - expected).mean()
        print(f"{name}: mean difference {difference:.1e}")
    work = {
        name: lambda compute=compute: [compute(w) for w in waveforms]
        for name, compute in peers.items()
    }
    show("features alone", best_seconds(work, arguments.rounds), len(files), audio_seconds)
    work = {
        name: lambda compute=compute: [compute(read_waveform(f)[0]) for f in files]
        for name, compute in peers.items()
    }
    show("reading and features", best_seconds(work, arguments.rounds), len(files), audio_seconds)


if __name__ == "__main__":
    main()
