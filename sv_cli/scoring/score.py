"""Cosines or inner products from tables to tables: listed trials, or the whole rectangle."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli.atomic import atomic_path
from sv_cli.backend.cosine import IN_NUMPY, Gemm, Rows, dot_pairs, iterate_dense, select_dense
from sv_cli.errors import SettingsError
from sv_cli.scoring.labelled_scores import score_list
from sv_cli.scoring.sides import Side, SideOptions, Sides, read_sides
from sv_cli.tables.lineage import describe_inputs, write_lineage
from sv_cli.tables.pairs.scores import format_scores, write_parts
from sv_cli.tables.text import write_table
from sv_cli.workers import torchrun_rank


@dataclass(frozen=True)
class Limits:
    """Which scores of a rectangle are kept; None for all."""

    top_k: int | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Share:
    """Which part of a rectangle is scored: a run of test rows, or of enrolments in an array."""

    num_shards: int = 1
    shard: int = 1

    def rows(self, count: int) -> slice:
        """Return the rows of this part."""
        first, end = (count * place // self.num_shards for place in (self.shard - 1, self.shard))
        return slice(first, end)

    def name(self, target: str) -> str:
        """Return where this part is written: `scores.2` and `scores.2.npy` for the second."""
        if self.num_shards == 1 or target == "-":
            return target  # the standard output of this job is its part
        if target.endswith(".npy"):
            return f"{target[:-4]}.{self.shard}.npy"
        return f"{target}.{self.shard}"


def settle_share(num_shards: int, shard: int, *, dense: bool) -> Share:
    """Return the share of this process: what is asked for, or its rank under torchrun.

    Raises
    ------
    SettingsError
        When there is no such shard, torchrun and `--num-shards` both share the work, or a list of
        trials is to be shared.
    """
    rank, world_size = torchrun_rank()
    if not dense and max(world_size, num_shards) > 1:
        raise SettingsError(
            "only the work of `--dense` is shared", hint="cut the list of trials: `split -n l/4`"
        )
    if world_size > 1 and num_shards > 1:
        raise SettingsError("torchrun shares the work already; leave out `--num-shards`")
    if shard > num_shards:
        raise SettingsError(f"`--shard {shard}`: shards count from 1 to {num_shards}")
    return Share(num_shards, shard) if world_size == 1 else Share(world_size, rank + 1)


def score_trials(files: Sequence[str], options: SideOptions) -> tuple[int, int]:
    """Score trials; `files` are (trials, enroll, test, scores); returns (done, skipped)."""
    trials_file, enroll, test, scores_file = files
    # embeddings first, so that trials may come from a pipe that waits for them
    sides = read_sides(enroll, test, options)

    def score(enroll_rows: Rows, test_rows: Rows) -> NDArray[np.float32]:
        return dot_pairs(
            sides.enroll.matrix, sides.test.matrix, enroll_rows=enroll_rows, test_rows=test_rows
        )

    allow_missing = options.allow_missing
    counts = score_list(trials_file, sides, score, scores_file, allow_missing=allow_missing)
    _write_lineage(scores_file, sides, trials=trials_file, enroll=enroll, test=test)
    return counts


def score_rectangle(
    files: Sequence[str],
    options: SideOptions,
    limits: Limits,
    share: Share,
    *,
    gemm: Gemm = IN_NUMPY,
) -> int:
    """Score all enrolments with all tests; `files` are (enroll, test, scores).

    A name that ends in `.npy` receives the rectangle as a memory-mapped float32 array (num_enroll,
    num_test), with the keys in two text tables; any other a list of scores. A share of it has some
    of the rows of the array, or the scores of some of the tests: the lists of all shares in their
    order are the whole list. The scores of a list are those of `dot_pairs` for any `gemm`; an
    array holds its products.

    Returns
    -------
    num_scores : int
        Written.
    """
    enroll, test, target = files
    if target.endswith(".npy"):
        if limits != Limits():
            raise SettingsError("a `.npy` array is whole; `--top-k` and `--threshold` make a list")
        sides = read_sides(enroll, test, options)
        num_scores = _write_array(target, _part(sides.enroll, share), sides.test, gemm)
        _write_lineage(target, sides, enroll=enroll, test=test)
        return num_scores
    sides = read_sides(enroll, test, options)
    tests = _part(sides.test, share)
    num_scores = 0

    def lines() -> Iterator[bytes]:
        nonlocal num_scores
        for kept in select_dense(sides.enroll.matrix, tests.matrix, gemm=gemm, **asdict(limits)):
            num_scores += len(kept.score)
            yield from format_scores(
                (sides.enroll.ids, tests.ids), kept.enroll, kept.test, kept.score
            )

    write_parts(target, lines())
    _write_lineage(target, sides, enroll=enroll, test=test)
    return num_scores


def _write_lineage(target: str, sides: Sides, **inputs: str) -> None:
    write_lineage([target], replace(sides.lineage, inputs=describe_inputs(**inputs)))


def _part(side: Side, share: Share) -> Side:
    if share.num_shards == 1:
        return side
    rows = share.rows(len(side.ids))
    return Side(side.ids[rows], side.matrix[rows])


def _write_array(target: str, enroll: Side, test: Side, gemm: Gemm) -> int:
    shape = (len(enroll.ids), len(test.ids))
    with atomic_path(target) as temporary:
        _reserve(temporary, 4 * shape[0] * shape[1])
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        for rows, scores in iterate_dense(test.matrix, enroll.matrix, gemm=gemm):
            array[rows] = scores
        array.flush()
        del array
    for side, name in ((enroll, "enroll"), (test, "test")):
        write_table(f"{target}.{name}", _numbered(side), sort=False)
    return shape[0] * shape[1]


def _reserve(path: Path, num_bytes: int) -> None:
    """Raise OSError where the disk has no room: writing to a map would end the process."""
    if hasattr(os, "posix_fallocate") and num_bytes:
        with path.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, num_bytes)


def _numbered(side: Side) -> dict[str, str]:
    return {key: str(row) for row, key in enumerate(side.ids)}
