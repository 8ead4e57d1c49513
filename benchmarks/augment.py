"""What augmentation costs, in batches against one utterance at a time, in one run.

Usage: python benchmarks/augment.py DATA [--root DIR] [--batch 32] [--seconds 3] [--rounds 7]

DATA holds the Kaldi directories train, noise, music and rir; train also serves as the speech of
babble. Both sides alter the same crops with the same draws on one CPU thread: ours in batches of
tensors, the plain way utterance by utterance in numpy and scipy (resample_poly, fftconvolve).
Rounds are interleaved and the best CPU time of each counts. The last table adds reading and filter
banks: what a reading worker does, and what the step does.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.fft import irfft, rfft
from scipy.signal import fftconvolve, resample_poly

from sv_cli.audio.resample import resample
from sv_cli.audio.speed import num_input_samples, play
from sv_cli.augment.chain import Augmenter, load_augmenter
from sv_cli.augment.draw import NUM_CHANCES, Draws
from sv_cli.augment.settings import AugmentSettings, MixSettings
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FRONTENDS
from sv_cli.logs import format_table
from sv_cli.memory import keep_freed_memory
from sv_cli.sampling.dataset import Batch, EpochBatches
from sv_cli.sampling.labels import SpeedClasses
from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.training_set import CropShape, open_training_set

RATE = 16000
FACTORS = (1.0, 0.9, 1.1)
CHAINS = ("wespeaker", "3d-speaker", "speaker-net", "ecapa-tdnn")
SCENES = ("noise", "music", "babble", "television", "reverb", "room")
Work = Callable[[], object]


def augmenter_of(folders: dict[str, str], root: str, length: int, **changes: object) -> Augmenter:
    """Return a chain over the directories."""
    settings = AugmentSettings.model_validate({**folders, **changes})
    augmenter = load_augmenter(
        settings,
        num_samples=length,
        sample_rate=RATE,
        device=torch.device("cpu"),
        audio_root=root,
    )
    assert augmenter is not None
    return augmenter


def plain(augmenter: Augmenter, crops: np.ndarray, draws: Draws) -> list[np.ndarray]:
    """Alter crops one by one, by the formulas as one would write them down."""
    out = []
    for row, crop in enumerate(crops):
        x = crop
        for rir in draws.rirs[draws.reverb_rows == row]:
            taps = augmenter.rirs.taps[rir].numpy().astype(np.float32)
            x = plain_reverb(x, taps, augmenter.settings.mix)
        for layer in draws.layers:
            mine = layer.rows == row
            if mine.any():
                pieces = cut(augmenter, layer.files[mine], layer.places[mine], len(crop))
                x = plain_mix(x, pieces, layer.snr[mine], augmenter.settings.mix)
        out.append(x)
    return out


def cut(augmenter: Augmenter, files: np.ndarray, places: np.ndarray, length: int) -> list:
    """Return the pieces of the bank."""
    bank = augmenter.sounds
    starts = bank.starts[files] + (places * (bank.lengths[files] - length + 1)).astype(int)
    samples = bank.samples.numpy()
    return [samples[i : i + length].astype(np.float32) / 32768 for i in starts]


def plain_reverb(x: np.ndarray, taps: np.ndarray, mix: MixSettings) -> np.ndarray:
    """Reverberate one crop."""
    if mix.reverb == "cut":
        return level(fftconvolve(x, taps / np.sqrt((taps**2).sum()))[: len(x)], mix.peak_floor)
    peak = np.abs(taps).argmax()
    taps = np.roll(np.pad(taps, (0, len(x) - len(taps))), -peak)
    wet = irfft(rfft(x) * rfft(taps), len(x))
    return wet * np.sqrt((x**2).mean() / (wet**2).mean())


def plain_mix(x: np.ndarray, pieces: list, snr: np.ndarray, mix: MixSettings) -> np.ndarray:
    """Add pieces to one crop."""
    if mix.style == "scaled":
        ratio, noise = 10 ** (snr[0] / 20), sum(pieces)
        noise = noise * np.sqrt((x**2).mean() / ((noise**2).mean() + 1e-20)) / (1 + ratio)
        return np.float32(ratio / (1 + ratio)) * x + noise.astype(np.float32)
    power, out = (x**2).mean() + mix.power_floor, x
    for piece, decibels in zip(pieces, snr, strict=True):
        wanted = power / 10 ** (decibels / 10)
        gain = np.sqrt(wanted / ((piece**2).mean() + mix.power_floor))
        out = out + piece * np.float32(gain)
    return level(out, mix.peak_floor)


def level(x: np.ndarray, floor: float) -> np.ndarray:
    """Divide by the peak."""
    return x / (np.abs(x).max() + np.float32(floor)) if floor else x


def plain_play(signals: np.ndarray, speeds: np.ndarray, length: int) -> np.ndarray:
    """Play crops at their speeds, one by one."""
    ratios = {1: (10, 9), 2: (10, 11)}
    played = [
        resample_poly(x[: num_input_samples(length, FACTORS[n])], *ratios[n])[:length]
        if n
        else x[:length]
        for x, n in zip(signals, speeds, strict=True)
    ]
    return np.stack(played)


def best_seconds(work: dict[str, Work], rounds: int) -> dict[str, float]:
    """Return the least CPU seconds of each, measured in turns."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, run in work.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    return best


def row(name: str, ours: Work, other: Work, batch: int, rounds: int) -> list[str]:
    """Measure one line of the table: microseconds an utterance, and the ratio."""
    seconds = best_seconds({"ours": ours, "other": other}, rounds)
    per_utt = {side: value / batch * 1e6 for side, value in seconds.items()}
    ratio = seconds["other"] / seconds["ours"]
    return [name, f"{per_utt['ours']:.0f}", f"{per_utt['other']:.0f}", f"{ratio:.1f}"]


def effects(folders: dict[str, str], root: str, batch: int, length: int, rounds: int) -> None:
    """Print the cost of each effect where every utterance gets it."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.randn(batch, length, generator=generator).clamp(-3, 3) * 0.1
    rows = []
    for number, factor in ((1, 0.9), (2, 1.1)):
        longer = torch.randn(batch, num_input_samples(length, factor)) * 0.1
        speeds = torch.full((batch,), number)
        ratio = (10, 9) if factor == 0.9 else (10, 11)
        for name, other in (
            ("scipy", lambda x, ratio=ratio: resample_poly(x, *ratio)),
            ("soxr HQ", lambda x, factor=factor: resample(x, factor, 1.0)),
        ):
            rows.append(
                row(
                    f"speed {factor} (plain: {name})",
                    lambda longer=longer, speeds=speeds: play(longer, speeds, FACTORS, length),
                    lambda longer=longer, other=other: [other(x) for x in longer.numpy()],
                    batch,
                    rounds,
                )
            )
    chances = torch.from_numpy(np.random.default_rng(0).random((batch, NUM_CHANCES)))
    for scene in SCENES:
        weights = {**dict.fromkeys(SCENES, 0.0), scene: 1.0}
        augmenter = augmenter_of(
            folders, root, length, chain="ecapa-tdnn", prob=1.0, weights=weights
        )
        rows.append(compare(scene, augmenter, crops, chances, rounds))
    print(f"\nMicroseconds of one CPU thread an utterance, {length / RATE:g} s, batch {batch}")
    print(format_table(["effect", "in batches", "one by one", "ratio"], rows), end="")


def compare(
    name: str, augmenter: Augmenter, crops: torch.Tensor, chances: torch.Tensor, rounds: int
) -> list[str]:
    """Return a line of both ways with the same draws; they must agree."""
    draws = augmenter.draw(chances)
    check_agreement(name, augmenter, crops, chances)
    return row(
        name,
        lambda: augmenter.waveforms(crops, augmenter.draw(chances)),
        lambda: plain(augmenter, crops.numpy(), draws),
        len(crops),
        rounds,
    )


def check_agreement(
    name: str, augmenter: Augmenter, crops: torch.Tensor, chances: torch.Tensor
) -> None:
    """Stop where the two ways do not alter the same crops alike."""
    draws = augmenter.draw(chances)
    ours = augmenter.waveforms(crops, draws)
    difference = np.abs(ours.numpy() - np.stack(plain(augmenter, crops.numpy(), draws))).max()
    if difference > 1e-4:
        raise SystemExit(f"{name}: the two ways differ by {difference}")


def chains(folders: dict[str, str], data: Path, root: str, arguments: argparse.Namespace) -> None:
    """Print the cost of the whole path of each chain."""
    shape = CropShape(round(arguments.seconds * RATE), 0, RATE)
    rows = []
    crops = torch.randn(arguments.batch, shape.num_samples).clamp(-3, 3) * 0.1
    chances = torch.from_numpy(np.random.default_rng(1).random((arguments.batch, NUM_CHANCES)))
    for chain in CHAINS:
        augmenter = augmenter_of(folders, root, shape.num_samples, chain=chain)
        check_agreement(chain, augmenter, crops, chances)
        speeds = SpeedClasses(augmenter.settings.speeds)
        training = open_training_set(str(data / "train"), shape, audio_root=root, speeds=speeds)
        plan = EpochPlan(len(training.utts), arguments.batch, 1, 0)
        batches = EpochBatches(
            training.crops,
            training.labels,
            plan,
            epoch=0,
            rank=0,
            speeds=speeds,
            num_chances=NUM_CHANCES,
        )
        rows.append([chain, *path_costs(augmenter, batches, shape, arguments)])
    names = [
        "chain",
        "reading",
        "augment",
        "one by one",
        "ratio",
        "fbank",
        "utt/CPU s",
        "read/CPU s",
    ]
    print(f"\nThe whole path, microseconds an utterance, {arguments.num_batches} batches")
    print(format_table(names, rows), end="")


def path_costs(
    augmenter: Augmenter, batches: EpochBatches, shape: CropShape, arguments: argparse.Namespace
) -> list[str]:
    """Return reading, augmentation and filter banks in microseconds, and the rates they make."""
    frontend = Frontend(FRONTENDS["wespeaker"]).train()
    count = min(arguments.num_batches, len(batches))
    factors = (1.0, *augmenter.settings.speeds)
    read = [batches[step] for step in range(count)]
    length = shape.num_samples
    waveforms = torch.randn(arguments.batch, length) * 0.1

    def alter(batch: Batch) -> None:
        played = play(batch.signals, batch.speeds, factors, length)
        augmenter.waveforms(played, augmenter.draw(batch.chances))

    def alter_plainly(batch: Batch) -> None:
        played = plain_play(batch.signals.numpy(), batch.speeds.numpy(), length)
        plain(augmenter, played, augmenter.draw(batch.chances))

    work: dict[str, Work] = {
        "read": lambda: [batches[step] for step in range(count)],
        "augment": lambda: [alter(batch) for batch in read],
        "plain": lambda: [alter_plainly(batch) for batch in read],
        "fbank": lambda: [frontend(waveforms) for _ in range(count)],
    }
    with torch.inference_mode():
        seconds = best_seconds(work, arguments.rounds)
    costs = {name: value / count / arguments.batch for name, value in seconds.items()}
    total = costs["read"] + costs["augment"] + costs["fbank"]
    told = [f"{1e6 * cost:.0f}" for cost in costs.values()]
    told.insert(3, f"{costs['plain'] / costs['augment']:.1f}")
    return [*told, f"{1 / total:.0f}", f"{1 / costs['read']:.0f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--root", help="where relative audio paths start [DATA/..]")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--num-batches", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    data: Path = arguments.data
    root = arguments.root or str(data.parent)
    folders = {kind: str(data / kind) for kind in ("noise", "music", "rir")}
    folders["speech"] = str(data / "train")
    length = round(arguments.seconds * RATE)
    effects(folders, root, arguments.batch, length, arguments.rounds)
    chains(folders, data, root, arguments)


if __name__ == "__main__":
    main()
