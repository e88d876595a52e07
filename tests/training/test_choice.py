"""Do no harm: constructed cases of what speaks for and against a mixture."""

import numpy as np
import pytest

from benchmark.errors import BenchError
from benchmark.training.choice import ENOUGH_WRITTEN, FEWEST_QUERIES, Kind, choose

EVERY = Kind("span", np.arange(0, 100))
NAMES = Kind("with title", np.arange(60, 100))
BASE = np.array([0.5] * 60 + [0.8] * 40)


def scores(low, high):
    """60 queries of one kind, 40 that name their document."""
    return np.array([low] * 60 + [high] * 40) + np.random.default_rng(0).normal(scale=0.01, size=100)


def test_a_gain_everywhere_keeps_the_best():
    chosen = choose(BASE, {1.0: scores(0.7, 0.9), 0.5: scores(0.6, 0.85)}, [EVERY, NAMES])
    assert (chosen.share, chosen.word) == (1.0, "tuned")
    assert "share 1 is the best of 2 (0.6200 -> " in chosen.why
    assert "no kind of query loses significantly" in chosen.why
    over = choose(BASE, {1.0: scores(0.55, 0.85), 0.5: scores(0.6, 0.85)}, [EVERY, NAMES])
    assert (over.share, over.word) == (0.5, "mixed")


def test_a_loss_on_titles_brings_a_smaller_share():
    mixtures = {1.0: scores(0.9, 0.6), 0.5: scores(0.7, 0.75), 0.25: scores(0.6, 0.82)}
    chosen = choose(BASE, mixtures, [EVERY, NAMES])
    assert (chosen.share, chosen.word) == (0.25, "mixed")
    assert "'with title' worse (0.8000 -> " in chosen.why
    rows = chosen.to_json()["mixtures"]
    assert [row["share"] for row in rows] == [0.0, 0.25, 0.5, 1.0]
    harmed = {row["share"]: [kind["harmed"] for kind in row["kinds"]] for row in rows}
    assert harmed == {0.0: [], 0.25: [False, False], 0.5: [False, True], 1.0: [False, True]}
    assert [row["agreement"] for row in rows] == [None, 1.0, 0.5, 0.5]


def test_where_every_mixture_harms_or_none_gains_the_base_stays():
    harmful = choose(BASE, {1.0: scores(0.9, 0.6), 0.5: scores(0.8, 0.7)}, [EVERY, NAMES])
    assert (harmful.share, harmful.word) == (0.0, "base")
    assert "share 1 would be the best, but makes queries of the kind 'with title' worse" in harmful.why
    assert "no smaller share gains with nothing against it" in harmful.why
    useless = choose(BASE, {1.0: BASE, 0.5: BASE - 0.1}, [EVERY, NAMES])
    assert useless.share == 0.0
    assert "no mixture is better than the base on the development split" in useless.why


def test_a_loss_that_may_be_chance_is_let_pass():
    noisy = BASE + np.random.default_rng(1).normal(scale=0.3, size=100)
    noisy[60:] += (BASE[60:] - noisy[60:]).mean() - 0.005
    noisy[:60] += 0.2
    unsure = choose(BASE, {1.0: noisy}, [EVERY, NAMES])
    assert unsure.kinds[1.0][1].loses
    assert not unsure.kinds[1.0][1].harmed
    assert unsure.share == 1.0


def test_made_queries_warn_but_are_not_in_the_mean():
    base, tuned = np.full(80, 0.5), np.array([0.7] * 40 + [0.3] * 40)
    made = Kind("with title (made for this check)", np.arange(40, 80))
    assert choose(base, {1.0: tuned}, [made], counted=40).share == 0.0
    alone = choose(base, {1.0: tuned}, [], counted=40)
    assert alone.scores == {0.0: pytest.approx(0.5), 1.0: pytest.approx(0.7)}
    assert (alone.share, alone.queries) == (1.0, 40)


# --- written questions ----------------------------------------------------------------------------------------------


def cut_and_written(cuts, written, count=ENOUGH_WRITTEN, spread=0.0):
    """200 cuts of the text and so many written questions, all .5 under the base; the scores of a mixture."""
    noise = np.random.default_rng(2).normal(scale=1.0, size=200 + count)
    noise[:200] -= noise[:200].mean()
    noise[200:] -= noise[200:].mean()
    return np.array([0.5 + cuts] * 200 + [0.5 + written] * count) + spread * noise


WRITTEN = np.arange(200, 200 + ENOUGH_WRITTEN)
KINDS = [Kind("span", np.arange(200)), Kind("llm", WRITTEN)]
FLAT = np.full(200 + ENOUGH_WRITTEN, 0.5)


def test_a_gain_on_cuts_and_a_loss_on_written_questions_leaves_the_base():
    sure = choose(FLAT, {1.0: cut_and_written(0.2, -0.1, spread=0.01)}, KINDS, written=WRITTEN)
    assert sure.share == 0.0
    assert "no mixture is better than the base on 50 written development queries" in sure.why
    unsure = choose(FLAT, {1.0: cut_and_written(0.2, -0.01, spread=0.2)}, KINDS, written=WRITTEN)
    assert not any(kind.harmed for kind in unsure.kinds[1.0])
    assert unsure.share == 0.0
    flat = choose(FLAT, {1.0: cut_and_written(0.2, 0.0)}, KINDS, written=WRITTEN)
    assert flat.share == 0.0


def test_written_questions_choose_the_share_where_there_are_enough_of_them():
    mixtures = {1.0: cut_and_written(0.3, 0.02), 0.5: cut_and_written(0.1, 0.06)}
    by_them = choose(FLAT, mixtures, KINDS, written=WRITTEN)
    assert (by_them.share, by_them.queries, by_them.written) == (0.5, ENOUGH_WRITTEN, True)
    assert by_them.to_json()["by"] == {"queries": ENOUGH_WRITTEN, "written": True}
    assert by_them.scores[1.0] == pytest.approx(0.52)
    by_all = choose(FLAT, mixtures, KINDS, written=WRITTEN[1:])
    assert (by_all.share, by_all.queries, by_all.written) == (1.0, 200 + ENOUGH_WRITTEN, False)


def test_cuts_guard_what_written_questions_choose():
    chosen = choose(FLAT, {1.0: cut_and_written(-0.1, 0.2), 0.25: cut_and_written(0.0, 0.1)}, KINDS, written=WRITTEN)
    assert chosen.share == 0.25
    assert "'span' worse" in chosen.why


# --- agreement ------------------------------------------------------------------------------------------------------


def test_a_mean_that_one_kind_brings_about_against_the_others_is_not_enough():
    rng = np.random.default_rng(0)
    base = np.full(160, 0.5)
    tuned = base + np.concatenate([np.full(100, 0.2), *(-0.02 + 0.2 * part / part.std() for part in (
        values - values.mean() for values in rng.normal(size=(2, 30))
    ))])  # fmt: skip
    kinds = [Kind("span", np.arange(100)), Kind("acronym", np.arange(100, 130)), Kind("heading", np.arange(130, 160))]
    against = choose(base, {1.0: tuned}, kinds)
    assert not any(kind.harmed for kind in against.kinds[1.0])
    assert against.share == 0.0
    assert "more kinds of query lose than gain (2 and 1)" in against.why
    closer = choose(base, {1.0: tuned, 0.5: base + 0.1 * (np.arange(160) < 130)}, kinds)
    assert closer.share == 0.5
    assert "nothing speaks against share 0.5" in closer.why
    assert choose(base, {1.0: tuned}, kinds[:2]).share == 1.0  # one against one is no majority


def test_written_questions_are_not_outvoted_by_cuts():
    rng = np.random.default_rng(0)
    parts = [-0.01 + 0.3 * (values - values.mean()) for values in rng.normal(size=(3, 50))]
    tuned = np.concatenate([*parts, np.full(50, 0.6)]) + np.array([0.5] * 150 + [0.0] * 50)
    kinds = [Kind(str(place), np.arange(place, place + 50)) for place in (0, 50, 100, 150)]
    assert choose(np.full(200, 0.5), {1.0: tuned}, kinds, written=np.arange(150, 200)).share == 1.0
    assert choose(np.full(200, 0.5), {1.0: tuned}, kinds).share == 0.0


# --- little to go by ------------------------------------------------------------------------------------------------


def test_the_base_stays_where_too_few_queries_could_show_anything():
    count = FEWEST_QUERIES - 1
    few = choose(np.full(count, 0.5), {1.0: np.full(count, 0.9)}, [Kind("span", np.arange(count))])
    assert few.share == 0.0
    assert "19 development queries cannot show a difference (20 are needed)" in few.why
    assert few.scores[1.0] == pytest.approx(0.9)
    enough = choose(np.full(count + 1, 0.5), {1.0: np.full(count + 1, 0.9)}, [])
    assert enough.share == 1.0


def test_rounding_is_no_gain():
    base = np.full(30, 0.1)
    assert choose(base, {1.0: base + 1e-15}, [Kind("span", np.arange(30))]).share == 0.0


def test_nothing_to_choose_by_is_told():
    for base, mixtures in (([], {1.0: []}), ([0.5], {})):
        with pytest.raises(BenchError, match="nothing to choose by"):
            choose(base, mixtures, [])
    with pytest.raises(BenchError, match="a paired comparison needs the same ones"):
        choose([0.5, 0.6], {1.0: [0.5]}, [])


def test_a_seed_decides_the_p_values_and_a_mixture_beside_changes_none():
    rng = np.random.default_rng(4)
    tuned, half = BASE + rng.normal(scale=0.1, size=100), BASE + rng.normal(scale=0.1, size=100)
    alone = choose(BASE, {1.0: tuned}, [EVERY, NAMES], seed=3)
    beside = choose(BASE, {1.0: tuned, 0.5: half}, [EVERY, NAMES], seed=3)
    assert alone.kinds[1.0] == beside.kinds[1.0]
    assert alone.kinds[1.0] != choose(BASE, {1.0: tuned}, [EVERY, NAMES], seed=4).kinds[1.0]
