"""The order of an epoch over what is read in long runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.storage import StorageOrder, fitting_workers, num_lanes


def storage(num_items: int, chunk: int) -> StorageOrder:
    items = np.random.Generator(np.random.PCG64(num_items)).permutation(num_items)
    return StorageOrder(items, np.arange(0, num_items, chunk))


@given(st.integers(8, 300), st.integers(1, 90), st.integers(1, 4), st.integers(1, 2))
def test_an_epoch_has_each_item_once(n: int, chunk: int, batch: int, world: int) -> None:
    order = EpochPlan(n, batch, world, 3, storage(n, chunk)).order(5)
    assert sorted(order) == list(range(n))
    assert list(order) == list(EpochPlan(n, batch, world, 3, storage(n, chunk)).order(5))


def test_epochs_and_seeds_differ() -> None:
    orders = [
        EpochPlan(200, 5, 1, seed, storage(200, 20)).order(e)
        for seed, e in [(1, 0), (1, 1), (2, 0)]
    ]
    assert all(
        list(one) != list(two) for one, two in [(orders[0], orders[1]), (orders[0], orders[2])]
    )


@pytest.mark.parametrize(("world", "workers"), [(1, 1), (1, 3), (1, 4), (2, 6)])
def test_workers_share_the_chunks(world: int, workers: int) -> None:
    """Each chunk is asked for by one worker, but for those at the seams of lanes."""
    n, chunk, batch = 6400, 64, 16
    where = storage(n, chunk)
    plan = EpochPlan(n, batch, world, 1, where)
    chunk_of = np.empty(n, np.int64)
    chunk_of[where.items] = np.arange(n) // chunk
    order = plan.order(0)
    lanes = num_lanes(plan.num_steps)
    assert lanes == 12
    readers: dict[int, set[tuple[int, int]]] = {}
    for step in range(plan.num_steps):
        for rank in range(world):
            for item in plan.batch(order, step, rank):
                readers.setdefault(int(chunk_of[item]), set()).add((rank, step % workers))
    assert sum(map(len, readers.values())) <= len(readers) + lanes * world


def test_neighbours_of_a_run_are_mixed() -> None:
    """Of a set in the order of speakers a batch holds several, some from places far apart."""
    n = 12800
    plan = EpochPlan(n, 32, 1, 1, StorageOrder(np.arange(n), np.arange(0, n, 64)))
    order = plan.order(0)
    batch = plan.batch(order, 7, 0)
    assert len(set(batch // 64)) >= 3


@pytest.mark.parametrize(
    ("asked", "steps", "fit"), [(8, 1000, 6), (5, 1000, 4), (0, 1000, 0), (8, 5, 1)]
)
def test_workers_that_fit(asked: int, steps: int, fit: int) -> None:
    assert fitting_workers(asked, steps) == fit
