"""The leak check: the same text, shared sequences of words, and the same meaning."""

import numpy as np
import pytest

from benchmark.encoders.dense import DenseEncoder
from benchmark.synthesis.leak import LeakCheck, closest_similarity

QUESTIONS = ["What is a “clean-up” call?", "Who holds the servicing rights after a sale?"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("what is a 'clean-up' call", "exact"),
        ("Ｗhat is a clean-up call?", "exact"),
        ("Who holds the servicing rights after all?", "ngram"),
        ("Please, what is a clean-up call in plain words, and who may make it?", "ngram"),
        ("Who pays the trustee after a sale of a loan?", None),
        ("clean-up call", None),
    ],
)
def test_leaks_are_seen_through_case_punctuation_and_width(text, kind):
    leak = LeakCheck(QUESTIONS)(text)
    assert (leak.kind if leak else None) == kind
    assert leak is None or (leak.score == 1.0 if kind == "exact" else 0.5 <= leak.score <= 1)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("停泊费用必须在什么时候支付", "exact"),
        ("请问停泊费用必须在什么时候支付呢？", "ngram"),
        ("係留料はいつまでに港湾事務所に支払うのですか", "ngram"),
        ("泊位空置多久可以出租给访客？", None),
        ("防波堤とは何ですか", None),  # "what is ...?" alone is no leak
    ],
)
def test_leaks_are_seen_where_words_have_no_spaces(text, kind):
    questions = ["停泊费用必须在什么时候支付？", "係留料はいつまでに港湾事務所に支払いますか。", "係留とは何ですか"]
    leak = LeakCheck(questions)(text)
    assert (leak.kind if leak else None) == kind


def test_without_test_questions_nothing_leaks():
    assert LeakCheck([])("anything at all") is None
    assert closest_similarity(np.eye(3, dtype=np.float32), np.zeros((0, 3), np.float32)).tolist() == [-1, -1, -1]
    assert closest_similarity(np.zeros((0, 3), np.float32), np.eye(3, dtype=np.float32)).shape == (0,)


@pytest.mark.parametrize("rows", [1, 1024, 1025, 2500])
def test_blocks_give_what_the_whole_matrix_gives(rows):
    rng = np.random.default_rng(0)
    vectors, questions = (rng.normal(size=(n, 8)).astype(np.float32) for n in (rows, 40))
    expected = (vectors.astype(np.float64) @ questions.T.astype(np.float64)).max(axis=1)
    np.testing.assert_allclose(closest_similarity(vectors, questions), expected, atol=1e-4)


def test_a_paraphrase_leaks_by_its_vector_and_by_nothing_else(project):
    question = "How often must the starter be fed with rye flour?"
    paraphrase = "How frequently should one feed the rye flour starter?"
    others = ["How long does the loaf bake?", "Why is steam let into the oven?"]
    encoder = DenseEncoder.load(project, "all-minilm-l6-v2")
    assert all(LeakCheck([question])(text) is None for text in (paraphrase, *others))
    closest = closest_similarity(encoder.encode([paraphrase, *others], "query"), encoder.encode([question], "query"))
    assert closest[0] >= 0.9 > 0.6 > closest[1:].max()
