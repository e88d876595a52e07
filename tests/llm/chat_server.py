"""A real OpenAI-compatible HTTP server for tests: it counts what it is asked and misbehaves on demand."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatServer:
    """Answers chat completions; `reply` may return a text, or (status, headers, body)."""

    def __init__(self, reply=None, delay=0.0, usage=True):
        self.reply, self.delay, self.usage = (
            reply or (lambda body: f"answer to {body['messages'][-1]['content']}"),
            delay,
            usage,
        )
        self.bodies, self.headers = [], []
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner._lock:
                    owner.bodies.append(body)
                    owner.headers.append({name.lower(): value for name, value in self.headers.items()})
                time.sleep(owner.delay)
                said = owner.reply(body)
                status, extra, payload = said if isinstance(said, tuple) else (200, {}, owner.completion(body, said))
                data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                try:
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", **extra}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the asker was killed

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def completion(self, body, text):
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        message = {"role": "assistant", "content": text}
        return {
            "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            **({"usage": usage} if self.usage else {}),
        }  # fmt: skip

    @property
    def asked(self):
        """The last message of each request, in the order in which they came."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def forget(self):
        self.bodies.clear()
        self.headers.clear()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
