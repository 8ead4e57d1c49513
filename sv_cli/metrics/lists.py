"""Published trial lists, known by their counts and, where the list is at hand, by its hash."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownList:
    """A published list; `num_target` and `digest` where they are known."""

    name: str
    num_trials: int
    num_target: int | None = None
    digest: str | None = None


KNOWN_LISTS: tuple[KnownList, ...] = (
    KnownList("VoxCeleb1-O (original)", 37720, 18860, "7438f1637c5314ab"),
    KnownList("VoxCeleb1-O (cleaned)", 37611, 18802, "bde26296c41571d2"),
    KnownList("VoxCeleb1-E (original)", 581480, 290743),
    KnownList("VoxCeleb1-E (cleaned)", 579818, 289921),
    KnownList("VoxCeleb1-H (original)", 552536, 276270),
    KnownList("VoxCeleb1-H (cleaned)", 550894, 275488),
    KnownList("VoxSRC 2020 validation", 263486),
    KnownList("VoxSRC 2021 validation", 60000),
    KnownList("VoxSRC 2022 validation", 305196),
    KnownList("VoxSRC 2023 validation", 49987, 25645),
    KnownList("CN-Celeb1 evaluation", 3484292),
    KnownList("3D-Speaker cross-device", 180000),
    KnownList("3D-Speaker cross-distance", 180000),
    KnownList("3D-Speaker cross-dialect", 175163),
)


def candidates(num_trials: int, num_target: int) -> list[KnownList]:
    """Return the published lists with these counts."""
    return [
        known
        for known in KNOWN_LISTS
        if known.num_trials == num_trials and known.num_target in (None, num_target)
    ]


def digest_trials(trials: Iterable[tuple[str, str, bool]]) -> str:
    """Return a hash of (enroll, test, target) that ignores order and the spelling of paths.

    `id10270/x6uYqmx31kE/00001.wav` and Kaldi's `id10270-x6uYqmx31kE-00001` are one utterance.
    """
    lines = sorted(
        f"{canonical_name(enroll)} {canonical_name(test)} {int(target)}\n"
        for enroll, test, target in trials
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def canonical_name(utt: str) -> str:
    """Return the name of an utterance as Kaldi spells it: `/` is `-`, and no suffix.

    Examples
    --------
    >>> canonical_name("id10270/x6uYqmx31kE/00001.wav")
    'id10270-x6uYqmx31kE-00001'
    """
    stem = utt[:-4] if utt.endswith((".wav", ".m4a")) else utt.removesuffix(".flac")
    return stem.replace("/", "-")
