"""Published trial lists: found or fetched, recognised, and written in the ids of a directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.corpus import Job
from sv_cli.corpora.fetch import fetch
from sv_cli.corpora.files import find_beside
from sv_cli.corpora.listing import Listed
from sv_cli.errors import TableError, name_some
from sv_cli.settings.model import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sv_cli.tables.pairs.trials import Trials


class AllowMissingOptions(Settings):
    """Option of corpora that come with trials."""

    allow_missing: bool = Field(
        False, description="Leave out trials whose recordings are not there, and count them."
    )


class ListOptions(AllowMissingOptions):
    """Options of corpora whose trial lists are published apart from the audio."""

    lists: str = Field("", description="Folder of the trial lists [default: SOURCE].")
    fetch: bool = Field(
        False, description="Fetch the lists that are not there into OUT/lists, by network."
    )


@dataclass(frozen=True)
class PublishedList:
    """A trial list (or another small table) that is published as a file.

    Parameters
    ----------
    file : str
        Name under which it is published.
    trials : str
        Name of the table that becomes of it.
    known_as : str
        Its name in `sv_cli.metrics.lists`.
    address : str
        Where to get it; ends in `/` and lacks the file name.
    md5 : str
        Sum of the file, where it is known.
    """

    file: str
    trials: str = ""
    known_as: str = ""
    address: str = ""
    md5: str = ""


def find_lists(
    published: Sequence[PublishedList], job: Job, options: ListOptions
) -> dict[PublishedList, Path]:
    """Return the path of each list; what is neither there nor fetched is asked for in one line."""
    paths = {item: find_list(item, job, options, fetching=options.fetch) for item in published}
    missing = [item for item, path in paths.items() if path is None]
    for address in dict.fromkeys(item.address for item in missing):
        files = [item.file for item in missing if item.address == address]
        logs.warn(
            f"without {name_some(files, limit=8)}: not in `{options.lists or job.source}`; bring "
            f"them from {address} and name their folder with `--lists`, or use `--fetch`"
        )
    return {item: path for item, path in paths.items() if path is not None}


def find_list(
    item: PublishedList, job: Job, options: ListOptions, *, fetching: bool
) -> Path | None:
    """Return the path of a list: in `--lists` or SOURCE, in OUT/lists, or fetched there."""
    folder = Path(options.lists) if options.lists else job.source
    if options.lists and not Path(options.lists).is_dir():
        raise TableError(f"`--lists {options.lists}`: no such folder")
    path = find_beside(item.file, folder, job.out)
    if path is None and fetching:
        path = job.out / "lists" / item.file
        fetch(item.address + item.file, path, md5=item.md5)
    return path


def utterance_names(items: Sequence[Listed], published: Sequence[str]) -> dict[str, Listed]:
    """Return the published name of each utterance, spelled as `canonical_name` does, -> it."""
    from sv_cli.metrics.lists import canonical_name

    return {canonical_name(name): item for name, item in zip(published, items, strict=True)}


def write_trial_list(
    source: Path,
    target: Path,
    names: Mapping[str, Listed],
    options: AllowMissingOptions,
    *,
    known_as: str = "",
) -> int:
    """Write a published list as `enroll test target|nontarget` in our ids.

    Parameters
    ----------
    source, target : Path
        The list, and the table to write.
    names : mapping of str to Listed
        Published name -> utterance, from `utterance_names`.
    options : AllowMissingOptions
        Whether trials may name recordings that are not there.
    known_as : str
        What the list should be, by `sv_cli.metrics.lists`; said whether it is.

    Returns
    -------
    num_left_out : int
        Trials without recordings.

    Raises
    ------
    TableError
        Names `file:line` of a bad line; the first five recordings that are not there, and how many.
    """
    from sv_cli.tables.pairs.trials import write_trials

    trials = read_published(source)
    if known_as:
        _say_what_it_is(source, trials, known_as)
    trials = _once(source, trials)
    enroll = _resolve(trials.enroll_ids, names)
    test = _resolve(trials.test_ids, names)
    kept = _kept(trials, enroll, test)
    num_left_out = len(trials) - int(kept.sum())
    if num_left_out:
        _refuse_or_count(source, trials, (enroll, test), num_left_out, options)
    ours = _in_our_ids(trials, (enroll, test), kept)
    _warn_about_labels(source, ours, names)
    write_trials(str(target), ours)
    logs.info(f"wrote {len(ours)} trials to `{target}`")
    return num_left_out


def read_published(source: Path) -> "Trials":
    """Return the trials of a list in any of the formats of `read_trials`, repeated ones kept."""
    import numpy as np

    from sv_cli.tables.pairs.columns import read_column_blocks
    from sv_cli.tables.pairs.trials import Trials, read_labels, recognise
    from sv_cli.tables.text import decode

    ids: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
    numbers: tuple[list[int], list[int]] = ([], [])
    targets = []
    form = None
    for block in read_column_blocks(str(source), allowed={2, 3}, what="trials"):
        form = form or recognise(block, str(source))
        if form.label is None:
            raise TableError(f"`{source}`: trials have no labels")
        targets.append(read_labels(block, form, str(source)))
        for column, known, rows in zip((form.enroll, form.test), ids, numbers, strict=True):
            rows += [known.setdefault(name, len(known)) for name in block.columns[column]]
    enroll, test = (np.array(rows, dtype=np.int32) for rows in numbers)
    names = [[decode(name) for name in known] for known in ids]
    return Trials(names[0], names[1], enroll, test, np.concatenate(targets))


def _once(source: Path, trials: "Trials") -> "Trials":
    """Return each pair once; joins by key need that, and a list may repeat itself."""
    import numpy as np

    assert trials.target is not None
    codes = trials.codes()
    pairs, first = np.unique(codes, return_index=True)
    if len(pairs) == len(codes):
        return trials
    both = np.intersect1d(codes[trials.target], codes[~trials.target])
    if len(both):
        enroll, test = divmod(int(both[0]), len(trials.test_ids))
        pair = f"{trials.enroll_ids[enroll]} {trials.test_ids[test]}"
        raise TableError(f"`{source}`: {len(both)} pairs are target and nontarget (as `{pair}`)")
    logs.warn(f"`{source}` repeats {len(codes) - len(pairs)} of its trials; written once")
    first.sort()
    return replace(
        trials, enroll=trials.enroll[first], test=trials.test[first], target=trials.target[first]
    )


def _resolve(ids: Sequence[str], names: Mapping[str, Listed]) -> list[Listed | None]:
    from sv_cli.metrics.lists import canonical_name

    return [names.get(canonical_name(name)) for name in ids]


def _kept(
    trials: "Trials", enroll: Sequence[Listed | None], test: Sequence[Listed | None]
) -> "NDArray[np.bool_]":
    import numpy as np

    first = np.array([item is not None for item in enroll])[trials.enroll]
    kept: NDArray[np.bool_] = first & np.array([item is not None for item in test])[trials.test]
    return kept


def _refuse_or_count(
    source: Path,
    trials: "Trials",
    resolved: tuple[Sequence[Listed | None], Sequence[Listed | None]],
    num_left_out: int,
    options: AllowMissingOptions,
) -> None:
    sides = zip((trials.enroll_ids, trials.test_ids), resolved, strict=True)
    lost = sorted(
        {name for ids, items in sides for name, item in zip(ids, items, strict=True) if not item}
    )
    message = (
        f"`{source}`: {len(lost)} recordings of {num_left_out} trials are not there: "
        f"{name_some(lost)}"
    )
    if not options.allow_missing or num_left_out == len(trials):
        raise TableError(message, hint="`--allow-missing` leaves such trials out")
    logs.warn(f"{message}; left out")


def _in_our_ids(
    trials: "Trials",
    resolved: tuple[Sequence[Listed | None], Sequence[Listed | None]],
    kept: "NDArray[np.bool_]",
) -> "Trials":
    enroll_ids, test_ids = ([item.utt if item else "" for item in items] for items in resolved)
    assert trials.target is not None
    return replace(
        trials,
        enroll_ids=enroll_ids,
        test_ids=test_ids,
        enroll=trials.enroll[kept],
        test=trials.test[kept],
        target=trials.target[kept],
    )


def _warn_about_labels(source: Path, trials: "Trials", names: Mapping[str, Listed]) -> None:
    """Labels must agree with the speakers, where the corpus gives them (`spk` is not `utt`)."""
    import numpy as np

    owners = {item.utt: item.spk for item in names.values()}
    speakers = {spk: number for number, spk in enumerate(dict.fromkeys(owners.values()))}
    ids = (trials.enroll_ids, trials.test_ids)
    sides = [np.array([speakers.get(owners.get(utt, ""), -1) for utt in side]) for side in ids]
    secret = [np.array([owners.get(utt) == utt for utt in side]) for side in ids]
    enroll, test = sides[0][trials.enroll], sides[1][trials.test]
    known = ~(secret[0][trials.enroll] | secret[1][trials.test])
    wrong = int((known & ((enroll == test) != trials.target)).sum())
    if wrong:
        logs.warn(f"`{source}`: {wrong} labels of trials do not agree with the speakers")


def _say_what_it_is(source: Path, trials: "Trials", known_as: str) -> None:
    from sv_cli.metrics.lists import KNOWN_LISTS, digest_trials

    known = next(item for item in KNOWN_LISTS if item.name == known_as)
    assert trials.target is not None
    num_target = int(trials.target.sum())
    same = len(trials) == known.num_trials and known.num_target in (None, num_target)
    by = "its count"
    if same and known.digest:
        pairs = zip(trials.pairs(), trials.target.tolist(), strict=True)
        same = digest_trials((*pair, target) for pair, target in pairs) == known.digest
        by = "its hash"
    if same:
        logs.info(f"`{source}` is {known_as} by {by}")
    else:
        logs.warn(
            f"`{source}` is not {known_as} as published: {len(trials)} trials, {num_target} of "
            f"them target, not {known.num_trials}"
            + ("" if known.num_target is None else f" and {known.num_target}")
        )
