"""What mteb's registry of models knows of a model on the Hub."""

import inspect
import logging
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmark.specs.models import Prompts


@dataclass(frozen=True)
class Registered:
    """A model in mteb's registry.

    Attributes:
        source: The registry with its version, for provenance.
        prompts: What goes in front of a retrieval task's queries and documents there; None where that is the model's
            own code's business.
        general: Whether the query's prompt holds mteb's general instruction for retrieval.
        training: Names of the mteb tasks whose data the model was trained on; None where that is not known.
        licence: As mteb writes it.
        parameters: As declared there, often rounded.
    """

    source: str
    prompts: Prompts | None
    general: bool
    training: tuple[str, ...] | None
    licence: str | None
    parameters: int | None


def registered(repository: str) -> Registered | None:
    """A model's entry; None where there is none. Importing mteb takes some seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("mteb").setLevel(logging.ERROR)
        import mteb

        try:
            meta = mteb.get_model_meta(repository)
        except KeyError:
            return None
        if meta.name != repository:  # renamed there, so that it may be another model
            return None
        prompts, general = _prompts(meta)
    return Registered(
        source=f"mteb {mteb.__version__}, registry of models",
        prompts=prompts,
        general=general,
        training=None if meta.training_datasets is None else tuple(sorted(meta.training_datasets)),
        licence=meta.license,
        parameters=meta.n_parameters,
    )


def _prompts(meta: Any) -> tuple[Prompts | None, bool]:
    """What mteb would put in front of a retrieval task's texts, and whether its general instruction is in it.

    Only where the loader is one of mteb's own for sentence-transformers: others give `model_prompts` meanings of
    their own (for Jina's they are names of tasks).
    """
    from mteb.models import SentenceTransformerEncoderWrapper
    from mteb.models.instruct_wrapper import InstructSentenceTransformerModel
    from mteb.models.model_implementations.nomic_models import NomicWrapper

    loader: Any = meta.loader
    given = dict(meta.loader_kwargs or {})
    if isinstance(loader, partial):
        loader, given = loader.func, {**loader.keywords, **given}
    if loader is InstructSentenceTransformerModel:
        return _instructions(given), True
    plain = inspect.isclass(loader) and issubclass(loader, SentenceTransformerEncoderWrapper)
    if plain and (loader is NomicWrapper or loader.encode is SentenceTransformerEncoderWrapper.encode):
        texts = given.get("model_prompts")
        if texts or meta.use_instructions is not True:
            return _looked_up(texts or {}), False
    # The registry's word for "takes no prompt of any form".
    return (Prompts() if meta.use_instructions is False else None), False


def _looked_up(texts: dict[str, str]) -> Prompts:
    from mteb.models.abs_encoder import get_prompt
    from mteb.types import PromptType

    task = _task()
    query, document = (get_prompt(texts, task.metadata, role) or "" for role in (PromptType.query, PromptType.document))
    return Prompts(query=query, document=document)


def _instructions(given: dict[str, Any]) -> Prompts:
    """As `InstructSentenceTransformerModel` forms them, without loading its model."""
    from mteb.models.abs_encoder import PromptSource
    from mteb.models.instruct_wrapper import InstructSentenceTransformerModel
    from mteb.types import PromptType

    model = object.__new__(InstructSentenceTransformerModel)
    model.instruction_template = given.get("instruction_template")
    model.prompts_dict = given.get("prompts_dict")
    if given.get("prompt_priority") is not None:
        model.prompt_priority = [PromptSource.from_str(source) for source in given["prompt_priority"]]
    task = _task()
    with_documents = given.get("apply_instruction_to_passages", True)
    return Prompts(
        query=model.get_task_instruction(task.metadata, PromptType.query),
        document=model.get_task_instruction(task.metadata, PromptType.document) if with_documents else "",
    )


def _task() -> Any:
    """A retrieval task like ours: one that mteb's models have no prompt of its own for."""
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    metadata = TaskMetadata(
        name="DomainRetrieval",
        description="Passages of a domain",
        dataset={"path": "local/domain", "revision": "0"},
        type="Retrieval",
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )
    # mteb finds its general instruction through the classes that live.
    return type("DomainRetrieval", (AbsTaskRetrieval,), {"metadata": metadata})
