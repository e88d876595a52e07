"""A real OpenAI-compatible HTTP server for tests: it counts what it is asked and misbehaves on demand."""

import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Cut(NamedTuple):
    """A reply of which half is sent before the connection is reset."""

    payload: bytes


class ChatServer:
    """Answers chat completions; `reply` may return a text, (status, headers, body), or `cut(...)`.

    Attributes:
        bodies: What was asked, in the order in which it came.
        paths: Where, likewise.
        headers: The headers of each, names in lower case.
        at_once: How many requests were at most under way together.
    """

    def __init__(self, reply=None, delay=0.0, usage=True):
        self.reply = reply or (lambda body: f"answer to {body['messages'][-1]['content']}")
        self.delay, self.usage = delay, usage
        self.bodies, self.paths, self.headers = [], [], []
        self.at_once = self.under_way = 0
        self.lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # the head and the body of a reply are two packets
            wbufsize = -1

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.lock:
                    owner.bodies.append(body)
                    owner.paths.append(self.path)
                    owner.headers.append({name.lower(): value for name, value in self.headers.items()})
                    owner.under_way += 1
                    owner.at_once = max(owner.at_once, owner.under_way)
                try:
                    time.sleep(owner.delay)
                    said = owner.reply(body)
                finally:
                    with owner.lock:
                        owner.under_way -= 1
                try:
                    self.answer(body, said)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the asker was killed, or waits no longer

            def answer(self, body, said):
                if isinstance(said, Cut):
                    status, extra, payload = 200, {}, said.payload
                elif isinstance(said, tuple):
                    status, extra, payload = said
                else:
                    status, extra, payload = 200, {}, owner.completion(body, said)
                data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **extra}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if isinstance(said, Cut) else data)
                self.wfile.flush()
                if isinstance(said, Cut):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True

            def log_message(self, *words):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, request, client_address):
                pass  # connections end in every way here

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def completion(self, body, text, finish_reason="stop", **message):
        """A chat completion; further words go into its message, e.g. `refusal`."""
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        message = {"role": "assistant", "content": text, **message}
        return {
            "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            **({"usage": usage} if self.usage else {}),
        }  # fmt: skip

    def cut(self, body, text="an answer that nobody reads to its end"):
        """A reply that breaks off: half of it is sent, then the connection is reset."""
        return Cut(json.dumps(self.completion(body, text)).encode())

    @property
    def asked(self):
        """The last message of each request, in the order in which they came."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def forget(self):
        self.bodies.clear()
        self.paths.clear()
        self.headers.clear()
        self.at_once = 0

    def close(self):
        self._server.shutdown()
        self._server.server_close()
