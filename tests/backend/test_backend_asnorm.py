import numpy as np
import pytest
from golden_vectors import read_columns, read_vectors

from sv_cli.backend import asnorm
from sv_cli.backend.asnorm import (
    CohortStats,
    apply_norm,
    check_cohort,
    check_deviation,
    cohort_stats,
    crossed_stats,
    side_stats,
    top_members,
)
from sv_cli.backend.center import magnitudes, mean_vector, normalize_length, subtract_mean
from sv_cli.errors import ShapeError, SvError


def unit_rows(num_rows, seed, dim=6):
    rows = np.random.default_rng(seed).standard_normal((num_rows, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def world():
    return unit_rows(9, 1), unit_rows(13, 2), unit_rows(40, 3)


def test_by_hand():
    embeddings = np.array([[1.0, 0.0]], dtype=np.float32)
    cohort = np.array([[0.6, 0.8], [0.8, 0.6], [-1.0, 0.0]], dtype=np.float32)
    top = cohort_stats(embeddings, cohort, top_n=2)
    np.testing.assert_allclose([top.mean[0], top.std[0]], [0.7, 0.1], atol=1e-7)
    whole = cohort_stats(embeddings, cohort)
    np.testing.assert_allclose(whole.mean, np.mean([0.6, 0.8, -1.0]), atol=1e-7)
    np.testing.assert_allclose(whole.std, np.std([0.6, 0.8, -1.0]), atol=1e-7)


def test_blocks_change_nothing(world, monkeypatch):
    enroll, _, cohort = world
    whole = cohort_stats(enroll, cohort, top_n=5)
    monkeypatch.setattr(asnorm, "BLOCK_CELLS", 80)  # two rows a block
    parts = cohort_stats(enroll, cohort, top_n=5)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-7)
    np.testing.assert_allclose(parts.std, whole.std, atol=1e-7)


def every_trial(enroll, test):
    rows, columns = np.divmod(np.arange(len(enroll) * len(test)), len(test))
    return {"enroll_rows": rows, "test_rows": columns}


def normed(method, world, top_n=None):
    enroll, test, cohort = world
    trials = every_trial(enroll, test)
    raw = (enroll @ test.T).astype(np.float64).ravel()
    one, two = side_stats(method, enroll, test, cohort, top_n=top_n)
    return apply_norm(raw, one, two, **trials, method=method).reshape(len(enroll), len(test))


def test_plain_methods_against_their_definition(world):
    enroll, test, cohort = (side.astype(np.float64) for side in world)
    raw, by_enroll, by_test = enroll @ test.T, enroll @ cohort.T, test @ cohort.T
    z = (raw - by_enroll.mean(1)[:, None]) / by_enroll.std(1)[:, None]
    t = (raw - by_test.mean(1)) / by_test.std(1)
    np.testing.assert_allclose(normed("z", world), z, atol=1e-5)
    np.testing.assert_allclose(normed("t", world), t, atol=1e-5)
    np.testing.assert_allclose(normed("snorm", world), (z + t) / 2, atol=1e-5)
    best, best_test = np.sort(by_enroll, 1)[:, -4:], np.sort(by_test, 1)[:, -4:]
    adaptive = (raw - best.mean(1)[:, None]) / best.std(1)[:, None]
    adaptive = (adaptive + (raw - best_test.mean(1)) / best_test.std(1)) / 2
    np.testing.assert_allclose(normed("asnorm", world, 4), adaptive, atol=1e-4)


def test_chained_methods_against_their_definition(world):
    enroll, test, cohort = (side.astype(np.float64) for side in world)
    raw, by_enroll, by_test = enroll @ test.T, enroll @ cohort.T, test @ cohort.T
    among = cohort @ cohort.T
    np.fill_diagonal(among, np.nan)
    shift, scale = np.nanmean(among, 1), np.nanstd(among, 1)
    z = (raw - by_enroll.mean(1)[:, None]) / by_enroll.std(1)[:, None]
    z_test = (by_test - shift) / scale  # each cohort model z-normed
    np.testing.assert_allclose(normed("zt", world), (z - z_test.mean(1)) / z_test.std(1), atol=1e-5)
    t = (raw - by_test.mean(1)) / by_test.std(1)
    t_enroll = (by_enroll - shift) / scale
    expected = (t - t_enroll.mean(1)[:, None]) / t_enroll.std(1)[:, None]
    np.testing.assert_allclose(normed("tz", world), expected, atol=1e-5)


def test_selection_of_the_other_side(world, monkeypatch):
    enroll, test, cohort = world
    trials = every_trial(enroll, test)
    monkeypatch.setattr(asnorm, "BLOCK_CELLS", 80)
    monkeypatch.setattr(asnorm, "PAIR_CELLS", 10)
    members = top_members(test, cohort, top_n=5)
    rows = {"rows": trials["enroll_rows"], "other_rows": trials["test_rows"]}
    stats = crossed_stats(enroll, cohort, members, **rows)
    scores = (enroll @ cohort.T).astype(np.float64)
    best = np.argsort(test @ cohort.T, axis=1)[:, -5:]
    kept = np.array([scores[e][best[t]] for e, t in zip(*trials.values(), strict=True)])
    np.testing.assert_allclose(stats.mean, kept.mean(1), atol=1e-6)
    np.testing.assert_allclose(stats.std, kept.std(1), atol=1e-6)


def test_one_table_for_both_sides_is_worked_off_once(world):
    one, two = side_stats("asnorm", world[0], world[0], world[2], top_n=3)
    assert one is two


@pytest.mark.parametrize(
    ("size", "top_n", "message"),
    [(1, None, "1 member; a dev"), (10, 11, "11, but .* 10 members"), (10, 1, "top-n is 1")],
)
def test_small_cohorts_are_refused(size, top_n, message):
    with pytest.raises(ShapeError, match=message):
        check_cohort(size, top_n)


def test_cohort_of_two_cannot_be_chained():
    with pytest.raises(ShapeError, match="at least 3"):
        side_stats("zt", unit_rows(2, 1), unit_rows(2, 2), unit_rows(2, 3))


def test_a_zero_deviation_is_named():
    stats = CohortStats(np.zeros(2), np.array([1.0, 0.0]))
    with pytest.raises(SvError, match=r"1 of 2 tests have no deviation.*`b`"):
        check_deviation(stats, ["a", "b"], what="tests")


@pytest.mark.parametrize("part", ["dev", "eval"])
@pytest.mark.parametrize(("name", "top_n"), [("asnorm50", 50), ("snorm", None)])
def test_wespeaker(shared, part, name, top_n):
    golden = shared / "golden/backend"
    mean = mean_vector(read_vectors(golden / "train.ark").matrix)
    vectors, cohort = read_vectors(golden / f"{part}.ark"), read_vectors(golden / "cohort.ark")
    centred = subtract_mean(vectors.matrix, mean)
    lengths = magnitudes(centred)
    unit = normalize_length(centred, vectors.ids)
    members = normalize_length(subtract_mean(cohort.matrix, mean), cohort.ids)
    # WeSpeaker normalises the scores that it printed with 5 decimals
    raw = np.array(read_columns(golden / f"{part}.cosine-submean.score")[2], dtype=float)
    enroll, test, score, _, *rest = read_columns(golden / f"{part}.{name}.score")
    rows, columns = vectors.rows(enroll), vectors.rows(test)
    one, two = side_stats("asnorm", unit, unit, members, top_n=top_n)
    found = apply_norm(raw, one, two, enroll_rows=rows, test_rows=columns)
    np.testing.assert_allclose(found, np.array(score, dtype=float), atol=2e-5, rtol=0)
    figures = (lengths[rows], lengths[columns], one.mean[rows], two.mean[columns])
    for figure, printed in zip(figures, rest, strict=True):  # printed with 4 decimals
        np.testing.assert_allclose(figure, np.array(printed, dtype=float), atol=5.1e-5, rtol=0)
