"""What `domainbench finetune` trains where the benchmark file does not say: a start for everybody."""

from benchmark.device import device_name
from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.project import Domain, Project
from benchmark.specs import AdapterRun, BenchmarkSpec, BiEncoderRun, FinetuneSpec, GenerateSpec, parse_spec

_WHERE = "the default training run"
_LARGE = 200_000_000
"""Parameters from which on a base is tuned with half the learning rate."""


def with_data(spec: BenchmarkSpec) -> BenchmarkSpec:
    """A benchmark file that says how training data are made: where it did not, of the text alone, without an LLM."""
    if spec.generate is not None:
        return spec
    return spec.model_copy(update={"generate": GenerateSpec(retriever=spec.baseline, questions_per_chunk=0)})


def default_runs(project: Project, domain: Domain, spec: BenchmarkSpec, pairs: int) -> list[FinetuneSpec]:
    """A linear adapter on the baseline; on a GPU a bi-encoder as well, if the baseline has weights.

    Args:
        project: Where the baseline's spec stands.
        domain: Whose name the models get.
        spec: The benchmark file; it has a `generate` section.
        pairs: Synthetic queries to learn from.

    Raises:
        BenchError: The baseline gives no vectors.
    """
    base = project.model_spec(spec.baseline)
    has_weights = base.kind == "bi-encoder" and base.source in {"hub", "path", "package"}
    if not has_weights and base.source not in {"api", "truncate_dim", "adapter"}:
        raise BenchError(
            f"the baseline '{spec.baseline}' gives no vectors that could be tuned, and the benchmark file does not "
            "say what to train; add a run under 'finetune'"
        )
    settings = {"kind": "adapter", "name": f"{domain.name}-adapter", "base": spec.baseline}
    runs: list[FinetuneSpec] = [parse_spec(AdapterRun, settings, _WHERE)]
    if has_weights and device_name() != "cpu":
        negatives = spec.generate.negatives.count if spec.generate else 0
        more = bi_encoder_settings(pairs, negatives, base.parameters)
        settings = {"kind": "bi-encoder", "name": f"{domain.name}-tuned", "base": spec.baseline}
        runs.append(parse_spec(BiEncoderRun, {**settings, **more}, _WHERE))
    return runs


def bi_encoder_settings(pairs: int, negatives: int, parameters: int | None) -> Json:
    """Settings of a bi-encoder that suit the number of queries to learn from.

    Few of them are gone through several times, with in-batch negatives alone; more bear mined negatives, of which
    the guide (GISTEmbed, arXiv 2402.16829) leaves out what it takes for relevant, and larger batches.

    >>> bi_encoder_settings(600, 4, 22_000_000)
    {'loss': 'mnrl', 'batch_size': 32, 'learning_rate': 2e-05, 'epochs': 3.0}
    >>> bi_encoder_settings(20_000, 4, 300_000_000)
    {'loss': 'gist', 'batch_size': 128, 'learning_rate': 1e-05, 'epochs': 1.0, 'hard_negatives': 2}
    """
    rate = 1e-5 if parameters is not None and parameters > _LARGE else 2e-5
    if pairs < 1000:
        return {"loss": "mnrl", "batch_size": 32, "learning_rate": rate, "epochs": 3.0}
    many = pairs > 10_000
    return {
        "loss": "gist",
        "batch_size": 128 if many else 64,
        "learning_rate": rate,
        "epochs": 1.0 if many else 2.0,
        "hard_negatives": min(2, negatives),
    }
