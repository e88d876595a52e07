"""Coefficients against published examples and other implementations, and what they say where there is too little."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from benchmark.rating.agreement import Said, _kappa_of, alpha, kappa, leaning, sign_test

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, example D: four observers, twelve units.
TABLE = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def said_of(table) -> list[Said]:
    return [
        Said(f"q{unit}", "it", f"rater{rater}", value)
        for rater, row in enumerate(table)
        for unit, value in enumerate(row)
        if value is not None
    ]


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_is_as_krippendorff_published_it(level, published):
    found = alpha(said_of(TABLE), (1, 2, 3, 4, 5), level, resamples=300)
    assert round(found.value, 3) == published
    assert (found.questions, found.units) == (11, 11)  # the twelfth was rated by one observer alone
    assert found.interval.low < found.value < 1 + 1e-9
    assert found.interval == alpha(said_of(TABLE), (1, 2, 3, 4, 5), level, resamples=300).interval


def test_alpha_needs_questions_and_a_scale():
    few = alpha(said_of([row[:5] for row in TABLE]), (1, 2, 3, 4, 5), "ordinal")
    assert few.value is None and few.interval is None and few.questions == 5
    assert few.why.startswith("not enough: 5 questions")
    same = alpha(said_of([[3] * 12, [3] * 12]), (1, 2, 3, 4, 5), "ordinal")
    assert same.value is None and "no scale" in same.why and same.raw == 1.0
    alone = alpha(said_of([[1, 2, 3] * 5]), (1, 2, 3), "nominal")
    assert alone.value is None and alone.units == 0 and alone.raw is None


def test_an_interval_that_hangs_on_few_resamples_is_not_told():
    nearly = [[3] * 11 + [4], [3] * 11 + [4]]  # a third of the resamples have one value only
    found = alpha(said_of(nearly), (1, 2, 3, 4, 5), "ordinal", resamples=400)
    assert found.value == 1.0 and found.interval is None


def test_questions_are_resampled_and_not_ratings():
    """Twice the answers to each question, all alike, are no more evidence."""
    rng = np.random.default_rng(1)
    table = [[int(v) for v in rng.integers(1, 6, 20)] for _ in range(2)]
    once = said_of(table)
    twice = [*once, *(Said(one.question, "the other", one.rater, one.value) for one in once)]
    narrow = [
        found.interval.high - found.interval.low
        for found in (alpha(rows, (1, 2, 3, 4, 5), "ordinal", resamples=500) for rows in (once, twice))
    ]
    assert narrow[1] == pytest.approx(narrow[0], rel=0.1)


def test_kappa_is_as_published():
    """Cohen 1960's table as given by Fleiss, Levin and Paik 2003, table 18.1: 100 subjects, kappa .68."""
    counts = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]
    one = [a for a in range(3) for b in range(3) for _ in range(counts[a][b])]
    other = [b for a in range(3) for b in range(3) for _ in range(counts[a][b])]
    names = [f"q{i}" for i in range(100)]
    found = kappa(one, other, names, (0, 1, 2), "none", resamples=500)
    assert round(found.value, 2) == 0.68
    assert found.raw == pytest.approx(0.89)
    assert 0.4 < found.interval.low < found.value < found.interval.high < 0.95


@pytest.mark.parametrize(("weights", "theirs"), [("none", None), ("quadratic", "quadratic")])
def test_kappa_is_as_scikit_learn_has_it(weights, theirs):
    rng = np.random.default_rng(2)
    one = rng.integers(1, 6, 60)
    other = np.clip(one + rng.integers(-1, 2, 60), 1, 5)
    found = kappa(list(one), list(other), [str(i // 2) for i in range(60)], (1, 2, 3, 4, 5), weights, resamples=200)
    assert found.value == pytest.approx(cohen_kappa_score(one, other, labels=[1, 2, 3, 4, 5], weights=theirs))
    assert (found.questions, found.units) == (30, 60)


def test_kappa_has_no_value_where_chance_agrees_fully_or_there_is_little():
    found = kappa([1] * 12, [1] * 12, [str(i) for i in range(12)], (1, 2), "none")
    assert found.value is None and "no scale" in found.why
    assert kappa([1, 2], [1, 2], ["a", "b"], (1, 2), "none").why.startswith("not enough: 2 questions")
    assert kappa([], [], [], (1, 2), "none").raw is None
    assert np.isnan(_kappa_of(np.array([[[3.0, 0], [0, 0]]]), "none")).all()


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (9, 1), (40, 25), (700, 600)])
def test_the_sign_test_is_scipys(wins, losses):
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)


def test_a_side_leads_by_votes():
    assert leaning(["a", "a", "b"], "a", "b", "tie") == "a"
    assert leaning(["b", "tie"], "a", "b", "tie") == "b"
    assert leaning([], "a", "b", "tie") == "tie"
