"""A Hugging Face Hub on loopback, as huggingface_hub's client asks of it: a real HTTP server over repositories in memory.

It knows repositories with their commits, who may read and write them, uploads of small files within a commit and of
large ones by the LFS protocol (in one piece or in parts), downloads with ranges, listings and search. Faults can be
asked for: a status, a connection that is reset in the middle of an upload or after the work was done, a reply that
waits. It counts requests by kind and keeps what was sent, so that a test can look for what must not be there.
Xet is not offered: clients set HF_HUB_DISABLE_XET=1.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

TYPES = ("models", "datasets", "spaces")
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".png", ".gguf", ".npz")
ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()
TOKEN = "hf_" + "LoopbackTokenOfTheTests" + "01234567890"
READ_TOKEN = "hf_" + "LoopbackTokenThatMayRead" + "0123456789"
USER, ORGANISATION = "tester", "acme"


def git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Blob(NamedTuple):
    """A file: its content, and its sha256 where it is kept by LFS."""

    content: bytes
    lfs: str | None = None

    @property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.lfs}\nsize {len(self.content)}\n".encode()

    @property
    def oid(self) -> str:
        return git_sha(self.pointer if self.lfs else self.content)

    def row(self, path: str) -> dict:
        row = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid}
        if self.lfs:
            row["lfs"] = {"oid": self.lfs, "size": len(self.content), "pointerSize": len(self.pointer)}
        return row


class Commit(NamedTuple):
    """A state of a repository, under 40 hex digits."""

    id: str
    message: str
    tree: dict[str, Blob]


@dataclass
class Repository:
    """A repository: its commits, oldest first, whether it is private, and further keys of its info."""

    type: str
    id: str
    private: bool = False
    info: dict = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)

    def commit(self, message: str, tree: dict[str, Blob]) -> Commit:
        parent = self.commits[-1].id if self.commits else ""
        names = json.dumps([[path, blob.oid] for path, blob in sorted(tree.items())])
        made = Commit(
            hashlib.sha1(f"{self.type}{self.id}{parent}{message}{names}".encode()).hexdigest(), message, dict(tree)
        )
        self.commits.append(made)
        return made

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def files(self) -> dict[str, bytes]:
        """Path -> content at the head, without the file that the Hub itself puts there."""
        return {path: blob.content for path, blob in self.head.tree.items() if path != ".gitattributes"}

    def at(self, revision: str) -> Commit | None:
        if revision in {"main", "refs/heads/main", "HEAD"}:
            return self.head
        return next((commit for commit in self.commits if commit.id == revision), None)

    def card(self) -> dict:
        """The front matter of README.md."""
        text = self.files.get("README.md", b"").decode()
        found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        return (yaml.safe_load(found[1]) or {}) if found else {}


@dataclass
class Fault:
    """What goes wrong with requests of a kind.

    Attributes:
        kind: As in `HubServer.counts`.
        first: The number of the first request of that kind that is hit, from 1 on.
        times: How many are hit.
        status: The reply's status.
        headers: Of the reply.
        message: What the reply says.
        reset: Whether the connection is reset, in the middle of the request's body where it has one.
        lost: Whether the work is done and the connection reset in place of the reply.
        hold: Waits for this event before the request's body is read to its end.
    """

    kind: str
    first: int = 1
    times: int = 1
    status: int = 0
    headers: dict = field(default_factory=dict)
    message: str = "asked for by the test"
    reset: bool = False
    lost: bool = False
    hold: threading.Event | None = None

    def hits(self, number: int) -> bool:
        return self.first <= number < self.first + self.times


class RefusedError(Exception):
    """A reply with an error."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers


class HubServer:
    """A Hub at `address`, with the user `tester`, the organisation `acme`, and a token that writes and one that reads.

    Attributes:
        counts: Requests by kind: create, validate, info, tree, paths, preupload, batch, put, part, complete, verify,
            commit, resolve, whoami, list.
        requests: (kind, method, path, whether there was an authorization) of each, in order.
        received: Bodies of all requests.
        threshold: Files larger than this are LFS files whatever their names.
        part_size: LFS files larger than this are sent in parts.
        page: Rows on a page of a listing.
    """

    def __init__(self, threshold: int = 10_000_000, part_size: int = 5_000_000, page: int = 1000) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.tokens = {TOKEN: ("write", {USER, ORGANISATION}), READ_TOKEN: ("read", {USER, ORGANISATION})}
        self.counts: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, str, bool]] = []
        self.received: list[bytes] = []
        self.reached = threading.Event()
        self.threshold, self.part_size, self.page = threshold, part_size, page
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        for fault in self.faults:
            if fault.hold is not None:
                fault.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def add(
        self, kind: str, name: str, files: dict[str, bytes] | None = None, *, private: bool = False, **info: object
    ):
        """Put a repository there (or a further commit into it): `kind` is model, dataset or space."""
        with self.lock:
            key = (f"{kind}s", name)
            repository = self.repositories.get(key)
            if repository is None:
                repository = self.repositories[key] = Repository(key[0], name, private)
                repository.commit("initial commit", {".gitattributes": Blob(ATTRIBUTES)})
            repository.info |= info
            if files:
                tree = repository.head.tree | {path: self.blob(path, body) for path, body in files.items()}
                repository.commit("files of a test", tree)
            return repository

    def repository(self, kind: str, name: str) -> Repository:
        return self.repositories[f"{kind}s", name]

    def fail(self, kind: str, **how: object) -> Fault:
        """Let requests of a kind go wrong; numbers count from now on."""
        with self.lock:
            how["first"] = how.get("first", 1) + self.counts[kind]
            self.faults.append(Fault(kind, **how))
            return self.faults[-1]

    def blob(self, path: str, body: bytes) -> Blob:
        if not self.is_large(path, len(body)):
            return Blob(body)
        sha = hashlib.sha256(body).hexdigest()
        self.objects[sha] = body
        return Blob(body, sha)

    def is_large(self, path: str, size: int) -> bool:
        return size > 0 and (path.endswith(LFS_SUFFIXES) or size > self.threshold)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that is gone is no error of the server's; everything else is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of a reply are two packets
    # (method, pattern, kind); the handler of a kind is the method of that name.
    ROUTES = tuple(
        (method, re.compile(pattern), kind)
        for method, pattern, kind in (
            ("POST", r"/api/repos/create", "create"),
            ("POST", r"/api/validate-yaml", "validate"),
            ("GET", r"/api/whoami-v2", "whoami"),
            ("GET", r"/api/(models|datasets|spaces)", "list"),
            ("GET", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/revision/([^/]+))?", "info"),
            ("GET", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", "tree"),
            ("POST", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/paths-info/([^/]+)", "paths"),
            ("POST", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
            ("POST", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
            ("POST", r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
            ("PUT", r"/storage/([0-9a-f]{64})", "put"),
            ("PUT", r"/storage/([0-9a-f]{64})/(\d+)", "part"),
            ("POST", r"/storage/([0-9a-f]{64})/complete", "complete"),
            ("POST", r"/storage/verify", "verify"),
            ("GET", r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
        )
    )

    def log_message(self, *words):
        pass

    # --- requests and replies -----------------------------------------------------------------------------------------

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def answer(self):
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, kind in self.ROUTES:
            found = pattern.fullmatch(url.path)
            if wanted == method and found:
                return self.serve(kind, [part and unquote(part) for part in found.groups()])
        self.read_body()
        return self.reply(404, {"error": "Sorry, we can't find the page you are looking for."})

    def serve(self, kind, words):
        with self.hub.lock:
            self.hub.counts[kind] += 1
            number = self.hub.counts[kind]
            self.hub.requests.append((kind, self.command, self.path, self.headers.get("authorization") is not None))
            fault = next((fault for fault in self.hub.faults if fault.kind == kind and fault.hits(number)), None)
        if fault is not None and fault.hold is not None:
            self.hub.reached.set()
            fault.hold.wait(60)
        if fault is not None and fault.reset:
            return self.cut_off(read=True)
        self.body = self.read_body()
        with self.hub.lock:
            self.hub.received.append(self.body)
        if fault is not None and fault.status:
            return self.reply(fault.status, {"error": fault.message}, **fault.headers)
        try:
            with self.hub.lock:
                status, value, headers = getattr(self, f"on_{kind}")(*words)
        except RefusedError as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            headers = {name: text for name, text in headers.items() if text} | refusal.headers
            return self.reply(refusal.status, {"error": refusal.message}, **headers)
        if fault is not None and fault.lost:
            return self.cut_off(read=False)
        return self.reply(status, value, **headers)

    def read_body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def cut_off(self, read):
        """Reset the connection, after some of the body where that is not read yet."""
        if read:
            self.rfile.read(min(1000, int(self.headers.get("content-length") or 0)))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.close_connection = True
        # The file objects hold the socket open; without them the reset goes out at once.
        self.rfile.close()
        self.wfile = _Nowhere()
        self.connection.close()

    def reply(self, status, value, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = "application/octet-stream" if isinstance(value, bytes) else "application/json"
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # --- who may ------------------------------------------------------------------------------------------------------

    def who(self):
        """(role, namespaces) of the token; nobody without one."""
        given = self.headers.get("authorization", "").removeprefix("Bearer ")
        if not given:
            return "", set()
        if given not in self.hub.tokens:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return self.hub.tokens[given]

    def find(self, kind, name, *, write=False):
        role, names = self.who()
        repository = self.hub.repositories.get((kind or "models", name))
        mine = name.split("/")[0] in names
        if repository is None or (repository.private and not mine):
            raise RefusedError(404 if role else 401, "Repository not found", "RepoNotFound")
        if write and not role:
            raise RefusedError(401, "Invalid username or password.")
        if write and (role != "write" or not mine):
            raise RefusedError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repository

    def at(self, repository, revision):
        commit = repository.at(revision)
        if commit is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # --- repositories -------------------------------------------------------------------------------------------------

    def on_create(self):
        asked = json.loads(self.body)
        role, names = self.who()
        if not role:
            raise RefusedError(401, "Invalid username or password.")
        namespace = asked.get("organization") or USER
        if role != "write" or namespace not in names:
            what = asked.get("type") or "model"
            raise RefusedError(403, f'You don\'t have the rights to create a {what} under the namespace "{namespace}"')
        name, kind = f"{namespace}/{asked['name']}", f"{asked.get('type') or 'model'}s"
        url = f"{self.hub.address}/{'' if kind == 'models' else kind + '/'}{name}"
        if (kind, name) in self.hub.repositories:
            return 409, {"error": f"You already created this {kind[:-1]} repo", "url": url}, {}
        private = asked.get("visibility") == "private" or asked.get("private") is True
        repository = self.hub.add(kind[:-1], name, private=private)
        if kind == "spaces":
            repository.info["sdk"] = asked["sdk"]
        return 200, {"url": url, "name": name, "id": repository.head.id}, {}

    def on_validate(self):
        found = re.match(r"---\n(.*?)\n---", json.loads(self.body)["content"], re.DOTALL)
        try:
            front = yaml.safe_load(found[1]) if found else None
        except yaml.YAMLError as error:
            return 400, {"errors": [{"message": f"not YAML: {error}"}], "warnings": []}, {}
        warnings = [] if front else [{"message": "empty or missing yaml metadata in repo card"}]
        return 200, {"errors": [], "warnings": warnings}, {}

    def on_whoami(self):
        role, names = self.who()
        if not role:
            raise RefusedError(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": name} for name in sorted(names - {USER})]
        token = {"accessToken": {"displayName": "tests", "role": role}, "type": "access_token"}
        return 200, {"type": "user", "name": USER, "orgs": orgs, "auth": token}, {}

    def describe(self, repository, commit):
        found = {
            "_id": git_sha(repository.id.encode())[:24],
            "id": repository.id,
            "author": repository.id.split("/")[0],
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "sha": commit.id,
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-01-02T00:00:00.000Z",
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path} for path in sorted(commit.tree)],
            **repository.info,
        }
        if repository.type == "models":
            found["modelId"] = repository.id
        card = repository.card()
        if card:
            found.setdefault("cardData", card)
        if "blobs" in self.query:
            for row in found["siblings"]:
                blob = commit.tree[row["rfilename"]]
                row |= {"size": len(blob.content), "blobId": blob.oid}
                if blob.lfs:
                    row["lfs"] = {"size": len(blob.content), "sha256": blob.lfs, "pointerSize": len(blob.pointer)}
        return found

    def on_info(self, kind, name, revision):
        repository = self.find(kind, name)
        commit = self.at(repository, revision or "main")
        found = self.describe(repository, commit)
        wanted = {key.removesuffix("[]") for key in self.query.get("expand", []) + self.query.get("expand[]", [])}
        if wanted:
            found = {key: value for key, value in found.items() if key in wanted | {"_id", "id", "modelId"}}
        return 200, found, {}

    def on_list(self, kind):
        """Search: words in the id, `filter` (tags, the pipeline's and the library's name), author, sort, limit."""
        _, names = self.who()
        rows = [
            self.describe(repository, repository.head)
            for (own, _), repository in sorted(self.hub.repositories.items())
            if own == kind and (not repository.private or repository.id.split("/")[0] in names)
        ]
        for word in " ".join(self.query.get("search", [])).lower().split():
            rows = [row for row in rows if word in row["id"].lower()]
        tags = [tag for text in self.query.get("filter", []) for tag in text.split(",")]
        tags += self.query.get("pipeline_tag", [])
        for tag in tags:
            rows = [row for row in rows if tag in {*row["tags"], row.get("pipeline_tag"), row.get("library_name")}]
        for author in self.query.get("author", []):
            rows = [row for row in rows if row["author"] == author]
        key = self.query.get("sort", ["lastModified"])[0]
        rows.sort(key=lambda row: row.get(key) or 0 if key in {"downloads", "likes"} else 0, reverse=True)
        limit = int(self.query.get("limit", [len(rows)])[0])
        return self.paged(rows[:limit])

    def paged(self, rows):
        """One page of a listing, and a link to the next."""
        start = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.hub.page < len(rows):
            words = [
                f"{quote(key)}={quote(v)}" for key, values in self.query.items() if key != "cursor" for v in values
            ]
            more = "&".join([*words, f"cursor={start + self.hub.page}"])
            headers["Link"] = f'<{self.hub.address}{urlsplit(self.path).path}?{more}>; rel="next"'
        return 200, rows[start : start + self.hub.page], headers

    def on_tree(self, kind, name, revision, below):
        commit = self.at(self.find(kind, name), revision)
        start = f"{below.rstrip('/')}/" if below else ""
        if start and not any(path.startswith(start) for path in commit.tree):
            raise RefusedError(404, f"{below} does not exist on {revision}", "EntryNotFound")
        deep = self.query.get("recursive", ["false"])[0].lower() in {"true", "1"}
        rows, folders = [], set()
        for path, blob in sorted(commit.tree.items()):
            inner = path.removeprefix(start)
            if not path.startswith(start):
                continue
            parts = inner.split("/")[:-1]
            for depth in range(1, (len(parts) if deep else min(len(parts), 1)) + 1):
                folders.add(start + "/".join(parts[:depth]))
            if deep or not parts:
                rows.append(blob.row(path))
        rows += [{"type": "directory", "path": path, "size": 0, "oid": git_sha(path.encode())} for path in folders]
        return self.paged(sorted(rows, key=lambda row: row["path"]))

    def on_paths(self, kind, name, revision):
        commit = self.at(self.find(kind, name), revision)
        rows = []
        for path in parse_qs(self.body.decode()).get("paths", []):
            if path in commit.tree:
                rows.append(commit.tree[path].row(path))
            elif any(other.startswith(f"{path}/") for other in commit.tree):
                rows.append({"type": "directory", "path": path, "size": 0, "oid": git_sha(path.encode())})
        return 200, rows, {}

    def on_resolve(self, kind, name, revision, path):
        commit = self.at(self.find(kind, name), revision)
        blob = commit.tree.get(path)
        if blob is None:
            raise RefusedError(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit.id})
        headers = {"X-Repo-Commit": commit.id, "ETag": f'"{blob.lfs or blob.oid}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.lfs}"', "X-Linked-Size": str(len(blob.content))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if not asked:
            return 200, blob.content, headers
        first, last = int(asked[1]), min(int(asked[2] or len(blob.content)), len(blob.content) - 1)
        if first >= len(blob.content):
            raise RefusedError(416, "Range not satisfiable", **{"Content-Range": f"bytes */{len(blob.content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(blob.content)}"
        return 206, blob.content[first : last + 1], headers

    # --- uploads ------------------------------------------------------------------------------------------------------

    def on_preupload(self, kind, name, revision):
        commit = self.at(self.find(kind, name, write=True), revision)
        rows = []
        for row in json.loads(self.body)["files"]:
            mode = "lfs" if self.hub.is_large(row["path"], row["size"]) else "regular"
            there = commit.tree.get(row["path"])
            known = {"oid": there.lfs or there.oid} if there else {}
            rows.append({"path": row["path"], "uploadMode": mode, "shouldIgnore": False, **known})
        return 200, {"files": rows}, {}

    def on_batch(self, kind, name):
        self.find(kind, name, write=True)
        rows = []
        for row in json.loads(self.body)["objects"]:
            sha, size = row["oid"], row["size"]
            rows.append({"oid": sha, "size": size})
            if sha in self.hub.objects:
                continue
            href = f"{self.hub.address}/storage/{sha}"
            verify = {"href": f"{self.hub.address}/storage/verify"}
            upload = {"href": f"{href}?X-Amz-Signature=signed"}
            if size > self.hub.part_size:
                number = -(-size // self.hub.part_size)
                parts = {str(part): f"{href}/{part}?X-Amz-Signature=signed" for part in range(1, number + 1)}
                upload = {"href": f"{href}/complete", "header": {"chunk_size": str(self.hub.part_size), **parts}}
            rows[-1]["actions"] = {"upload": upload, "verify": verify}
        return 200, {"transfer": "basic", "objects": rows}, {}

    def keep(self, sha, content):
        if hashlib.sha256(content).hexdigest() != sha:
            raise RefusedError(400, "the content is not what its name says")
        self.hub.objects[sha] = content

    def on_put(self, sha):
        self.keep(sha, self.body)
        return 200, b"", {"ETag": f'"{sha[:32]}"'}

    def on_part(self, sha, number):
        self.hub.parts[sha, int(number)] = self.body
        return 200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'}

    def on_complete(self, sha):
        asked = json.loads(self.body)["parts"]
        pieces = [self.hub.parts[sha, row["partNumber"]] for row in asked]
        for row, piece in zip(asked, pieces, strict=True):
            if row["etag"].strip('"') != hashlib.md5(piece).hexdigest():
                raise RefusedError(400, f"part {row['partNumber']} has another etag")
        self.keep(sha, b"".join(pieces))
        return 200, {"success": True}, {}

    def on_verify(self):
        row = json.loads(self.body)
        if len(self.hub.objects.get(row["oid"], b"")) != row["size"]:
            raise RefusedError(404, "no such object, or of another size")
        return 200, {}, {}

    def on_commit(self, kind, name, revision):
        repository = self.find(kind, name, write=True)
        head = self.at(repository, revision)
        rows = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        (header,) = [row["value"] for row in rows if row["key"] == "header"]
        if header.get("parentCommit") not in {None, head.id}:
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        tree = dict(head.tree)
        for row in rows:
            value = row["value"]
            if row["key"] == "file":
                tree[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif row["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise RefusedError(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
                tree[value["path"]] = Blob(self.hub.objects[value["oid"]], value["oid"])
            elif row["key"] == "deletedFile" and tree.pop(value["path"], None) is None:
                raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
        made = repository.commit(header["summary"], tree)
        url = f"{self.hub.address}/{'' if kind == 'models' else kind + '/'}{name}/commit/{made.id}"
        return 200, {"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": ""}, {}


class _Nowhere:
    """Takes what http.server writes once a connection is gone."""

    closed = False

    def write(self, body):
        return len(body)

    def flush(self):
        pass

    def close(self):
        pass
