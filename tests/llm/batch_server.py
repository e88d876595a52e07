"""A real HTTP server that speaks OpenAI's files and batches: it keeps what it is sent and ends batches on demand."""

import json
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class BatchServer:
    """Batches stay `in_progress` until `ends` holds a way to end: `completed`, `expired`, `failed` or `cancelled`.

    Attributes:
        ends: How batches end from now on; None: not yet.
        reply: Body of a request -> text of its answer, or (status, body), or an error's code for a line without
            response, or None for no line at all.
        answered: How many requests of a batch have a result before it ends in another way than `completed`.
        refusal: (status, body) of every reply, or None.
        odd: Path -> (headers, content) of a reply that is sent with HTTP 200 in place of the right one.
        files: Id -> content.
        batches: Id -> the batch as it was begun.
        asked: Method and path of each request, in the order in which it came.
        keys: The `Authorization` headers.
    """

    def __init__(self, reply=None, ends="completed"):
        self.reply = reply or (lambda body: f"answer to {body['messages'][-1]['content']}")
        self.ends, self.answered, self.refusal = ends, 0, None
        self.odd = {}
        self.files, self.batches, self.asked, self.keys = {}, {}, [], []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self):
                self.answer(*owner.get(self.path.removeprefix("/v1").partition("?")[0]))

            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                self.answer(*owner.post(self.path.removeprefix("/v1"), head, content))

            def answer(self, status, value):
                owner.asked.append(f"{self.command} {self.path.removeprefix('/v1').partition('?')[0]}")
                owner.keys.append(self.headers["Authorization"])
                if owner.refusal is not None:
                    status, value = owner.refusal
                extra, value = owner.odd.get(self.path.removeprefix("/v1").partition("?")[0], ({}, value))
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", extra.get("Content-Type", "application/json"))
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    self.wfile.flush()
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the asker was killed

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    # --- what is asked ------------------------------------------------------------------------------------------

    def post(self, path, head, content):
        if self.refusal is not None:
            return self.refusal
        if path == "/files":
            parts = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                     for part in BytesParser(policy=HTTP).parsebytes(head + content).iter_parts()}  # fmt: skip
            assert parts["purpose"] == b"batch"
            return 200, self.kept(parts["file"])
        asked = json.loads(content)
        assert path == "/batches" and asked["endpoint"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {"id": name, "object": "batch", "created_at": 1, "status": "validating", **asked}
        return 200, self.batches[name]

    def get(self, path):
        if path == "/batches":
            return 200, {"object": "list", "data": list(self.batches.values())[::-1], "has_more": False}
        kind, name = path.split("/")[1:3]
        if kind == "files" and name in self.files:
            return 200, self.files[name]
        if kind == "batches" and name in self.batches:
            return 200, self.ended(name)
        return 404, {"error": {"message": f"No {kind} with id '{name}'"}}

    # --- what a batch does --------------------------------------------------------------------------------------

    def lines(self, name):
        """The requests of a batch."""
        return [json.loads(line) for line in self.files[self.batches[name]["input_file_id"]].splitlines()]

    def ended(self, name):
        batch = self.batches[name]
        if batch["status"] in {"validating", "in_progress"}:
            batch["status"] = self.ends or "in_progress"
            if self.ends == "failed":
                batch["errors"] = {"object": "list", "data": [{"code": "bad", "message": "Enqueued token limit"}]}
            elif self.ends:
                self.finish(batch, self.lines(name))
        return batch

    def finish(self, batch, lines):
        whole = batch["status"] == "completed"
        fine, broken = [], []
        for line in lines if whole else lines[: self.answered]:
            said = self.reply(line["body"])
            if said is not None:
                (fine if isinstance(said, str) and said[:1] != "!" else broken).append(self.result(line, said))
        for line in [] if whole else lines[self.answered :]:
            broken.append({"custom_id": line["custom_id"], "response": None, "error": {"code": "batch_expired"}})
        # Results come in any order.
        for field, rows in (("output_file_id", fine[::-1]), ("error_file_id", broken)):
            if rows:
                batch[field] = self.kept("".join(json.dumps(row) + "\n" for row in rows).encode())["id"]

    def result(self, line, said):
        if isinstance(said, str) and said[:1] == "!":
            return {"custom_id": line["custom_id"], "response": None, "error": {"code": said[1:], "message": ""}}
        if isinstance(said, str):
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            said = 200, {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
        response = {"status_code": said[0], "request_id": "r", "body": said[1]}
        return {"custom_id": line["custom_id"], "response": response, "error": None}

    def kept(self, content):
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        return {"id": name, "object": "file", "bytes": len(content), "created_at": 1, "filename": "x.jsonl",
                "purpose": "batch", "status": "processed"}  # fmt: skip

    def close(self):
        self._server.shutdown()
        self._server.server_close()
