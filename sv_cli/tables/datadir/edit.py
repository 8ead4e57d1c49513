"""New data directories out of old ones: filter, subset, split, combine, copy."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from sv_cli import logs
from sv_cli.errors import TableError, name_some
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.datadir.segments import Segment
from sv_cli.tables.datadir.validate import keyed_by
from sv_cli.tables.text import sort_key, sort_keys

Value = TypeVar("Value")


def restrict(data: DataDir, utts: Iterable[str]) -> DataDir:
    """Return the directory of these utterances, with the recordings and speakers they need.

    Raises
    ------
    TableError
        When no utterance is left.
    """
    known = data.utt2spk or data.segments or data.wav or data.feats or {}
    kept = [utt for utt in dict.fromkeys(utts) if utt in known]
    if not kept:
        raise TableError(f"`{data.path}`: no utterance is left")
    segments = _only(data.segments, kept)
    recordings = kept
    if segments is not None:
        recordings = list(dict.fromkeys(cut.recording for cut in segments.values()))
    utt2spk = _only(data.utt2spk, kept) or {}
    keys = {"utt": kept, "spk": list(dict.fromkeys(utt2spk.values())), "reco": recordings}
    return replace(
        data,
        wav=_only(data.wav, recordings) or {},
        utt2spk=utt2spk,
        segments=segments,
        utt2dur=_only(data.utt2dur, kept),
        feats=_only(data.feats, kept),
        vad=_only(data.vad, kept),
        extra={
            name: _only(table, keys[keyed_by(name) or "utt"]) or {}
            for name, table in data.extra.items()
        },
    )


def filter_data(
    data: DataDir,
    *,
    utts: Collection[str] | None = None,
    speakers: Collection[str] | None = None,
    exclude: bool = False,
) -> DataDir:
    """Return the directory of listed utterances or speakers, or of all others.

    Raises
    ------
    TableError
        When a listed name is not in the directory, or no utterance is left.
    """
    if utts is not None:
        _refuse_unknown(utts, set(data.utts), data, "utterances", strict=not exclude)
        listed = set(utts)
        chosen = [utt for utt in data.utts if (utt in listed) != exclude]
    else:
        listed = set(speakers or ())
        _refuse_unknown(listed, set(data.utt2spk.values()), data, "speakers", strict=not exclude)
        chosen = [utt for utt in data.utts if (data.utt2spk.get(utt) in listed) != exclude]
    return restrict(data, chosen)


def between_durations(data: DataDir, seconds: float, max_seconds: float) -> DataDir:
    """Return the utterances whose duration is in a range; needs utt2dur."""
    durations = _durations(data)
    return restrict(
        data, [utt for utt in data.utts if seconds <= durations.get(utt, -1) <= max_seconds]
    )


def with_enough_utterances(data: DataDir, count: int) -> DataDir:
    """Return the speakers that have at least `count` utterances."""
    return restrict(
        data, [utt for utts in data.spk2utt.values() if len(utts) >= count for utt in utts]
    )


def subset(data: DataDir, count: int, *, how: str = "spread") -> DataDir:
    """Return `count` utterances, chosen as Kaldi's subset_data_dir.sh does.

    Parameters
    ----------
    data : DataDir
        The whole.
    count : int
        Utterances; for `how` "per-speaker" of each speaker, for "speakers" at least as many from
        whole speakers.
    how : str
        "spread" evenly over the sorted list, "first", "last", "shortest" (needs utt2dur),
        "per-speaker" or "speakers".

    Raises
    ------
    TableError
        When there are fewer than `count` utterances.
    """
    utts = data.utts
    if count < 1:
        raise TableError("a subset holds at least 1 utterance")
    if how != "per-speaker" and count > len(utts):
        raise TableError(f"`{data.path}`: {count} utterances wanted, only {len(utts)} there")
    return restrict(data, _CHOOSE[how](data, utts, count))


def split(data: DataDir, num_parts: int, *, per_utt: bool = False) -> list[DataDir]:
    """Return parts of nearly equal size, speakers kept whole unless `per_utt`, in order.

    Raises
    ------
    TableError
        When there are fewer speakers (or utterances) than parts.
    """
    groups = [[utt] for utt in data.utts] if per_utt else list(data.spk2utt.values())
    word = "utterances" if per_utt else "speakers"
    if not 1 <= num_parts <= len(groups):
        raise TableError(
            f"`{data.path}`: {len(groups)} {word} cannot be split into {num_parts} parts",
            hint=None if per_utt else "`--per-utt` splits speakers, too",
        )
    return [restrict(data, part) for part in _balanced(groups, num_parts)]


def combine(parts: Sequence[DataDir]) -> DataDir:
    """Return several directories as one; a table that one of them lacks is left out and said.

    `segments` is made up for directories without it when another has it; utt2dur then gives its
    ends where it can. The same key with two values is an error.
    """
    if any(part.segments is not None for part in parts):
        parts = [part if part.segments is not None else _with_segments(part) for part in parts]
    names = {name for part in parts for name in part.extra}
    common = {name for name in names if all(name in part.extra for part in parts)}
    if names - common:
        logs.warn(f"left out, since not in every directory: {name_some(sort_keys(names - common))}")
    return DataDir(
        path=parts[0].path,
        wav=_union([part.wav for part in parts], "wav.scp"),
        utt2spk=_union([part.utt2spk for part in parts], "utt2spk"),
        segments=_union_of_all([part.segments for part in parts], "segments"),
        utt2dur=_union_of_all([part.utt2dur for part in parts], "utt2dur"),
        feats=_union_of_all([part.feats for part in parts], "feats.scp"),
        vad=_union_of_all([part.vad for part in parts], "vad.scp"),
        extra={name: _union([p.extra[name] for p in parts], name) for name in sorted(common)},
    )


def copy(
    data: DataDir,
    *,
    spk_prefix: str = "",
    utt_prefix: str = "",
    spk_suffix: str = "",
    utt_suffix: str = "",
) -> DataDir:
    """Return the directory with other names for utterances and speakers, as copy_data_dir.sh.

    utt2uniq keeps the names before where something is put to the utterances; recordings keep
    theirs, unless they are the utterances.
    """

    def utt(name: str) -> str:
        return f"{utt_prefix}{name}{utt_suffix}"

    def spk(name: str) -> str:
        return f"{spk_prefix}{name}{spk_suffix}"

    renamed = _rename(data, utt, spk)
    if utt_prefix or utt_suffix:
        before = data.extra.get("utt2uniq", {})
        renamed.extra["utt2uniq"] = {utt(name): before.get(name, name) for name in data.utts}
    return renamed


def prefix_speakers(data: DataDir) -> DataDir:
    """Return the directory with the speaker put before each utterance that lacks it (`spk-utt`).

    Sorting by utterance then sorts by speaker, which Kaldi's scripts want.
    """
    names = {}
    for name in data.utts:
        speaker = data.utt2spk.get(name, "")
        names[name] = name if name.startswith(f"{speaker}-") else f"{speaker}-{name}"
    return _rename(data, lambda name: names.get(name, name), lambda name: name)


def _rename(data: DataDir, utt: Callable[[str], str], spk: Callable[[str], str]) -> DataDir:
    if len({utt(name) for name in data.utts}) != len(data.utts):
        raise TableError(f"`{data.path}`: two utterances would get the same name")
    by_utt = data.segments is None
    new = {"utt": utt, "spk": spk, "reco": utt if by_utt else lambda name: name}
    return replace(
        data,
        wav={new["reco"](name): rx for name, rx in data.wav.items()},
        utt2spk={utt(name): spk(speaker) for name, speaker in data.utt2spk.items()},
        segments=_keys(data.segments, utt),
        utt2dur=_keys(data.utt2dur, utt),
        feats=_keys(data.feats, utt),
        vad=_keys(data.vad, utt),
        extra={
            name: {new[keyed_by(name) or "utt"](key): value for key, value in table.items()}
            for name, table in data.extra.items()
        },
    )


def _keys(table: dict[str, Value] | None, new: Callable[[str], str]) -> dict[str, Value] | None:
    return None if table is None else {new(key): value for key, value in table.items()}


def _only(table: dict[str, Value] | None, kept: list[str]) -> dict[str, Value] | None:
    """Pick keys from a table: as long as the list, not as the table, for splits into many parts."""
    return None if table is None else {key: table[key] for key in kept if key in table}


def _spread(data: DataDir, utts: list[str], count: int) -> list[str]:
    return [utts[(2 * i + 1) * len(utts) // (2 * count)] for i in range(count)]


def _shortest(data: DataDir, utts: list[str], count: int) -> list[str]:
    durations = _durations(data)
    return sorted(utts, key=lambda utt: (durations.get(utt, float("inf")), sort_key(utt)))[:count]


def _per_speaker(data: DataDir, utts: list[str], count: int) -> list[str]:
    groups = data.spk2utt.values()
    return [utt for group in groups for utt in _spread(data, group, min(count, len(group)))]


def _whole_speakers(data: DataDir, utts: list[str], count: int) -> list[str]:
    """Take speakers spread evenly until `count` utterances are reached."""
    speakers = data.speakers
    likely = max(1, count * len(speakers) // len(utts))
    for number in range(likely, len(speakers) + 1):
        chosen = set(_spread(data, speakers, number))
        kept = [utt for utt in utts if data.utt2spk.get(utt) in chosen]
        if len(kept) >= count:
            return kept
    return utts


_CHOOSE: Mapping[str, Callable[[DataDir, list[str], int], list[str]]] = {
    "spread": _spread,
    "first": lambda data, utts, count: utts[:count],
    "last": lambda data, utts, count: utts[-count:],
    "shortest": _shortest,
    "per-speaker": _per_speaker,
    "speakers": _whole_speakers,
}


def _balanced(groups: list[list[str]], num_parts: int) -> list[list[str]]:
    """Cut a list of groups into runs of nearly equal numbers of utterances, none empty."""
    parts: list[list[str]] = [[] for _ in range(num_parts)]
    total = sum(map(len, groups))
    at = done = 0
    for position, group in enumerate(groups):
        left = len(groups) - position
        full = done + len(group) / 2 > total * (at + 1) / num_parts
        if parts[at] and at + 1 < num_parts and (full or left == num_parts - at - 1):
            at += 1
        parts[at].extend(group)
        done += len(group)
    return parts


def _durations(data: DataDir) -> dict[str, float]:
    if data.utt2dur is None:
        raise TableError(f"`{data.path}`: no utt2dur to choose durations by")
    return data.utt2dur


def _refuse_unknown(
    names: Collection[str], known: set[str], data: DataDir, word: str, *, strict: bool
) -> None:
    unknown = [name for name in names if name not in known]
    if unknown and strict:
        raise TableError(f"`{data.path}` lacks {len(unknown)} {word}: {name_some(unknown)}")


def _with_segments(part: DataDir) -> DataDir:
    """Make whole recordings into segments of themselves."""
    ends = part.utt2dur or {}
    return replace(part, segments={utt: Segment(utt, 0.0, ends.get(utt)) for utt in part.wav})


def _union(tables: Sequence[Mapping[str, Value]], what: str) -> dict[str, Value]:
    union: dict[str, Value] = {}
    for table in tables:
        clash = [key for key in table.keys() & union.keys() if table[key] != union[key]]
        if clash:
            raise TableError(
                f"{len(clash)} keys of {what} have two values: {name_some(sort_keys(clash))}",
                hint="give one of the directories a prefix with `svtool data copy`",
            )
        union.update(table)
    return union


def _union_of_all(tables: Sequence[dict[str, Value] | None], what: str) -> dict[str, Value] | None:
    present = [table for table in tables if table is not None]
    if len(present) < len(tables):
        if present:
            logs.warn(f"left out, since not in every directory: `{what}`")
        return None
    return _union(present, what)
