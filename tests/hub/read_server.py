"""As much of the Hugging Face Hub as huggingface_hub asks of it to list models, describe one and fetch its files.

Answers have the shape of the real ones: lists cut down to what `expand` names, `siblings` with sizes only where `blobs` is
asked for, a file's commit and ETag in the headers of `resolve`, and the error codes that the client tells apart.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Model:
    """A repository.

    Attributes:
        files: Of each commit, the last one being `main`'s.
        card: The front matter of its card; None where the Hub has no card.
        gated: Whether its files need a token.
    """

    id: str
    files: dict[str, dict[str, bytes]]
    card: dict[str, Any] | None = None
    tags: list[str] = field(default_factory=list)
    pipeline_tag: str | None = None
    library_name: str | None = None
    downloads: int | None = None
    parameters: int | None = None
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        return list(self.files)[-1] if revision == "main" else revision if revision in self.files else None

    @property
    def all_tags(self) -> list[str]:
        card = self.card or {}
        languages = card.get("language", [])
        licence = [f"license:{card['license']}"] if "license" in card else []
        own = [*(card.get("tags") or []), *([languages] if isinstance(languages, str) else languages), *licence]
        return [*self.tags, *own]

    def rows(self, revision: str) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
            for name, body in self.files[revision].items()
        ]

    def described(self, revision: str, *, sizes: bool = True) -> dict[str, Any]:
        config = json.loads(self.files[revision].get("config.json", b"null"))
        shown = ("architectures", "model_type", "auto_map")
        found = {
            "_id": hashlib.sha1(self.id.encode()).hexdigest()[:24],
            "id": self.id,
            "modelId": self.id,
            "private": False,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "sha": revision,
            "tags": self.all_tags,
            "downloads": self.downloads,
            "likes": 3,
            "pipeline_tag": self.pipeline_tag,
            "library_name": self.library_name,
            "cardData": self.card,
            "config": {key: config[key] for key in shown if key in config} if config else None,
            "siblings": [
                {"rfilename": row["path"], **({"size": row["size"], "blobId": row["oid"]} if sizes else {})}
                for row in self.rows(revision)
            ],
            "safetensors": self.parameters and {"parameters": {"F32": self.parameters}, "total": self.parameters},
        }
        return {key: value for key, value in found.items() if value is not None}


class ReadServer:
    """The Hub on loopback.

    Attributes:
        models: What it has, by id.
        asked: Method and path with query of every request.
        tokens: What was sent in `Authorization`.
        failing: Status with which every request is answered instead.
    """

    def __init__(self, *models: Model) -> None:
        self.models = {model.id: model for model in models}
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.failing: int | None = None
        self.retry_after: str | None = None
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def fetched(self) -> list[str]:
        """Names of the files whose content was sent."""
        return [
            line.split("/resolve/")[1].split("/", 1)[1]
            for line in self.asked
            if line.startswith("GET") and "/resolve/" in line
        ]

    def search(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """As `GET /api/models`: the search looks for one text in ids, every filter is a tag."""
        text, pipeline = (query.get(key, [None])[0] for key in ("search", "pipeline_tag"))
        found = [
            model
            for model in self.models.values()
            if (text is None or text.lower() in model.id.lower())
            and (pipeline is None or model.pipeline_tag == pipeline)
            and set(query.get("filter", [])) <= set(model.all_tags)
        ]
        if query.get("sort") == ["downloads"]:
            found.sort(key=lambda model: -(model.downloads or 0))
        wanted = {"_id", "id", "modelId", *query.get("expand", ["tags", "downloads", "pipeline_tag", "library_name"])}
        rows = [model.described(model.commit("main"), sizes=False) for model in found]
        return [{key: row[key] for key in row if key in wanted} for row in rows][: int(query.get("limit", ["1000"])[0])]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of a reply are two packets
    hub: ReadServer

    def log_message(self, *words):
        pass

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        self.hub.tokens.update(filter(None, [self.headers.get("Authorization")]))
        if self.hub.failing is not None:
            more = {"Retry-After": self.hub.retry_after} if self.hub.retry_after else {}
            return self._send(self.hub.failing, b'{"error": "as told"}', **more)
        split = urlsplit(self.path)
        path, query = unquote(split.path), parse_qs(split.query)
        if path == "/api/models":
            return self._json(self.hub.search(query))
        for model in self.hub.models.values():
            if (
                path.startswith((f"/api/models/{model.id}/", f"/{model.id}/resolve/"))
                or path == f"/api/models/{model.id}"
            ):
                return self._of_model(model, path, query)
        return self._send(401 if "token" not in str(self.hub.tokens) else 404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def _of_model(self, model: Model, path: str, query: dict[str, list[str]]) -> None:
        api = f"/api/models/{model.id}"
        rest = path.removeprefix(api) if path.startswith(api) else path.removeprefix(f"/{model.id}")
        what, _, place = rest.strip("/").partition("/")
        revision, _, name = place.partition("/")
        commit = model.commit(revision or "main")
        if commit is None:
            return self._send(404, X_Error_Code="RevisionNotFound")
        if what in {"", "revision"}:
            return self._json(model.described(commit, sizes="blobs" in query))
        if model.gated and not self.headers.get("Authorization"):
            return self._send(401, X_Error_Code="GatedRepo", X_Error_Message="Access to model is restricted.")
        if what == "tree":
            return self._json(model.rows(commit))
        if name not in model.files[commit]:
            return self._send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        body = model.files[commit][name]
        return self._send(200, body, X_Repo_Commit=commit, ETag=f'"{hashlib.sha1(body).hexdigest()}"')
