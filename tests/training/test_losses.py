"""Losses: their values and gradients, in parts or whole, at one dimension or several."""

import numpy as np
import pytest

from benchmark.errors import BenchError
from benchmark.specs import BiEncoderRun
from benchmark.training.losses import Known, guided_loss, make_loss
from benchmark.training.padding import in_sorted_parts

COLUMNS = [
    ["who pays the harbour office", "queen of the hive", "rye and water", "clock and draw", "acid mite", "steam"],
    ["a mooring is let for one season", "a colony swarms when the queen is old", "the starter is fed with rye flour",
     "a draw may be offered only after a move", "the mite is treated with formic acid", "ten minutes with steam"],
    ["no boat goes faster", "the mite is treated", "a loaf bakes", "ninety minutes", "a colony swarms", "a crust"],
    ["a berth left empty", "a second box in spring", "at room temperature", "an hour late", "honey", "fifty minutes"],
]  # fmt: skip
TARGETS = np.array(
    [[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [1.0, 0.0, 0.0], [3.0, 2.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
)


def run(loss, **more):
    given = {"name": "x", "base": "b", "batch_size": 6, "mini_batch_size": 6, "hard_negatives": 2, "loss": loss, **more}
    return BiEncoderRun.model_validate(given)


@pytest.fixture
def model(tiny_model):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_model), device="cpu").eval()


def vectors(model, seed=None):
    """Of the texts by the model, or random ones."""
    texts = [text for column in COLUMNS for text in column]
    if seed is None:
        found = model.encode(texts, normalize_embeddings=True)
    else:
        found = np.random.default_rng(seed).normal(size=(len(texts), 24)).astype(np.float32)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
    return Known(found, np.arange(len(texts)).reshape(len(COLUMNS), 6).T)


def labels(settings):
    import torch

    if settings.loss in {"margin-mse", "kl"}:
        return torch.tensor(TARGETS, dtype=torch.float32)
    return torch.arange(6) if settings.loss == "gist" else None


def value_and_gradient(model, settings, guide=None):
    import torch

    model.zero_grad()
    loss = make_loss(model, settings, settings.batch_size, guide)
    value = loss([model.preprocess(column) for column in COLUMNS], labels(settings))
    value.backward()
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return float(value.detach()), torch.cat(gradients).numpy().copy()


def cosines(model):
    made = [model.encode(column, normalize_embeddings=True).astype(np.float64) for column in COLUMNS]
    return made, np.stack([(made[0] * column).sum(axis=1) for column in made[1:]], axis=1)


def softmax(values):
    found = np.exp(values - values.max(axis=1, keepdims=True))
    return found / found.sum(axis=1, keepdims=True)


# --- values by hand -------------------------------------------------------------------------------------------------


def test_mnrl_is_cross_entropy_over_all_passages_of_the_batch_at_the_given_scale(model):
    made, _ = cosines(model)
    for scale in (20.0, 5.0):
        logits = scale * made[0] @ np.concatenate(made[1:]).T
        expected = -np.log(softmax(logits)[np.arange(6), np.arange(6)]).mean()
        assert value_and_gradient(model, run("mnrl", scale=scale))[0] == pytest.approx(expected, rel=1e-4)


def test_triplet_is_the_mean_over_negatives_of_what_is_short_of_the_margin(model):
    _, found = cosines(model)
    expected = np.maximum(0, 0.2 + found[:, 1:] - found[:, :1]).mean()
    assert expected > 0
    assert value_and_gradient(model, run("triplet"))[0] == pytest.approx(expected, rel=1e-4)


def test_margin_mse_compares_differences_in_the_units_of_scale(model):
    _, found = cosines(model)
    margins = 20 * (found[:, :1] - found[:, 1:])
    expected = np.square(margins - (TARGETS[:, :1] - TARGETS[:, 1:])).mean()
    assert value_and_gradient(model, run("margin-mse"))[0] == pytest.approx(expected, rel=1e-4)


def test_kl_compares_distributions_over_a_rows_passages(model):
    _, found = cosines(model)
    teacher, student = softmax(TARGETS), softmax(20 * found)
    expected = (teacher * (np.log(teacher) - np.log(student))).sum(axis=1).mean()
    assert value_and_gradient(model, run("kl"))[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_gist_is_sentence_transformers_own_where_the_guide_sees_the_same(model, seed):
    """With a guide of its own tokens and without prompts both must come to the same value and gradient."""
    import torch
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

    known = vectors(model, seed)
    texts = [text for column in COLUMNS[:3] for text in column]

    class Guide(torch.nn.Module):
        """Known vectors by token ids, in the form of a model."""

        tokenizer, max_seq_length = model.tokenizer, model.max_seq_length

        def forward(self, features):
            words = model.tokenizer.batch_decode(features["input_ids"], skip_special_tokens=True)
            rows = [texts.index(word) for word in words]
            return {"sentence_embedding": torch.from_numpy(known.vectors[rows])}

    features = [model.preprocess(column) for column in COLUMNS[:3]]
    expected = GISTEmbedLoss(model, Guide(), temperature=0.05)(features, None)
    expected.backward()
    gradient = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]).clone()
    model.zero_grad()
    made = make_loss(model, run("gist", hard_negatives=1), 6, known)
    value = made([model.preprocess(column) for column in COLUMNS[:3]], torch.arange(6))
    value.backward()
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    own = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    np.testing.assert_allclose(own.numpy(), gradient.numpy(), atol=1e-5)


def test_what_a_guide_takes_for_a_positive_is_no_negative():
    import torch

    def near(angle):
        return [np.cos(angle), np.sin(angle)]

    student = [torch.tensor([near(0.0), near(1.5)]), torch.tensor([near(0.3), near(1.2)])]
    places = np.array([[0, 2], [1, 3]])
    apart = Known(np.array([near(0.0), near(1.5), near(0.1), near(1.4)], dtype=np.float32), places)
    doubtful = Known(np.array([near(0.0), near(1.5), near(0.5), near(0.2)], dtype=np.float32), places)
    strict, lenient = (float(guided_loss(student, torch.arange(2), guide, 20.0)) for guide in (apart, doubtful))
    # The second passage is nearer to the first query than its own, says the second guide: nothing is left but the
    # other query.
    assert lenient < strict


# --- in parts, and at several dimensions ----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mnrl", "gist"])
@pytest.mark.parametrize("dimensions", [[], [8, 16]])
def test_going_through_a_batch_in_parts_changes_nothing(model, loss, dimensions):
    guide = vectors(model, 0) if loss == "gist" else None
    whole, expected = value_and_gradient(model, run(loss, matryoshka=dimensions), guide)
    parted, gradient = value_and_gradient(model, run(loss, matryoshka=dimensions, mini_batch_size=2), guide)
    assert parted == pytest.approx(whole, rel=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)
    assert np.abs(expected).max() > 1e-3


def cut(settings, dimension, model, guide):
    """The loss alone, on vectors of which the first dimensions are left."""
    import torch

    class Cut(torch.nn.Module):
        def forward(self, features):
            return {"sentence_embedding": model(features)["sentence_embedding"][:, :dimension]}

    settings = settings.model_copy(update={"matryoshka": []})
    loss = make_loss(model, settings, 6, guide)
    loss.model = Cut()
    return float(loss([model.preprocess(column) for column in COLUMNS], labels(settings)).detach())


@pytest.mark.parametrize("loss", ["mnrl", "gist", "triplet", "margin-mse", "kl"])
def test_matryoshka_adds_the_loss_at_each_dimension_and_always_at_all(model, loss):
    guide = vectors(model, 0) if loss == "gist" else None
    expected = sum(cut(run(loss), dimension, model, guide) for dimension in (32, 16, 8))
    for size in (6, 2):
        found, _ = value_and_gradient(model, run(loss, matryoshka=[8, 16], mini_batch_size=size), guide)
        assert found == pytest.approx(expected, rel=1e-4)


def test_more_dimensions_than_there_are_is_told(model):
    with pytest.raises(BenchError, match="x: 'matryoshka' names 64 dimensions, the base has 32"):
        make_loss(model, run("mnrl", matryoshka=[64, 16]), 6)


def test_similarities_are_exact_under_mixed_precision(model):
    """bfloat16 has three digits: similarities of hard negatives would collide."""
    import torch

    guide = vectors(model, 0)
    embeddings = [torch.randn(6, 32) for _ in COLUMNS]
    exact = guided_loss(embeddings, torch.arange(6), guide, 20.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(guided_loss(embeddings, torch.arange(6), guide, 20.0)) == float(exact)
        ranked = make_loss(model, run("mnrl"), 6)
        mixed = float(ranked.compute_loss_from_embeddings(embeddings, None))
    assert mixed == float(ranked.compute_loss_from_embeddings(embeddings, None))


# --- padding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "size"), [("mnrl", 6), ("mnrl", 4), ("gist", 6), ("kl", 6)])
def test_parts_of_similar_length_change_no_vector_and_no_gradient(model, loss, size, monkeypatch):
    guide = vectors(model, 0) if loss == "gist" else None
    settings = run(loss, mini_batch_size=size, matryoshka=[16])
    whole, expected = value_and_gradient(model, settings, guide)
    widths = []
    original = model[0].model.forward

    def spy(**given):
        widths.append(tuple(given["input_ids"].shape))
        return original(**given)

    monkeypatch.setattr(model[0].model, "forward", spy)
    with in_sorted_parts(model, 2):
        found, gradient = value_and_gradient(model, settings, guide)
        parted = model.encode(COLUMNS[0])
    assert max(count for count, _ in widths) == 2 and len({width for _, width in widths}) > 2
    assert found == pytest.approx(whole, rel=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)
    np.testing.assert_allclose(parted, model.encode(COLUMNS[0]), atol=1e-6)
    assert "forward" not in vars(model[0])


def test_what_cannot_be_parted_stays_whole(model):
    import torch

    ids = torch.randint(1000, 2000, (6, 5))
    before = torch.tensor([[0, 1, 1, 1, 1]] * 6)
    features = {"input_ids": ids, "attention_mask": before}
    expected = model(dict(features))["sentence_embedding"]
    with in_sorted_parts(model, 2):
        found = model(dict(features))["sentence_embedding"]
    np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())
