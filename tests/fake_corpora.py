"""Tiny trees in the layouts of the corpora that `svtool prepare` knows: real names, quiet tones."""

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

GENRES = ("singing", "speech")


def tone(path: Path, seconds: float = 0.2) -> Path:
    """Write a quiet tone whose pitch is that of the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch = 0.05 + 0.001 * (sum(map(ord, path.stem)) % 97)
    soundfile.write(path, 0.1 * np.sin(np.arange(int(seconds * 16000)) * pitch), 16000)
    return path


def write(path: Path, lines: Iterable[str]) -> Path:
    """Write lines of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def voxceleb(root: Path) -> None:
    """Two speakers of dev and of test of VoxCeleb1, two of VoxCeleb2, tables and lists."""
    clips = {}
    for part, spk in (("dev", "id10001"), ("dev", "id10002"), ("test", "id10270"),
                      ("test", "id10271")):  # fmt: skip
        clips[spk] = [f"{spk}/a-B_c{n}xyz01/0000{n}.wav" for n in (1, 2)]
        for clip in clips[spk]:
            tone(root / "vox1" / part / "wav" / clip)
    for spk in ("id00012", "id00015"):
        for n in (1, 2):
            tone(root / "vox2/dev/wav" / spk / "21Uxsk56VDQ" / f"0000{n}.wav")
    write(
        root / "vox1_meta.csv",
        [
            "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet",
            *(
                f"{spk}\tA\t{gender}\tIreland\t{part}"
                for spk, gender, part in (
                    ("id10001", "m", "dev"),
                    ("id10002", "f", "dev"),
                    ("id10270", "m", "test"),
                    ("id10271", "f", "test"),
                )
            ),
        ],
    )
    header = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set "
    write(root / "vox2_meta.csv", [header, "id00012 ,n1 ,m ,dev ", "id00015 ,n2 ,f ,dev "])
    test = clips["id10270"] + clips["id10271"]
    every = clips["id10001"] + test
    for name, names in (
        ("veri_test", test), ("veri_test2", test), ("list_test_all", every),
        ("list_test_all2", every), ("list_test_hard", every), ("list_test_hard2", every),
    ):  # fmt: skip
        write(root / f"{name}.txt", label_first(names))


def label_first(names: list[str]) -> list[str]:
    """Return every pair once as `1|0 enroll test`."""
    pairs = [(a, b) for a, b in product(names, names) if a < b]
    return [f"{int(a[:7] == b[:7])} {a} {b}" for a, b in pairs]


def voxsrc2023(root: Path) -> None:
    """Four flat recordings and a list."""
    names = [f"{n:06d}.wav" for n in (3, 17, 40, 101)]
    for name in names:
        tone(root / name)
    lines = ["1 000003.wav 000017.wav", "0 000003.wav 000040.wav", "0 000101.wav 000017.wav"]
    write(root / "VoxSRC2023_val.txt", lines)


def voxsrc2022(root: Path) -> None:
    """Recordings of the challenge's own; the list also names some of VoxCeleb1."""
    for n in range(2):
        tone(root / "VoxSRC2022_dev" / f"dev_0000{n}.wav")
    lines = [
        "1 id10001/a-B_c1xyz01/00001.wav id10001/a-B_c2xyz01/00002.wav",
        "0 VoxSRC2022_dev/dev_00000.wav VoxSRC2022_dev/dev_00001.wav",
    ]
    write(root / "voxsrc2022_dev.txt", lines)


def voxsrc2020(root: Path) -> None:
    """The out-of-domain recordings of VoxCeleb1's speakers, numbered without a video."""
    tone(root / "voxceleb1_cd/id10001/000912.wav")
    tone(root / "voxceleb1_cd/id10270/000001.wav")
    lines = [
        "1 voxceleb1/id10001/a-B_c1xyz01/00001.wav voxceleb1_cd/id10001/000912.wav",
        "0 voxceleb1/id10001/a-B_c1xyz01/00001.wav voxceleb1_cd/id10270/000001.wav",
    ]
    write(root / "trials.txt", lines)


def cnceleb(root: Path) -> None:
    """Two training speakers of each part and two enrolled ones; lists that say .wav for .flac."""
    one, two = root / "CN-Celeb_flac", root / "CN-Celeb2_flac"
    for part, speakers in ((one, ("id00010", "id00011")), (two, ("id10003", "id10004"))):
        for spk, genre, n in product(speakers, GENRES, (1, 2, 3)):
            tone(part / "data" / spk / f"{genre}-01-00{n}.flac", 0.1 * n)
    write(one / "dev/dev.lst", ["id00010", "id00011"])
    write(two / "spk.lst", ["id10003", "id10004"])
    lists = one / "eval/lists"
    tests = []
    for spk in ("id00800", "id00801"):
        for n in (1, 2):
            tone(one / "data" / spk / f"drama-01-00{n}.flac")
        tone(one / "eval/enroll" / f"{spk}-enroll.flac", 0.4)
        tests.append(f"test/{spk}-singing-01-005.wav")
        tone((one / "eval" / tests[-1]).with_suffix(".flac"))
    models = ("id00800-enroll", "id00801-enroll")
    write(lists / "enroll.lst", [f"{model} enroll/{model}.wav" for model in models])
    write(
        lists / "enroll.map",
        [f"{m} {m[:7]}/drama-01-001.wav {m[:7]}/drama-01-002.wav" for m in models],
    )
    write(lists / "test.lst", tests)
    write(
        lists / "trials.lst",
        [f"{model} {test} {int(model[:7] in test)}" for model, test in product(models, tests)],
    )


def threed_speaker(root: Path) -> None:
    """Two speakers to train on and two to test, each with three devices, one of them the ninth."""
    names: dict[str, list[str]] = {}
    for part, speakers in (("train", (1, 2)), ("test", (3, 4))):
        names[part] = []
        for spk, device in product(speakers, ("01", "03", "09")):
            owner = f"3D_SPK_{spk:05d}"
            name = f"{owner}_001_Device{device}_Distance0{spk}_Dialect00"
            tone(root / part / owner / f"{name}.wav")
            names[part].append(name)
        rows = [f"{name} {part}/{name[:12]}/{name}.wav" for name in names[part]]
        write(root / "files" / f"{part}_wav.scp", rows)
        write(root / "files" / f"{part}_utt2spk", [f"{name} {name[:12]}" for name in names[part]])
    kept = [name for name in names["test"] if "Device09" not in name]
    pairs = [(a, b) for a, b in product(kept, kept) if a < b]
    for condition in ("device", "distance", "dialect"):
        rows = [f"{a} {b} {'target' if a[:12] == b[:12] else 'nontarget'}" for a, b in pairs]
        write(root / "files" / f"trials_cross_{condition}", rows)


def librispeech(root: Path) -> None:
    """Two readers in each of two subsets."""
    for part, speakers in (("train-clean-100", ("14", "146")), ("dev-clean", ("84", "1272"))):
        for spk, n in product(speakers, (0, 1, 2)):
            tone(root / part / spk / "208" / f"{spk}-208-{n:04d}.flac")
            write(root / part / spk / "208" / f"{spk}-208.trans.txt", ["14-208-0000 HELLO"])
    lines = [";ID |SEX| SUBSET |MINUTES| NAME", "14 | F | train-clean-100 | 25.03 | A"]
    lines += ["146 | M | train-clean-100 | 25.0 | B", "84 | F | dev-clean | 8.0 | C"]
    write(root / "SPEAKERS.TXT", lines)


def aishell(root: Path) -> None:
    """Two readers in each part."""
    for part, speakers in (("train", (2, 3)), ("dev", (724, 725)), ("test", (764, 765))):
        for spk, n in product(speakers, (122, 123)):
            name = f"BAC009S{spk:04d}W{n:04d}.wav"
            tone(root / "data_aishell/wav" / part / f"S{spk:04d}" / name)
    write(root / "resource_aishell/speaker.info", ["0002 F", "0003 M", "S0724 F"])


def common_voice(root: Path) -> None:
    """Two clients in each table; one sentence has a quotation mark that is never closed."""
    columns = ("client_id", "path", "sentence", "up_votes", "age", "gender", "accents", "locale")
    for number, part in enumerate(("train", "dev", "test")):
        rows = ["\t".join(columns)]
        for client, n in product((0, 1), (0, 1)):
            name = f"common_voice_ka_{number}{client}{n}.wav"
            tone(root / "clips" / name)
            identity = f"{number}{client}" * 64
            gender = ("male_masculine", "female_feminine")[client]
            row = [identity, name, '"Never closed', "2", "twenties", gender, "", "ka"]
            rows.append("\t".join(row))
        write(root / f"{part}.tsv", rows)


def musan(root: Path) -> None:
    """Two recordings of each kind, with annotations."""
    for kind, collection, notes in (
        ("noise", "free-sound", ["noise-free-sound-0000 x 0"]),
        ("noise", "sound-bible", ["noise-sound-bible-0000 x 0"]),
        ("music", "fma", ["music-fma-0000 rock,pop N Artist"]),
        ("speech", "librivox", ["speech-librivox-0000 M english - x"]),
    ):
        folder = root / kind / collection
        for n in (0, 1):
            tone(folder / f"{kind}-{collection}-000{n}.wav")
        write(folder / "ANNOTATIONS", notes)
        write(folder / "LICENSE", ["free"])


def rirs(root: Path) -> None:
    """One response of each size of room, a real one, and both kinds of noise."""
    for size in ("small", "medium", "large"):
        tone(root / f"simulated_rirs/{size}room/Room001/Room001-00001.wav")
    real = root / "real_rirs_isotropic_noises"
    response, noise = "RVB2014_type1_rir_largeroom1_far_angla", "RVB2014_type1_noise_largeroom1_1"
    tone(real / f"{response}.wav")
    tone(real / f"{noise}.wav")
    path = f"RIRS_NOISES/real_rirs_isotropic_noises/{response}.wav"
    write(real / "rir_list", [f"--rir-id 00001 --room-id RVB2014_type1_rir_largeroom1 {path}"])
    tone(root / "pointsource_noises/noise-free-sound-0000.wav")


FAKES: dict[str, Callable[[Path], None]] = {
    "voxceleb": voxceleb,
    "voxsrc2020": voxsrc2020,
    "voxsrc2022": voxsrc2022,
    "voxsrc2023": voxsrc2023,
    "cnceleb": cnceleb,
    "3dspeaker": threed_speaker,
    "LibriSpeech": librispeech,
    "aishell": aishell,
    "commonvoice/ka": common_voice,
    "musan": musan,
    "RIRS_NOISES": rirs,
}


def build_corpora(root: Path) -> Path:
    """Make every tree below `root`."""
    for name, build in FAKES.items():
        build(root / name)
    return root
