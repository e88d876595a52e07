"""The client for language models against endpoints of this script's own; run as: python scripts/bench_llm.py [--help].

1. How many requests a second reach an endpoint of fixed latency, beside synchronous batches of five.
2. An endpoint that fails as a script says: how each request ends, and that none is asked again after its success.
3. kill -9 at random points, then a rerun: the answers' bytes beside an undisturbed run's, and what was asked twice.

The endpoint (mock_endpoint.py) is a process of its own, so that it and the client share no interpreter.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.forms import form
from benchmark.llm.journal import Asked, ask, open_journal
from benchmark.llm.model import Answer, ChatRequest, Message
from benchmark.specs import Endpoint

QUESTION = form(
    "question",
    {
        "type": "object",
        "properties": {"question": {"type": "string"}, "difficulty": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["question", "difficulty"],
        "additionalProperties": False,
    },
)
ENDPOINT = Path(__file__).with_name("mock_endpoint.py")
BATCH = 5
PORTIONS = ("throughput", "failing", "kills")
JOB_CONCURRENCY, JOB_LATENCY = 8, 0.04


# --- the endpoint, a process of its own ------------------------------------------------------------------------------


class Served(NamedTuple):
    """An endpoint in a process of its own."""

    url: str

    def counts(self, forget: bool = False) -> dict[str, Any]:
        """What it was asked, as mock_endpoint.py counts."""
        path = "/forget" if forget else "/counts"
        with urllib.request.urlopen(self.url.removesuffix("/v1") + path) as reply:  # noqa: S310 (our own server)
            counts: dict[str, Any] = json.load(reply)
        return counts


@contextmanager
def served(latency: float, *, failing: bool = False, stall: float = 0.0, seed: int = 0) -> Iterator[Served]:
    """Start an endpoint as a process of its own; it ends with the context."""
    words = [str(latency), str(int(failing)), str(stall), str(seed)]
    process = subprocess.Popen(  # noqa: S603 (our own script)
        [sys.executable, str(ENDPOINT), *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        yield Served(f"http://127.0.0.1:{int(process.stdout.readline())}/v1")
    finally:
        process.kill()
        process.communicate()


def requests(count: int) -> list[ChatRequest]:
    """Requests that differ in their last message."""
    return [ChatRequest((Message("user", f"Write question number {i} as JSON."),), form=QUESTION) for i in range(count)]


# --- 1. throughput --------------------------------------------------------------------------------------------------


def throughput(options: argparse.Namespace) -> None:
    """Print requests a second of the client, and of batches that wait for each other."""
    import openai  # noqa: F401 (loading it is no part of the measurement)

    ideal = options.concurrency / options.latency
    with served(options.latency) as endpoint:
        model = EndpointLanguageModel(
            Endpoint(base_url=endpoint.url, model="mock", concurrency=options.concurrency, timeout=60.0)
        )
        began = time.perf_counter()
        came = [
            time.perf_counter() - began
            for _, result in model.answers(requests(options.requests))
            if isinstance(result, Answer)
        ]
        # The first request goes alone, to find out whether the endpoint is there.
        whole, steady = len(came) / came[-1], (len(came) - 1) / (came[-1] - came[0])
        batched = options.batched / asyncio.run(in_batches(endpoint.url, requests(options.batched)))
    print(f"throughput: latency {options.latency:g} s, {options.concurrency} at once, {len(came)} answered")
    for what, rate in [
        ("this client, from the first answer on", steady),
        ("this client, the first request included", whole),
        (f"batches of {BATCH} ({options.batched} requests)", batched),
    ]:
        print(f"  {what:42} {rate:7.2f} requests/s = {rate / ideal:.3f} of {ideal:g}")


async def in_batches(url: str, wanted: Sequence[ChatRequest]) -> float:
    """Seconds for the same requests, a few at once, the next few when all of them are there."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        began = time.perf_counter()
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model="mock", messages=[{"role": "user", "content": request.messages[0].content}]
                    )
                    for request in batch
                )
            )
        return time.perf_counter() - began


# --- 2. an endpoint that fails --------------------------------------------------------------------------------------


def failing(options: argparse.Namespace) -> None:
    """Print how each request ended, and what the endpoint counted."""
    wanted = requests(options.failing)
    with (
        tempfile.TemporaryDirectory() as scratch,
        served(0.02, failing=True, stall=options.stall, seed=options.seed) as endpoint,
    ):
        model = EndpointLanguageModel(
            Endpoint(base_url=endpoint.url, model="mock", concurrency=16, timeout=options.timeout, retries=6)
        )
        began = time.perf_counter()
        first = journalled(model, wanted, Path(scratch))
        seconds, counts = time.perf_counter() - began, endpoint.counts()
        reruns = rerun(model, wanted, Path(scratch))
        total = endpoint.counts()
    print(f"failing endpoint: {len(wanted)} requests, {counts['requests']} tries, {seconds:.1f} s")
    print("  it did             " + ", ".join(f"{fate} {n}" for fate, n in sorted(counts["fates"].items())))
    done = sum(answer is not None for answer in first.answers)
    print(f"  done {done} ({first.sources['repaired']} at the second attempt), failed {len(wanted) - done}")
    for reason, count in first.failures.items():
        print(f"    {count:4} {reason}")
    print(f"  every request done or failed with a reason: {done + sum(first.failures.values()) == len(wanted)}")
    print(f"  reruns until all were answered: {reruns} ({total['requests'] - counts['requests']} tries)")
    print(f"  asked again after success, all runs: {total['after_success']}")


def rerun(model: EndpointLanguageModel, wanted: Sequence[ChatRequest], folder: Path) -> int:
    """Ask for what has failed until nothing fails; returns how many runs that took, 20 at most."""
    for number in range(1, 21):
        try:
            if not journalled(model, wanted, folder).failures:
                return number
        except BenchError:
            continue  # of a few that are left, too many failed again
    raise BenchError("the failing endpoint still fails after 20 reruns")


def journalled(model: EndpointLanguageModel, wanted: Sequence[ChatRequest], folder: Path) -> Asked:
    """Ask through a journal in a folder."""
    with open_journal(folder / "journal.sqlite") as journal:
        return ask(model, wanted, journal, SILENT)


# --- 3. kill -9 -----------------------------------------------------------------------------------------------------


def kills(options: argparse.Namespace) -> None:
    """Print whether killed and resumed runs end with the bytes of an undisturbed one."""
    draws = random.Random(options.seed)  # noqa: S311 (moments of kills)
    same, killed, again, most = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as scratch, served(JOB_LATENCY) as endpoint:
        job(endpoint, options.killed, Path(scratch) / "undisturbed").wait()
        undisturbed = (Path(scratch) / "undisturbed" / "answers.json").read_bytes()
        for number in range(options.kills):
            endpoint.counts(forget=True)
            folder = Path(scratch) / f"run{number}"
            process = job(endpoint, options.killed, folder)
            point, rest = draws.randrange(options.killed), draws.uniform(0, JOB_LATENCY)
            while endpoint.counts()["requests"] < point and process.poll() is None:
                time.sleep(0.002)
            time.sleep(rest)
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            job(endpoint, options.killed, folder).wait()
            twice = endpoint.counts()["again"]
            again, most = again + twice, max(most, twice)
            same += (folder / "answers.json").read_bytes() == undisturbed
    print(f"kill -9: {options.killed} requests, {JOB_CONCURRENCY} at once; killed in the middle {killed} times")
    print(f"  same bytes as an undisturbed run: {same} of {options.kills}")
    print(
        f"  requests asked twice: {again} in all, {most} after one kill at most (under way, or answered and not yet kept)"
    )


def job(endpoint: Served, count: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Start a process that asks, with a journal in the folder, and writes the answers when it has all."""
    return subprocess.Popen([sys.executable, __file__, "job", endpoint.url, str(count), str(folder)])  # noqa: S603


def run_job(url: str, count: int, folder: Path) -> None:
    """What that process does."""
    folder.mkdir(parents=True, exist_ok=True)
    model = EndpointLanguageModel(Endpoint(base_url=url, model="mock", concurrency=JOB_CONCURRENCY))
    wanted = requests(count)
    answers = journalled(model, wanted, folder).answers
    # The port is another one in every run of this script, and with it the model's identity.
    rows = {request.key("mock"): answer and answer.text for request, answer in zip(wanted, answers, strict=True)}
    (folder / "answers.json").write_text(json.dumps(rows, sort_keys=True), encoding="utf-8")


# --- the command line -----------------------------------------------------------------------------------------------


def main(words: Sequence[str]) -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {', '.join(PORTIONS)} (default: all)")
    parser.add_argument("--requests", type=int, default=1920, help="requests for the throughput")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds")
    parser.add_argument("--batched", type=int, default=50, help="requests for the batches")
    parser.add_argument("--failing", type=int, default=400, help="requests to the failing endpoint")
    parser.add_argument("--stall", type=float, default=3.0, help="seconds that a stall lasts")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds for one try at the failing endpoint")
    parser.add_argument("--killed", type=int, default=200, help="requests of the process that is killed")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    unknown = set(options.parts) - set(PORTIONS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; known: {', '.join(PORTIONS)}")
    for name, part in zip(PORTIONS, (throughput, failing, kills), strict=True):
        if not options.parts or name in options.parts:
            part(options)


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["job"]:
            run_job(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        else:
            main(sys.argv[1:])
    except BenchError as error:
        sys.exit(f"error: {error}")
