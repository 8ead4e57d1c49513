"""Trials of our own for corpora that have none published: drawn for what is not trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.corpus import Job, Prepared
from sv_cli.corpora.listing import (
    Listed,
    Measured,
    measure_parts,
    utterances_of,
    write_data_dir,
)
from sv_cli.corpora.trial_draw import draw_trials, write_trial_rows
from sv_cli.settings.model import Settings


class DrawOptions(Settings):
    """Options of corpora without published trials."""

    trials: int = Field(
        0,
        ge=0,
        description="Draw this many trials, half of them target, for each part not named train; "
        "they are nobody's standard.",
    )
    seed: int = Field(0, ge=0, description="Seed of --trials.")


def write_all(
    parts: Mapping[str, Sequence[Listed]],
    job: Job,
    options: DrawOptions,
    *,
    gender: Mapping[str, str] | None = None,
) -> Prepared:
    """Look at the recordings of all parts and write each as OUT/PART, with trials where asked."""
    measured, skipped = measure_parts(parts, job)
    for name, part in measured.items():
        write_with_trials(part, job.out / name, job, options, gender=gender)
    done = len({item.utt for part in measured.values() for item in part.items})
    return Prepared(done, skipped, tuple(job.out / name for name in measured))


def write_with_trials(
    part: Measured,
    out: Path,
    job: Job,
    options: DrawOptions,
    *,
    gender: Mapping[str, str] | None = None,
) -> None:
    """Write a data directory; with `trials` unless its name starts with train."""
    if options.trials and not out.name.startswith("train"):
        rows = draw_trials(utterances_of(part.items), options.trials, seed=options.seed)
        if len(rows) < options.trials:
            logs.warn(f"`{out}` gives {len(rows)} trials, {options.trials} were asked for")
        write_trial_rows(out / "trials", rows)
    write_data_dir(part, out, job, gender=gender)
