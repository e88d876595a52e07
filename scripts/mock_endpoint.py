"""An OpenAI-compatible endpoint with latency and faults; run as: python scripts/mock_endpoint.py LATENCY FAILING STALL SEED.

Latency and stall are seconds, FAILING is 0 or 1. The first line on the screen is the port. GET /counts tells what was
asked, GET /forget begins to count anew.
"""

import asyncio
import hashlib
import json
import random
import sys
from collections import Counter
from typing import Any

# What happens to a request, and how often in a hundred; the rest is answered well.
FATES = {
    "429 with Retry-After": 3,
    "429": 6,
    "500": 6,
    "reset in mid-answer": 6,
    "stall": 5,
    "empty": 1,
    "truncated body": 5,
    "truncated JSON": 5,
    "wrong schema": 5,
    "duplicate answers": 5,
}
GOOD = {"answer", "duplicate answers"}


class MockEndpoint:
    """A chat endpoint; what happens to a request depends on the seed, its messages and how often it was asked.

    Args:
        latency: Seconds before each answer.
        failing: Whether it fails as `FATES` says.
        stall: Seconds that a stall lasts.
        seed: Decides every fate.
    """

    def __init__(self, latency: float, failing: bool, stall: float, seed: int) -> None:
        self._latency, self._failing, self._stall, self._seed = latency, failing, stall, seed
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self._asked: Counter[str] = Counter()
        self._fates: Counter[str] = Counter()
        self._succeeded: set[str] = set()
        self._after_success = 0

    def counts(self) -> dict[str, Any]:
        """What it was asked so far."""
        return {
            "requests": self._asked.total(),
            "again": self._asked.total() - len(self._asked),
            "after_success": self._after_success,
            "fates": dict(self._fates),
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0] or 0)
                body = await reader.readexactly(length)
                if head.startswith("get"):
                    counts = self.counts()
                    if "/forget" in head:
                        self.forget()
                    await self._send(writer, 200, json.dumps(counts).encode())
                elif not await self._answer(writer, json.loads(body)):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up, or was killed
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """Answer as fate has it; False: the connection is to end."""
        key = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
        self._after_success += key in self._succeeded
        self._asked[key] += 1
        fate = self._fate(key)
        self._fates[fate] += 1
        if fate in GOOD:
            self._succeeded.add(key)
        await asyncio.sleep(self._stall if fate == "stall" else self._latency)
        wait = {"Retry-After": "1"} if fate == "429 with Retry-After" else {}
        if fate[:3] in {"429", "500"}:
            await self._send(writer, int(fate[:3]), b'{"error": {"message": "not now"}}', wait)
            return True
        data = completion(key, fate)
        if fate == "reset in mid-answer":
            await self._send(writer, 200, data[: len(data) // 2], announced=len(data))
            writer.transport.abort()
            return False
        await self._send(writer, 200, data[: len(data) // 2] if fate == "truncated body" else data)
        return True

    def _fate(self, key: str) -> str:
        if not self._failing:
            return "answer"
        draw = random.Random(f"{self._seed}/{key}/{self._asked[key]}").uniform(0, 100)  # noqa: S311
        for fate, share in FATES.items():
            draw -= share
            if draw < 0:
                return fate
        return "answer"

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        announced: int | None = None,
    ) -> None:
        length = len(data) if announced is None else announced
        lines = {"Content-Type": "application/json", "Content-Length": str(length), **(headers or {})}
        head = f"HTTP/1.1 {status} x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(head.encode() + b"\r\n" + data)
        await writer.drain()


def completion(key: str, fate: str) -> bytes:
    """A chat completion; the answer follows from the conversation alone."""
    text = json.dumps({"question": f"What is {key[:16]}?", "difficulty": int(key[:8], 16) % 5 + 1})
    text = {"empty": "", "truncated JSON": text[: len(text) // 2], "wrong schema": '{"question": 7}'}.get(fate, text)
    ended = "length" if fate == "truncated JSON" else "stop"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ended}
    choices = [choice, {**choice, "index": 1}] if fate == "duplicate answers" else [choice]
    usage = {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": choices, "usage": usage}).encode()


async def run_endpoint(endpoint: MockEndpoint) -> None:
    """Serve until the process is ended; the first line on the screen is the port."""
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    latency, fails, stall, seed = sys.argv[1:]
    asyncio.run(run_endpoint(MockEndpoint(float(latency), fails == "1", float(stall), int(seed))))
