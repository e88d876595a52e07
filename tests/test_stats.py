"""Statistics against scipy as the oracle, and at their edges."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import stats
from benchmark.errors import BenchError

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SCORES = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40)
PAIRS = st.lists(
    st.tuples(st.sampled_from([0, 0.25, 0.5, 1]), st.sampled_from([0, 0.25, 0.5, 1])), min_size=1, max_size=40
)


def paired(n: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.random(n)
    return np.clip(base + rng.normal(shift, 0.2, n), 0, 1), base


# --- oracles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "shift"), [(5, 0.1), (9, 0.0), (12, -0.1), (14, 0.15)])
def test_exact_test_equals_scipys(n, shift):
    system, base = paired(n, shift, seed=n)
    base[0] = system[0]  # a tie changes nothing
    oracle = scipy.stats.permutation_test(
        (system, base), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=np.inf,
        vectorized=True,
    )  # fmt: skip
    assert stats.sign_flip_test(system, base) == pytest.approx(oracle.pvalue, abs=1e-12)


def test_drawn_test_comes_close_to_scipys():
    system, base = paired(60, 0.045, seed=3)
    oracle = scipy.stats.permutation_test(
        (system, base), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=40_000,
        vectorized=True, rng=1,
    )  # fmt: skip
    assert 0.01 < oracle.pvalue < 0.2
    assert stats.sign_flip_test(system, base, permutations=40_000) == pytest.approx(oracle.pvalue, abs=0.006)


def test_drawn_and_exact_test_agree_at_the_limit():
    system, base = paired(stats.EXACT_LIMIT, 0.08, seed=2)
    drawn = stats._drawn(stats.differences(system, base)[:, None], 50_000, 0)[0]
    assert drawn == pytest.approx(stats.sign_flip_test(system, base), abs=0.01)


def test_p_is_never_zero_when_drawn():
    assert stats.sign_flip_test(np.ones(100), np.zeros(100), permutations=1000) == 1 / 1001


@pytest.mark.parametrize("n", [30, 200])
def test_interval_comes_close_to_scipys(n):
    gaps = stats.differences(*paired(n, 0.05, seed=n))
    oracle = scipy.stats.bootstrap((gaps,), np.mean, method="percentile", n_resamples=10_000, rng=0).confidence_interval
    found = stats.bootstrap_interval(gaps)
    assert found.low == pytest.approx(oracle.low, abs=0.04 * gaps.std())
    assert found.high == pytest.approx(oracle.high, abs=0.04 * gaps.std())


def test_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    samples = rng.beta(0.5, 0.5, size=(80, 400))  # 400 test sets of 80 questions, true mean 0.5
    intervals = stats.bootstrap_intervals(samples, resamples=2000)
    covered = sum(found.low <= 0.5 <= found.high for found in intervals) / 400
    assert 0.92 <= covered <= 0.975


def test_test_keeps_its_level_without_a_difference():
    gaps = np.random.default_rng(1).normal(0, 0.3, size=(50, 400))
    p_values = np.array(stats.sign_flip_tests(gaps, permutations=2000))
    assert 0.025 <= (p_values < 0.05).mean() <= 0.08


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, then never falling: .02 .03 .06 .06.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_is_not_the_false_discovery_rate():
    p_values = [0.01, 0.02, 0.03, 0.04]
    assert scipy.stats.false_discovery_control(p_values) == pytest.approx([0.04] * 4)
    assert stats.holm(p_values) == pytest.approx([0.04, 0.06, 0.06, 0.06])


def test_minimum_detectable_is_2_8_standard_errors():
    gaps = stats.differences(*paired(100, 0.05))
    error = scipy.stats.sem(gaps)
    assert stats.minimum_detectable(gaps) / error == pytest.approx(2.8016, abs=1e-3)
    assert stats.minimum_detectable(gaps, alpha=0.01) > stats.minimum_detectable(gaps)


def test_minimum_detectable_is_found_in_80_of_100_test_sets():
    rng = np.random.default_rng(4)
    true = stats.minimum_detectable(rng.normal(0, 0.3, 100))
    gaps = rng.normal(true, 0.3, size=(100, 400))
    found = (np.array(stats.sign_flip_tests(gaps, permutations=2000)) < 0.05).mean()
    assert 0.7 <= found <= 0.9


# --- edges --------------------------------------------------------------------------------------------------------


def test_a_perfect_run():
    perfect, base = np.ones(50), paired(50, 0)[1]
    assert stats.mean(perfect) == 1
    assert stats.bootstrap_interval(perfect) == (1, 1)
    assert stats.verdict(stats.mean(stats.differences(perfect, base)), stats.sign_flip_test(perfect, base)) == "better"


def test_an_empty_run_scores_zero_on_every_query():
    empty, base = np.zeros(50), paired(50, 0)[1]
    assert stats.mean(empty) == 0
    assert stats.bootstrap_interval(empty) == (0, 0)
    assert stats.verdict(stats.mean(stats.differences(empty, base)), stats.sign_flip_test(empty, base)) == "worse"


def test_one_query_shows_nothing():
    gaps = stats.differences([1.0], [0.0])
    assert stats.mean(gaps) == 1
    assert stats.bootstrap_interval(gaps) is None
    assert stats.sign_flip_test([1.0], [0.0]) == 1
    assert stats.minimum_detectable(gaps) is None
    assert stats.verdict(1.0, 1.0) == "not shown"


@pytest.mark.parametrize("n", [1, 10, 200])
def test_two_equal_systems(n):
    scores = paired(n, 0)[0]
    gaps = stats.differences(scores, scores)
    assert stats.sign_flip_test(scores, scores) == 1
    assert stats.counts(gaps) == (0, 0, n)
    assert stats.bootstrap_interval(gaps) == (None if n == 1 else (0, 0))
    assert stats.minimum_detectable(gaps) is None
    assert stats.verdict(0.0, 0.0) == "not shown"


def test_rounding_is_not_a_difference():
    left, right = [0.1 + 0.2, 1.0], [0.3, 0.5]
    assert left[0] != right[0]
    assert stats.counts(stats.differences(left, right)) == (1, 0, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("function", [
    stats.mean, stats.bootstrap_interval, stats.sign_flip_tests, stats.counts, stats.minimum_detectable,
    lambda values: stats.differences(values, [0.0, 0.0]), lambda values: stats.differences([0.0, 0.0], values),
])  # fmt: skip
def test_nan_is_refused(function, bad):
    with pytest.raises(BenchError, match="NaN or infinity"):
        function([0.5, bad])


@pytest.mark.parametrize("function", [stats.mean, stats.bootstrap_interval, stats.sign_flip_tests, stats.counts])
def test_no_query_is_refused(function):
    with pytest.raises(BenchError, match="no query"):
        function([])


def test_different_lengths_are_refused():
    with pytest.raises(BenchError, match="3 queries against 2"):
        stats.differences([1, 2, 3], [1, 2])


@pytest.mark.parametrize("bad", [[math.nan], [-0.1], [1.1, 0.5]])
def test_holm_refuses_what_is_no_probability(bad):
    with pytest.raises(BenchError, match="p values"):
        stats.holm(bad)


def test_verdict_needs_p_under_alpha():
    assert stats.verdict(0.1, 0.0499) == "better"
    assert stats.verdict(-0.1, 0.0499) == "worse"
    assert stats.verdict(0.1, 0.05) == "not shown"
    assert stats.verdict(0.1, 0.02, alpha=0.01) == "not shown"


# --- seeds and columns ----------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_figures_and_other_seeds_do_not():
    gaps = stats.differences(*paired(50, 0.05))
    assert stats.bootstrap_interval(gaps, seed=1) == stats.bootstrap_interval(gaps, seed=1)
    assert stats.bootstrap_interval(gaps, seed=1) != stats.bootstrap_interval(gaps, seed=2)
    assert stats.sign_flip_tests(gaps, seed=1) == stats.sign_flip_tests(gaps, seed=1)
    assert stats.sign_flip_tests(gaps, seed=1) != stats.sign_flip_tests(gaps, seed=2)


def test_another_column_changes_nothing():
    gaps = np.random.default_rng(0).normal(0.03, 0.3, size=(60, 3))
    gaps[:50, 1] = 0  # this one is enumerated
    together = stats.sign_flip_tests(gaps)
    assert together == pytest.approx([stats.sign_flip_tests(gaps[:, i])[0] for i in range(3)], abs=1e-12)
    together = np.array(stats.bootstrap_intervals(gaps))
    alone = np.array([stats.bootstrap_interval(gaps[:, i]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_blocks_hold_every_resample(monkeypatch):
    monkeypatch.setattr(stats, "_BLOCK", 70)  # seven rows at once, the last block is smaller
    weights = np.concatenate(list(stats._resampled(10, 25, 0)))
    assert weights.shape == (25, 10)
    assert (weights.sum(axis=1) == 10).all()


# --- properties -----------------------------------------------------------------------------------------------------


@QUICK
@given(PAIRS)
def test_swapping_the_systems_swaps_the_signs(pairs):
    left, right = np.array(pairs).T
    assert stats.sign_flip_test(left, right, permutations=500) == stats.sign_flip_test(right, left, permutations=500)
    wins, losses, ties = stats.counts(stats.differences(left, right))
    assert stats.counts(stats.differences(right, left)) == (losses, wins, ties)
    assert wins + losses + ties == len(pairs)


@QUICK
@given(SCORES)
def test_interval_lies_within_the_scores_and_holds_the_mean(scores):
    found = stats.bootstrap_interval(scores, resamples=500)
    if len(scores) == 1:
        assert found is None
        return
    slack = 1e-9
    assert min(scores) - slack <= found.low <= found.high <= max(scores) + slack


@QUICK
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p_values):
    corrected = stats.holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert p <= c <= min(1.0, p * len(p_values)) + 1e-12
    for (p, c), (q, d) in itertools.combinations(zip(p_values, corrected, strict=True), 2):
        assert (p <= q) <= (c <= d) or p == q


def test_draws_that_are_kept_are_those_that_are_drawn_anew(monkeypatch):
    gaps = np.random.default_rng(4).normal(0.1, 1, size=(300, 3))
    kept = stats.bootstrap_intervals(gaps, resamples=2000), stats.sign_flip_tests(gaps, permutations=2000)
    assert (stats.bootstrap_intervals(gaps, resamples=2000), stats.sign_flip_tests(gaps, permutations=2000)) == kept
    monkeypatch.setattr(stats, "_KEPT", 0)
    assert (stats.bootstrap_intervals(gaps, resamples=2000), stats.sign_flip_tests(gaps, permutations=2000)) == kept
