"""What is wrong with a data directory: all problems at once, each with its line and remedy."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from sv_cli.errors import TableError, name_some
from sv_cli.tables.datadir.segments import parse_segment
from sv_cli.tables.kaldi.specifier import is_pipe, strip_offset
from sv_cli.tables.text import decode, parse_number

_SHOWN = 10
_BLOCK = 4096  # lines split at once: few enough that the collector of cycles stays idle
_FIX = "`svtool data fix` mends it"
_FIELDS = {"utt2spk": (2, 2), "segments": (4, 5), "utt2dur": (2, 2), "utt2num_frames": (2, 2)}
_WITHOUT_VALUE = ("text", "spk2utt")
_COMPLETE = ("feats.scp", "vad.scp", "utt2dur", "utt2num_frames", "utt2num_samples", "text")


@dataclass(frozen=True)
class Problem:
    """Something wrong in a data directory."""

    file: str
    line: int | None
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"`{where}`: {self.message}" + (f" (hint: {self.hint})" if self.hint else "")


@dataclass
class _Table:
    """The lines of a table, unchanged, with their keys."""

    name: str
    path: str
    keys: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)

    def mapping(self) -> dict[str, str]:
        return {decode(k): decode(v) for k, v in zip(self.keys, self.values, strict=True)}


class _Report:
    """Problems, at most a few of one kind in one file, with the count of the rest."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, file: str, line: int | None, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(file, line, message, hint))

    def add_lines(
        self, table: _Table, bad: Iterable[tuple[int, str]], hint: str | None = _FIX
    ) -> None:
        bad = list(bad)
        for line, message in bad[:_SHOWN]:
            self.add(table.path, line, message, hint)
        if len(bad) > _SHOWN:
            message = f"{len(bad) - _SHOWN} more lines of this kind"
            self.add(table.path, bad[_SHOWN][0], message, hint)


def validate(path: str | Path, *, check_files: bool = False) -> list[Problem]:
    """Return every problem of a data directory; an empty list when it is sound.

    Parameters
    ----------
    path : str or Path
        The directory.
    check_files : bool
        Whether the files that wav.scp, feats.scp and vad.scp name are looked for, too.
    """
    path = Path(path)
    if not path.is_dir():
        return [Problem(str(path), None, "no such data directory")]
    report = _Report()
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    tables = {name: _read(path / name, report) for name in names if keyed_by(name)}
    if "spk2utt" not in tables and "utt2spk" in tables:
        report.add(str(path / "spk2utt"), None, "no such file", _FIX)
    if "utt2spk" not in tables:
        report.add(str(path / "utt2spk"), None, "no such file", "each line: utterance, speaker")
        return report.problems
    for table in tables.values():
        _check_order(table, report)
        _check_values(table, report)
    _check_speakers(tables, report)
    _check_keys(tables, report)
    if check_files:
        for name in ("wav.scp", "feats.scp", "vad.scp"):
            _check_files(tables.get(name), report)
    return report.problems


def keyed_by(name: str) -> str | None:
    """Return what a table of a data directory is keyed by: "utt", "spk", "reco", or None."""
    if name in ("text", "feats.scp", "vad.scp", "segments") or name.startswith("utt2"):
        return "utt" if "." not in name or name.endswith(".scp") else None
    if name == "cmvn.scp" or (name.startswith("spk2") and "." not in name):
        return "spk"
    if name == "wav.scp" or (name.startswith("reco2") and "." not in name):
        return "reco"
    return None


def _read(path: Path, report: _Report) -> _Table:
    """Split a table into keys and values; lines that have none are problems."""
    table = _Table(path.name, str(path))
    raw = path.read_bytes()
    if not raw:
        report.add(table.path, None, "is empty", "remove it" if path.name != "utt2spk" else None)
    if raw.startswith(b"\xef\xbb\xbf"):
        report.add(table.path, 1, "starts with a byte order mark", _FIX)
        raw = raw[3:]
    if raw and not raw.endswith(b"\n"):
        report.add(table.path, raw.count(b"\n") + 1, "last line has no line end", _FIX)
    lines = raw.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if b"\r" in raw and path.suffix != ".scp":  # Kaldi accepts CRLF in an scp
        crlf = [(n, "line ends in CRLF") for n, line in enumerate(lines, 1) if line[-1:] == b"\r"]
        report.add_lines(table, crlf)
    _split(table, lines, report)
    return table


def _split(table: _Table, lines: list[bytes], report: _Report) -> None:
    for start in range(0, len(lines), _BLOCK):  # the usual case, in a fraction of the time
        pairs = [line.split(None, 1) for line in lines[start : start + _BLOCK]]
        if set(map(len, pairs)) != {2}:
            break
        table.keys += [key for key, _ in pairs]
        table.values += [value.rstrip() for _, value in pairs]
    done = len(table.keys)
    table.lines = list(range(1, done + 1))
    bad = []
    for number, line in enumerate(lines[done:], start=done + 1):
        parts = line.split(None, 1)
        if not parts:
            bad.append((number, "blank line"))
            continue
        table.keys.append(parts[0])
        table.values.append(parts[1].rstrip() if len(parts) == 2 else b"")
        table.lines.append(number)
        if len(parts) == 1 and table.name not in _WITHOUT_VALUE:
            bad.append((number, f"key `{decode(parts[0])}` has no value"))
    report.add_lines(table, bad)


def _check_order(table: _Table, report: _Report) -> None:
    keys, lines = table.keys, table.lines
    if all(map(operator.lt, keys, keys[1:])):
        return
    if len(set(keys)) < len(keys):
        first: dict[bytes, int] = {}
        repeated = []
        for key, line in zip(keys, lines, strict=True):
            if first.setdefault(key, line) != line:
                repeated.append((line, f"key `{decode(key)}` is in line {first[key]} already"))
        report.add_lines(table, repeated)
    if keys != sorted(keys):
        at = next(i for i in range(1, len(keys)) if keys[i] < keys[i - 1])
        message = f"not sorted (LC_ALL=C): `{decode(keys[at])}` after `{decode(keys[at - 1])}`"
        report.add(table.path, lines[at], message, _FIX)


def _check_values(table: _Table, report: _Report) -> None:
    """Hold the fields of each line against what the table is to hold."""
    check = _CHECKS.get(table.name)
    least, most = _FIELDS.get(table.name, (0, 0))
    if _all_sound(table.name, table.values, least, most):
        return
    bad = []
    for line, value in zip(table.lines, table.values, strict=True):
        if not value:
            continue
        fields = len(value.split()) + 1 if most else 0
        if not least <= fields <= most:
            expected = f"{least}" if least == most else f"{least} to {most}"
            bad.append((line, f"{fields} fields, expected {expected}"))
        elif check and (message := check(decode(value))):
            bad.append((line, message))
    report.add_lines(table, bad, None)


def _all_sound(name: str, values: list[bytes], least: int, most: int) -> bool:
    """Return whether whole arrays show that all values are valid; False where one may not be."""
    if name in _CHECKS and (name not in _SOUND or not _SOUND[name](values)):
        return False
    counts = set(map(len, map(bytes.split, values))) if most else set()
    return all(least <= count + 1 <= most for count in counts)


def _sound_durations(values: list[bytes]) -> bool:
    joined = b"".join(values)
    if not joined.isascii() or b"_" in joined or b"nan" in joined.lower():
        return False
    try:
        numbers = list(map(float, values))
        return min(numbers) > 0 and max(numbers) < math.inf
    except ValueError:  # what is no number, or nothing at all
        return False


_SOUND: Mapping[str, Callable[[list[bytes]], bool]] = {
    "utt2dur": _sound_durations,
    "utt2num_frames": lambda values: b"".join(values).isdigit(),
    "utt2num_samples": lambda values: b"".join(values).isdigit(),
    "spk2gender": lambda values: set(values) <= {b"m", b"f"},
    "wav.scp": lambda values: b"\n~" not in b"\n" + b"\n".join(values),
}


def _check_duration(value: str) -> str | None:
    number = parse_number(value)
    if number is not None and 0 < number < math.inf:
        return None
    return f"duration `{value}` is not above 0 seconds and finite"


def _check_count(value: str) -> str | None:
    return None if value.isascii() and value.isdigit() else f"`{value}` is not a count"


def _check_gender(value: str) -> str | None:
    return None if value in ("m", "f") else f"gender `{value}` is not m or f"


def _check_segment(value: str) -> str | None:
    try:
        parse_segment(value)
    except TableError as error:
        return error.message
    return None


def _check_wav(value: str) -> str | None:
    return "`~` in a path is not expanded" if value.startswith("~") else None


_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "utt2dur": _check_duration,
    "utt2num_frames": _check_count,
    "utt2num_samples": _check_count,
    "spk2gender": _check_gender,
    "segments": _check_segment,
    "wav.scp": _check_wav,
}


def _check_speakers(tables: dict[str, _Table], report: _Report) -> None:
    """utt2spk sorted by utterance must be sorted by speaker, and spk2utt must be its inverse."""
    utt2spk = tables["utt2spk"]
    utts, spks = utt2spk.keys, utt2spk.values
    if not _is_sorted(utts):
        order = sorted(range(len(utts)), key=lambda row: (utts[row], spks[row]))
        utts, spks = [utts[row] for row in order], [spks[row] for row in order]
    if not _is_sorted(spks):
        _report_speaker_order(utt2spk, report)
    if "spk2utt" not in tables:
        return
    inverse: dict[bytes, list[bytes]] = {}
    for utt, spk in zip(utts, spks, strict=True):
        inverse.setdefault(spk, []).append(utt)
    spk2utt = tables["spk2utt"]
    bad = [
        (line, f"utterances of speaker `{decode(spk)}` are not those of utt2spk")
        for spk, utts, line in zip(spk2utt.keys, spk2utt.values, spk2utt.lines, strict=True)
        if sorted(utts.split()) != inverse.get(spk)
    ]
    report.add_lines(spk2utt, bad)
    _compare(spk2utt, set(inverse), "speaker", "utt2spk", report)


def _is_sorted(keys: list[bytes]) -> bool:
    return all(map(operator.le, keys, keys[1:]))


def _report_speaker_order(table: _Table, report: _Report) -> None:
    order = sorted(zip(table.keys, table.values, table.lines, strict=True))
    pairs = pairwise(order)
    before, (utt, spk, line) = next((one[1], two) for one, two in pairs if two[1] < one[1])
    message = (
        f"utterance `{decode(utt)}` of `{decode(spk)}` follows one of `{decode(before)}`: "
        "sorting by utterance does not sort by speaker"
    )
    hint = "make the speaker a prefix of the utterance: `svtool data copy --spk-as-prefix`"
    report.add(table.path, line, message, hint)


def _check_keys(tables: dict[str, _Table], report: _Report) -> None:
    """Every table must speak of the utterances, speakers or recordings that there are."""
    utts = set(tables["utt2spk"].keys)
    recordings = utts
    if "segments" in tables:
        values = [value.split()[:1] for value in tables["segments"].values]
        recordings = {value[0] for value in values if value}
    known = {"utt": utts, "spk": set(tables["utt2spk"].values), "reco": recordings}
    if "wav.scp" not in tables and "feats.scp" not in tables:
        report.add(str(Path(tables["utt2spk"].path).parent), None, "neither wav.scp nor feats.scp")
    for name, table in tables.items():
        if name in ("utt2spk", "spk2utt"):
            continue
        kind = keyed_by(name) or "utt"
        word = {"utt": "utterance", "spk": "speaker", "reco": "recording"}[kind]
        against = "segments" if kind == "reco" and "segments" in tables else "utt2spk"
        whole = name in ("wav.scp", "segments", *_COMPLETE)
        _compare(table, known[kind], word, against, report, complete=whole)


def _compare(
    table: _Table, known: set[bytes], word: str, against: str, report: _Report, *,
    complete: bool = True,
) -> None:  # fmt: skip
    own = set(table.keys)
    if not own <= known:
        extra = [
            (line, f"{word} `{decode(key)}` is not in {against}")
            for key, line in zip(table.keys, table.lines, strict=True)
            if key not in known
        ]
        report.add_lines(table, extra)
    if complete and not known <= own:
        missing = [decode(key) for key in sorted(known - own)]
        message = f"lacks {len(missing)} {word}s of {against}: {name_some(missing)}"
        report.add(table.path, None, message, _FIX)


def _check_files(table: _Table | None, report: _Report) -> None:
    if table is None:
        return
    bad = []
    seen: dict[str, bool] = {}
    for line, value in zip(table.lines, table.values, strict=True):
        name = decode(value)
        if is_pipe(name) or name == "-":
            continue
        file = strip_offset(name)
        if file not in seen:
            seen[file] = Path(file).is_file()
        if not seen[file]:
            bad.append((line, f"`{file}`: no such file"))
    report.add_lines(table, bad, "paths are relative to the current directory")
