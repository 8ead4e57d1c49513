"""Damaged inputs for every reader: `python tests/fuzzing.py --seconds 300` prints what came of it.

Each input is cut off, has bits flipped, bytes replaced, parts removed, doubled or put elsewhere,
or a size of 32 bits replaced by an extreme one. A reader gives an SvError or data; what it gives
for an input that was only cut off is the beginning of the whole. Any other exception, more than
five seconds, or an allocation beyond 1 GB is a failure.
"""

import argparse
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sv_cli.audio.archive import index_archive
from sv_cli.audio.info import audio_info
from sv_cli.audio.mp4 import mp4_info
from sv_cli.audio.read import read_waveform
from sv_cli.errors import SvError
from sv_cli.scoring.asnorm import read_stats
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.kaldi.arrays import (
    ArrayTable,
    ArrayWriter,
    iterate_arrays,
    read_array,
    write_array,
)
from sv_cli.tables.pairs.scores import read_scores
from sv_cli.tables.pairs.trials import read_trials
from sv_cli.tables.text import read_floats, read_spk2utt, read_table

LIMIT_BYTES = 1 << 30
LIMIT_SECONDS = 5
EXTREMES = (0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 1 << 16, 1 << 28, 4_000_000_000)


@dataclass(frozen=True)
class Reader:
    """A reader, the file it is tried on, and how what it gives is compared with the whole."""

    name: str
    suffix: str
    whole: bytes
    read: Callable[[str], Any]
    is_beginning: Callable[[Any, Any], bool] | None = None


@dataclass
class Outcome:
    """What came of the inputs of one reader."""

    inputs: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


def damage(data: bytes, draw: random.Random) -> tuple[bytes, bool]:
    """Return damaged bytes, and whether they were only cut off."""
    if not data or draw.random() < 0.2:
        return data[: draw.randrange(len(data) + 1)], True
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5, 20))):
        at = draw.randrange(len(changed) + 1)
        end = min(len(changed), at + draw.choice((1, 2, 4, 8, 64)))
        kind = draw.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[at:end] = draw.randbytes(end - at)
        elif kind == 2:
            del changed[at:end]
        elif kind == 3:
            changed[at:at] = changed[at:end]
        elif kind == 4:
            order = draw.choice("<>")
            changed[at : at + 4] = struct.pack(order + "I", draw.choice(EXTREMES))
        elif kind == 5:
            changed[at:at] = draw.choice(
                (b"\0", b"\n", b" ", b"\r\n", b"\t", b"-", b"nan", b"1e999", b"\0BFM \4")
            )
        else:
            other = draw.randrange(len(changed) + 1)
            changed[at:at] = changed[other : other + 32]
        if not changed:
            break
    return bytes(changed), False


def try_readers(
    readers: list[Reader], folder: Path, *, seed: int, seconds: float = 0, inputs: int = 0
) -> dict[str, Outcome]:
    """Try damaged inputs in turn, for some seconds or so many inputs a reader."""
    draw = random.Random(seed)
    outcomes = {reader.name: Outcome() for reader in readers}
    wholes = {}
    for reader in readers:
        path = folder / f"whole{reader.suffix}"
        path.write_bytes(reader.whole)
        wholes[reader.name] = reader.read(str(path))
    signal.signal(signal.SIGALRM, _too_long)
    end = time.monotonic() + seconds
    count = 0
    while count < inputs or time.monotonic() < end:
        count += 1
        for reader in readers:
            data, only_cut = damage(reader.whole, draw)
            path = folder / f"damaged{reader.suffix}"
            path.write_bytes(data)
            _try(reader, path, outcomes[reader.name], wholes[reader.name], only_cut=only_cut)
    return outcomes


class TooLong(BaseException):
    """The reader did not come back."""


def _too_long(signum: int, frame: object) -> None:
    raise TooLong


def _try(reader: Reader, path: Path, outcome: Outcome, whole: Any, *, only_cut: bool) -> None:
    outcome.inputs += 1
    start = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        found = reader.read(str(path))
    except SvError as error:
        outcome.refused += 1
        if "\n" in error.message:
            _fail(reader, path, outcome, f"a message of several lines: {error.message!r}")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        _fail(reader, path, outcome, f"{type(error).__name__}: {error}")
    else:
        if only_cut and reader.is_beginning and not reader.is_beginning(found, whole):
            _fail(reader, path, outcome, "wrong data of an input that was cut off")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)


def _fail(reader: Reader, path: Path, outcome: Outcome, what: str) -> None:
    kept = path.with_name(
        f"failure-{reader.name.replace(' ', '-')}-{outcome.inputs}{reader.suffix}"
    )
    kept.write_bytes(path.read_bytes())
    outcome.failures.append(f"{what[:200]} ({kept})")


def limit_memory() -> None:
    """Let this process have 1 GB of addresses beyond what it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _arrays(path: str) -> list[tuple[str, Any]]:
    return [(key, array.copy()) for key, array in iterate_arrays(f"ark:{path}")]


def _indexed(path: str) -> list[tuple[str, Any]]:
    table = ArrayTable(f"scp:{path}")
    return [(key, table[key]) for key in table.keys()]  # noqa: SIM118


def _begins_arrays(found: list[tuple[str, Any]], whole: list[tuple[str, Any]]) -> bool:
    return len(found) <= len(whole) and all(
        key == other and np.array_equal(array, expected)
        for (key, array), (other, expected) in zip(found, whole, strict=False)
    )


def _begins_rows(found: dict[str, Any], whole: dict[str, Any]) -> bool:
    """A cut inside the last row cannot be told; all rows before it are as they were."""
    keys = list(found)[:-1]
    return keys == list(whole)[: len(keys)] and all(found[key] == whole[key] for key in keys)


def _begins_samples(found: Any, whole: Any) -> bool:
    return np.array_equal(found, whole[: len(found)])


def _samples(path: str) -> Any:
    audio_info(path)
    return read_waveform(path, sample_rate=None)[0]


def make_readers(folder: Path) -> list[Reader]:
    """Return every reader with a small whole file made for it."""
    draw = np.random.default_rng(0)
    matrices = {f"utt{i}": draw.standard_normal((4 + i, 3)).astype(np.float32) for i in range(4)}
    vectors = {f"utt{i}": draw.standard_normal(8).astype(np.float32) for i in range(6)}

    def archive(arrays: dict[str, Any], kind: str = "ark", compression: int | None = None) -> bytes:
        path = folder / "made.ark"
        with ArrayWriter(f"{kind}:{path}", compression=compression) as writer:
            for key, array in arrays.items():
                writer.write(key, array)
        return path.read_bytes()

    def sound(name: str, **options: Any) -> bytes:
        path = folder / name
        samples = (0.1 * draw.standard_normal(1600)).astype(np.float32)
        soundfile.write(path, samples, 16000, **options)
        return path.read_bytes()

    with ArrayWriter(f"ark,scp:{folder}/kept.ark,{folder}/kept.scp") as writer:
        for key, array in vectors.items():
            writer.write(key, array)
    write_array(folder / "made.mat", matrices["utt0"])
    wav = sound("a.wav", subtype="PCM_16")
    utts = [f"s{i % 3}-utt{i}" for i in range(12)]

    def lines(form: str) -> bytes:
        return "".join(
            form.format(u=utt, s=utt[:2], i=i) + "\n" for i, utt in enumerate(utts)
        ).encode()

    tables = {
        "utt2spk": (lines("{u} {s}"), lambda path: read_table(path, fields=1)),
        "wav.scp": (lines("{u} /data/some where/{u}.wav"), read_table),
        "utt2dur": (lines("{u} {i}.25"), read_floats),
        "spk2utt": (b"s0 a b c\ns1 d e\ns2 f\n", read_spk2utt),
    }
    pairs = {
        "trials": (lines("{s} {u} target"), lambda path: read_trials(path).pairs()),
        "trials of VoxCeleb": (lines("1 {s} {u}"), lambda path: read_trials(path).pairs()),
        "scores": (lines("{s} {u} 0.{i}5"), lambda path: read_scores(path).score),
        "cohort statistics": (lines("{u} 0.{i} 1.{i}"), lambda path: read_stats(path).ids),
    }
    sounds = {
        "wav, 16 bits": (".wav", wav), "wav, 24 bits": (".wav", sound("b.wav", subtype="PCM_24")),
        "wav, float": (".wav", sound("c.wav", subtype="FLOAT")),
        "wav, extensible": (".wav", sound("d.wav", format="WAVEX", subtype="PCM_16")),
        "wav, mu-law": (".wav", sound("e.wav", subtype="ULAW")),
        "flac": (".flac", sound("f.flac")), "ogg": (".ogg", sound("g.ogg")),
        "mp3": (".mp3", sound("h.mp3")), "sphere": (".sph", sound("i.sph", format="NIST")),
        "aiff": (".aiff", sound("j.aiff")),
    }  # fmt: skip
    return [
        Reader("ark", ".ark", archive(matrices), _arrays, _begins_arrays),
        Reader("ark, text", ".ark", archive(matrices, "ark,t"), _arrays, None),
        Reader("ark, CM", ".ark", archive(matrices, compression=1), _arrays, _begins_arrays),
        Reader("ark, CM2", ".ark", archive(matrices, compression=3), _arrays, _begins_arrays),
        Reader("ark, vectors", ".ark", archive(vectors), _arrays, _begins_arrays),
        Reader("scp", ".scp", (folder / "kept.scp").read_bytes(), _indexed, None),
        Reader("matrix", ".mat", (folder / "made.mat").read_bytes(), read_array, None),
        Reader("embeddings", ".ark", archive(vectors), read_embeddings, None),
        Reader(
            "embeddings, scp", ".scp", (folder / "kept.scp").read_bytes(), read_embeddings, None
        ),
        *(Reader(name, "", data, read, _begins_rows) for name, (data, read) in tables.items()),
        *(Reader(name, "", data, read, None) for name, (data, read) in pairs.items()),
        *(
            Reader(name, suffix, data, _samples, _begins_samples if suffix == ".wav" else None)
            for name, (suffix, data) in sounds.items()
        ),
        Reader("wav archive", ".ark", b"".join(b"u%d " % i + wav for i in range(3)), index_archive),
        Reader("m4a header", ".m4a", _m4a(), mp4_info, None),
    ]


def _m4a() -> bytes:
    """Return an MPEG-4 file of a header alone: one second at 16 kHz."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + kind + body

    clock = struct.pack(">IIIII", 0, 0, 0, 16000, 16000) + bytes(8)
    entry = struct.pack(">II", 0, 1) + box(
        b"mp4a", bytes(16) + struct.pack(">HHHHI", 1, 16, 0, 0, 0)
    )
    media = box(b"mdhd", clock) + box(b"hdlr", bytes(8) + b"soun" + bytes(12))
    media += box(b"minf", box(b"stbl", box(b"stsd", entry)))
    moov = box(b"mvhd", clock) + box(b"trak", box(b"mdia", media))
    return box(b"ftyp", b"M4A ") + box(b"moov", moov)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--inputs", type=int, default=0, help="of each reader, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", default="", help="folder for the inputs that failed")
    given = parser.parse_args()
    os.environ["SVTOOL_NO_PIPES"] = "1"  # a damaged scp must not become a shell command
    folder = Path(given.keep or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders talk about each damaged input
    readers = make_readers(folder)
    limit_memory()
    outcomes = try_readers(
        readers, folder, seed=given.seed, seconds=given.seconds, inputs=given.inputs
    )
    print("| reader | inputs | refused | read | failures | slowest |\n|---|---|---|---|---|---|")
    for name, o in outcomes.items():
        read = o.inputs - o.refused - len(o.failures)
        row = [name, o.inputs, o.refused, read, len(o.failures), f"{o.slowest:.2f} s"]
        print("| " + " | ".join(map(str, row)) + " |")
    total = sum(o.inputs for o in outcomes.values())
    failed = [f"{name}: {what}" for name, o in outcomes.items() for what in o.failures]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{total} inputs, {len(failed)} failures; peak memory {peak:.0f} MB")
    print("\n".join(failed[:60]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
