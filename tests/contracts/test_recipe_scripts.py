"""The scripts of the recipes from the first stage to the last, on synthetic voices laid out as the
corpora are."""

import os
import shutil
import subprocess
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
import soundfile
from example_world import environment
from fake_corpora import GENRES, musan, rirs, tone, write

from sv_cli.tables.datadir.directory import DataDir

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = (
    "model_options.channels=16 num_epochs=1 batch_size=8 data.chunk_seconds=0.6 data.min_seconds=0"
    " data.min_speaker_seconds=0 data.num_workers=0 engine.precision=fp32 engine.device=cpu"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def recordings(world: Path, part: str) -> dict[str, list[Path]]:
    """Return the recordings of each speaker of a part of the example world."""
    data = DataDir.load(world / "data" / part)
    return {
        spk: [(world / data.wav[utt]).resolve() for utt in utts]
        for spk, utts in data.spk2utt.items()
    }


def place(voices: dict[str, list[Path]], names: Callable[[int, int], Path]) -> None:
    """Copy recordings to the places that `names` gives for speaker and utterance."""
    for speaker, paths in enumerate(voices.values()):
        for utt, path in enumerate(paths):
            target = names(speaker, utt)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix == ".flac":
                soundfile.write(target, *soundfile.read(path))
            else:
                shutil.copy(path, target)


def voxceleb(world: Path, root: Path) -> list[str]:
    """Lay out VoxCeleb1 and 2; return the options of run.sh."""
    train, dev, test = (recordings(world, part) for part in ("train", "dev", "eval"))
    clip = lambda base, spk, utt: f"id{base + spk:05d}/21Uxsk56VDQ/{utt + 1:05d}.wav"  # noqa: E731
    place(train, lambda spk, utt: root / "vox2/dev/wav" / clip(12, spk, utt))
    place(dev, lambda spk, utt: root / "vox1/dev/wav" / clip(10001, spk, utt))
    place(test, lambda spk, utt: root / "vox1/test/wav" / clip(10270, spk, utt))
    held = [clip(10270, s, u) for s, paths in enumerate(test.values()) for u in range(len(paths))]
    both = held + [
        clip(10001, s, u) for s, paths in enumerate(dev.values()) for u in range(len(paths))
    ]
    for name, clips in (
        ("veri_test", held), ("veri_test2", held), ("list_test_all", both),
        ("list_test_all2", both), ("list_test_hard", both[::2]), ("list_test_hard2", both[::2]),
    ):  # fmt: skip
        pairs = combinations(clips, 2)
        write(root / f"vox1/{name}.txt", [f"{int(a[:7] == b[:7])} {a} {b}" for a, b in pairs])
    return ["--vox1", str(root / "vox1"), "--vox2", str(root / "vox2")]


def voxsrc(world: Path, root: Path) -> list[str]:
    """Add the validation lists of VoxSRC 2021 and 2022, and recordings of the latter."""
    options = voxceleb(world, root)
    shutil.copy(root / "vox1/list_test_all2.txt", root / "vox1/voxsrc2021_val.txt")
    own = root / "voxsrc22/VoxSRC2022_dev"
    speakers = list(recordings(world, "cohort").values())[:2]
    place({"all": speakers[0][:2] + speakers[1][:2]}, lambda _, utt: own / f"dev_{utt:05d}.wav")
    names = [f"VoxSRC2022_dev/dev_{utt:05d}.wav" for utt in range(4)]
    pairs = [(a, b) for a, b in combinations(range(4), 2)]
    lines = [f"{int(a // 2 == b // 2)} {names[a]} {names[b]}" for a, b in pairs]
    lines += (root / "vox1/veri_test2.txt").read_text().splitlines()[:20]
    write(root / "voxsrc22/voxsrc2022_dev_fixed.txt", lines)
    return [*options, "--voxsrc22", str(root / "voxsrc22")]


def cnceleb(world: Path, root: Path) -> list[str]:
    """Lay out CN-Celeb, enrolments of two recordings; return the options of run.sh."""
    one, two = root / "CN-Celeb_flac", root / "CN-Celeb2_flac"
    train, test = recordings(world, "train"), recordings(world, "eval")
    train = {spk: 2 * paths[:4] for spk, paths in train.items()}  # in two genres
    half = len(train) // 2
    first, second = dict(list(train.items())[:half]), dict(list(train.items())[half:])
    name = lambda utt: f"{GENRES[utt // 4]}-01-{utt % 4 + 1:03d}.flac"  # noqa: E731
    place(first, lambda spk, utt: one / "data" / f"id{spk + 1:05d}" / name(utt))
    place(second, lambda spk, utt: two / "data" / f"id{spk + 10001:05d}" / name(utt))
    write(one / "dev/dev.lst", [f"id{spk + 1:05d}" for spk in range(len(first))])
    write(two / "spk.lst", [f"id{spk + 10001:05d}" for spk in range(len(second))])
    maps, tests = [], []
    for spk, paths in enumerate(test.values()):
        ident = f"id{spk + 800:05d}"
        place({ident: paths[:2]}, lambda _, utt, i=ident: one / "data" / i / name(utt))
        tone(one / "eval/enroll" / f"{ident}-enroll.flac", 1.0)
        maps.append(f"{ident}-enroll {ident}/{name(0)} {ident}/{name(1)}".replace(".flac", ".wav"))
        place(
            {ident: paths[2:]},
            lambda _, utt, i=ident: one / "eval/test" / f"{i}-{name(utt + 2)}",
        )
        tests += [f"test/{ident}-{name(u)}"[:-5] + ".wav" for u in range(2, len(paths))]
    models = [line.split()[0] for line in maps]
    lists = one / "eval/lists"
    write(lists / "enroll.map", maps)
    write(lists / "enroll.lst", [f"{model} enroll/{model}.wav" for model in models])
    write(lists / "test.lst", tests)
    trials = [f"{m} {t} {int(m[:7] in t)}" for m in models for t in tests]
    write(lists / "trials.lst", trials)
    return ["--cnceleb", str(root)]


@pytest.mark.parametrize(
    ("name", "lay_out", "lists"),
    [
        ("voxceleb_v2/ecapa_glob_c512_lm", voxceleb, ["O", "E", "H"]),
        ("cnceleb_v2/ecapa_glob_c512_lm", cnceleb, ["eval"]),
        ("3dspeaker/voxceleb_ecapa", voxceleb, ["O", "E", "H"]),
        ("3dspeaker/cnceleb_ecapa", cnceleb, ["eval"]),
        (
            "speaker_net_voxceleb2/ecapa_c512_lm",
            voxsrc,
            [
                "O",
                "E",
                "H",
                "O-original",
                "E-original",
                "H-original",
                "VoxSRC21-val",
                "VoxSRC22-dev",
            ],
        ),
        ("ecapa_tdnn_voxceleb2/ecapa_c512", voxceleb, ["O", "E", "H"]),
    ],
)
def test_from_the_corpora_to_the_table(
    name: str,
    lay_out: Callable[[Path, Path], list[str]],
    lists: list[str],
    world: Path,
    tmp_path: Path,
) -> None:
    folder, model = name.split("/")
    boundary = 5.8 if folder == "cnceleb_v2" else 2.5  # joined utterances are longer
    options = lay_out(world, tmp_path / "corpora")
    musan(tmp_path / "musan")
    rirs(tmp_path / "RIRS_NOISES")
    line = [
        "bash", str(RECIPES / folder / "run.sh"), "--model", model, "--num-gpus", "1",
        "--work", str(tmp_path / "work"), *options, "--musan", str(tmp_path / "musan"),
        "--rirs", str(tmp_path / "RIRS_NOISES"), "--top-n", "4",
        "--qmf-options", f"--num-trials 60 --boundary {boundary}",
        "--plda-options", "--center --lda-dim 4",  # of few recordings
        "--train-options", " ".join(f"--set {setting}" for setting in SMALL.split()),
    ]  # fmt: skip
    if folder == "speaker_net_voxceleb2":
        line += ["--start-epoch", "1"]
    env = environment(world) | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(line, env=env, capture_output=True, text=True, cwd=os.curdir)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    scores = tmp_path / "work/scores" / name
    for kind in ("cosine", "asnorm", "qmf", "plda"):
        assert all((scores / f"{part}.{kind}").is_file() for part in lists)
    assert done.stdout.count("EER") >= len(lists)
