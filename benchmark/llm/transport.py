"""One try at a chat completion: what is sent, what came back, and what is left out once it was refused."""

from typing import TYPE_CHECKING

from benchmark.files import Json
from benchmark.llm.completions import Manner, chat_body, read_completion
from benchmark.llm.connection import Connection, refusals_of
from benchmark.llm.model import Answer, ChatRequest, Failure
from benchmark.specs import Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class Transport(Connection[ChatRequest, Answer]):
    """Speaks to a chat endpoint, and remembers what it does not accept.

    Attributes:
        left_out: What the endpoint refused and is no longer sent, in that order: parameters, or ways to ask for a form.
    """

    def __init__(self, spec: Endpoint) -> None:
        super().__init__(spec, f"the language model at {spec.base_url}")
        self._spec = spec
        self.left_out: list[str] = []
        self._manner = Manner(
            "json_schema" if spec.structured == "auto" else spec.structured, yielding=spec.structured == "auto"
        )

    async def ask(self, client: "AsyncOpenAI", request: ChatRequest) -> Answer | Failure:
        """One try; a parameter that the endpoint refuses is left out from then on.

        Raises:
            TroubleError: There is no answer.
            BenchError: No request will do better.
        """
        while True:
            manner = self._manner
            body = chat_body(self._spec, request, manner)
            outcome = await self._post(client, "/chat/completions", body)
            if not isinstance(outcome, Exception):
                return self._read(outcome, read_completion)
            if not self._adapt(manner, body, outcome):
                raise self._trouble(outcome)

    def _adapt(self, manner: Manner, body: Json, error: Exception) -> bool:
        """Whether another try would be asked otherwise: the manner is changed here, or has been since."""
        import openai

        if not isinstance(error, openai.APIStatusError) or error.status_code not in {400, 422}:
            return False
        found = (manner.adapted(body, refusal) for refusal in refusals_of(error))
        adapted = next((each for each in found if each is not None), None)
        if self._manner == manner and adapted is not None:
            self.left_out += manner.left_out(adapted)
            self._manner = adapted
        return adapted is not None
