"""Any OpenAI-compatible chat endpoint, through the `openai` package: concurrent, patient, quick to say what is wrong."""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from benchmark.files import hash_json
from benchmark.llm.connection import Connection
from benchmark.llm.model import UNLIMITED, A, Answered, ChatRequest, Done, Meter, Price, Q
from benchmark.llm.running import Run
from benchmark.llm.transport import Transport
from benchmark.specs import Endpoint, Remote


class EndpointLanguageModel:
    """An endpoint; the key is read from the environment when the first answer is needed, and told to nobody.

    The first request of all goes alone: an endpoint that is not there, refuses the key or does not know the model ends
    the run at once with one line. A first request that fails for another reason fails alone, and the next one goes
    first; the third in a row ends the run. Later on, what may pass (timeouts, lost connections, 429, 5xx) is tried
    again with growing pauses; `Retry-After` makes all requests pause; an endpoint that has too much to do is asked
    less at once. What stays wrong is a `Failure` of that request alone.
    """

    def __init__(self, spec: Endpoint) -> None:
        self._spec = spec
        self._transport = Transport(spec)

    @property
    def identity(self) -> str:
        """Endpoint, model and further parameters."""
        name = f"{self._spec.base_url.rstrip('/')}#{self._spec.model}"
        return f"{name}#{hash_json(self._spec.parameters)[:12]}" if self._spec.parameters else name

    @property
    def price(self) -> Price:
        """As the configuration says; not known where it does not."""
        return Price(self._spec.usd_per_million_input, self._spec.usd_per_million_output)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the endpoint has refused so far and is no longer sent: parameters, or ways to ask for a form."""
        return tuple(self._transport.left_out)

    def answers(self, requests: Sequence[ChatRequest], meter: Meter = UNLIMITED) -> Iterator[Answered]:
        """Ask, concurrently as soon as the endpoint has answered once.

        What is under way when the run must end is handed on before the error. Closing the iterator stops everything.

        Raises:
            BenchError: The key is not set; the endpoint cannot be reached; it refuses the key or the model; it is
                lost, or asks for too long a pause, in the middle.
        """
        if not requests:
            return
        with closing(ask_all(self._transport, self._spec, requests, meter)) as results:
            for place, result in results:
                yield Answered(place, result)


def ask_all(
    connection: Connection[Q, A], spec: Remote, requests: Sequence[Q], meter: Meter = UNLIMITED
) -> Generator[Done[A], None, None]:
    """Ask as `EndpointLanguageModel` does, whatever the kind of request.

    Raises:
        BenchError: As there.
    """
    connection.read_key()
    run = Run(spec, connection, requests, meter)
    thread = threading.Thread(target=run.work, name="llm", daemon=True)
    thread.start()
    try:
        while (item := run.results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            run.taken()
            yield item
    finally:
        run.stop()
        thread.join()
