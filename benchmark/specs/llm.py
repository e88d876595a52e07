"""Language models in a configuration file: an OpenAI-compatible endpoint, or a model in this process."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Positive, Strict

Dollars = Annotated[float, Field(ge=0)]
_OWN_PARAMETERS = {
    "max_completion_tokens", "max_tokens", "messages", "model", "n", "response_format", "stop", "stream", "temperature",
}  # fmt: skip


class Remote(Strict):
    """An OpenAI-compatible API; `api_key_env` holds the NAME of an environment variable, never a key.

    Attributes:
        concurrency: Requests under way at once, at most; the client lowers it by itself while it is told to slow down.
        timeout: Seconds for one try.
        deadline: Seconds for one request with all its tries.
    """

    base_url: Annotated[str, Field(pattern=r"^https?://[^/?#]")]
    model: str
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    concurrency: Annotated[int, Field(gt=0, le=512)] = 8
    timeout: Annotated[float, Field(gt=0)] = 60.0
    deadline: Annotated[float, Field(gt=0)] = 600.0
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    usd_per_million_input: Dollars | None = None

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        # The address is told in manifests and messages.
        if re.search(r"^https?://[^/]*@|[?#]", self.base_url):
            raise ValueError(
                "'base_url' must hold no user, password or query; name the key's variable in 'api_key_env'"
            )
        return self


class Endpoint(Remote):
    """A chat endpoint.

    Attributes:
        structured: How answers of a given form are asked for; `auto` begins with the strictest and steps down when
            the endpoint refuses it.
        batch: Send everything through OpenAI's Batch API: half the price, within a day.
        parameters: Further parameters of each request, e.g. `{reasoning_effort: low}`.
    """

    structured: Literal["auto", "json_schema", "json_object", "text"] = "auto"
    batch: bool = False
    parameters: dict[str, Any] = {}
    usd_per_million_output: Dollars | None = None

    @model_validator(mode="after")
    def _own_parameters(self) -> Self:
        taken = sorted(_OWN_PARAMETERS & self.parameters.keys())
        if taken:
            raise ValueError(
                f"'parameters' may not set {', '.join(taken)}: these are set by other keys or by the client"
            )
        return self


class LocalModel(Strict):
    """A causal language model that runs in this process through transformers.

    `style: begun` puts words into a very small model's mouth, which it goes on with; `instructed` gives a larger one
    the same instructions as an endpoint. `context_weight` is the alpha of context-aware decoding (Shi et al.,
    arXiv 2305.14739), for the first style only: how far each token is moved away from what the model would say
    without the passage. 0 switches it off; a larger model needs less.
    """

    package: str | None = None
    path: str | None = None
    gguf: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    style: Literal["begun", "instructed"] = "begun"
    batch_size: Positive = 16
    context_weight: Annotated[float, Field(ge=0, le=2)] = 0.5

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.package is None) == (self.path is None):
            raise ValueError("exactly one of 'package' and 'path' is needed")
        return self


class Budget(Strict):
    """What may be spent on one language model for one domain, over all runs; the run stops cleanly when it is reached."""

    usd: Dollars | None = None
    tokens: Positive | None = None
    calls: Positive | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.usd is None and self.tokens is None and self.calls is None:
            raise ValueError("one of 'usd', 'tokens' and 'calls' is needed")
        return self


class LLMSpec(Strict):
    """A language model: an endpoint or a local model."""

    endpoint: Endpoint | None = None
    local: LocalModel | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    max_tokens: Positive = 1024
    budget: Budget | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.endpoint is None) == (self.local is None):
            raise ValueError("exactly one of 'endpoint' and 'local' is needed")
        prices = (self.endpoint.usd_per_million_input, self.endpoint.usd_per_million_output) if self.endpoint else ()
        if self.budget is not None and self.budget.usd is not None and None in prices:
            raise ValueError("'budget.usd' needs 'usd_per_million_input' and 'usd_per_million_output'")
        return self

    @property
    def instructed(self) -> bool:
        """Whether it follows instructions and can answer in a given form."""
        return self.local is None or self.local.style == "instructed"
