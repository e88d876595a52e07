"""Requests as an attacker or a second tab would send them; no answer of the server tells whose an answer is."""

import http.client
import importlib.util
import json
import re
import socket
from pathlib import Path

import pytest

from benchmark.rating.app import MOST_BYTES
from benchmark.rating.session import MOST_NOTE

_SPEC = importlib.util.spec_from_file_location("rating_kit", Path(__file__).parent / "conftest.py")
kit = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kit)
FULL = {side: {"accuracy": 4, "relevance": 3, "completeness": 5} for side in ("left", "right")}


class Client:
    """Sends what it is told to, by default what the page itself would."""

    def __init__(self, server) -> None:
        self.port = server.door.port
        self.headers = {
            "Host": f"127.0.0.1:{self.port}",
            "Cookie": f"{server.door.cookie}={server.door.token}",
            "Origin": f"http://127.0.0.1:{self.port}",
            "Content-Type": "application/json",
        }

    def ask(self, method: str, path: str, body: bytes | str | None = None, **changes):
        headers = self.headers | {name.replace("_", "-"): value for name, value in changes.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        data = body.encode() if isinstance(body, str) else body
        if data is not None and "Transfer-Encoding" not in headers:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        response = connection.getresponse()
        response.text = response.read().decode()
        connection.close()
        return response

    def save(self, n: int, scores=None, preferred="left", note="", **changes):
        body = json.dumps({"n": n, "scores": scores or FULL, "preferred": preferred, "note": note})
        return self.ask("POST", "/save", body, **changes)


@pytest.fixture
def server(village, rating):
    return rating(village)


@pytest.fixture
def client(server):
    return Client(server)


REFUSED = {
    "no cookie": {"Cookie": None},
    "a wrong token": {"Cookie": "rate-1=x"},
    "another host": {"Host": "evil.example"},
    "another port": {"Host": "127.0.0.1:1"},
    "no host": {"Host": None},
    "another origin": {"Origin": "https://evil.example"},
    "a null origin": {"Origin": "null"},
    "another site": {"Sec_Fetch_Site": "cross-site"},
    "another port of this machine": {"Sec_Fetch_Site": "same-site"},
}


PATHS = ("/?n=1", "/save", "/reference?n=1", "/next?n=1", "/done", "/nowhere", "/static/rate.js")


@pytest.mark.parametrize("why", REFUSED)
def test_a_request_from_elsewhere_is_turned_away_before_anything_happens(server, client, why):
    for path in PATHS:
        method = "POST" if path == "/save" else "GET"
        body = json.dumps({"n": 1, "scores": FULL, "preferred": "left", "note": ""}) if path == "/save" else None
        response = client.ask(method, path, body, **REFUSED[why])
        assert response.status == (400 if why == "no host" else 403), path
        assert "Answer 1" not in response.text and server.rows() == []
        assert response.getheader("Set-Cookie") is None
    assert client.ask("GET", "/?n=1").status == 200


def test_a_save_without_origin_is_turned_away_and_a_page_is_not(client, server):
    assert client.save(1, Origin=None).status == 403 and server.rows() == []
    assert client.ask("GET", "/?n=1", Origin=None).status == 200


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(server, client):
    path = server.address.partition(str(server.door.port))[2]
    response = client.ask("GET", path, Cookie=None, Origin=None, Sec_Fetch_Site="cross-site")
    assert response.status == 200 and "Answer 1" not in response.text
    cookie = response.getheader("Set-Cookie").lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "domain" not in cookie
    assert client.ask("GET", f"{path}x", Cookie=None, Origin=None).status == 403
    assert client.ask("GET", path, Cookie=None, Origin=None, Host="evil.example").status == 403
    assert client.ask("GET", "/next?token=" + server.door.token, Cookie=None, Origin=None).status == 403
    assert len(server.door.token) >= 43


def test_only_this_machine_is_listened_on(server):
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} | {"127.0.0.2"}
    for address in others - {"127.0.0.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, server.door.port), timeout=2)


def test_every_answer_is_marked(client):
    for path in ("/?n=1", "/nowhere", "/reference?n=1"):
        for changes in ({}, {"Cookie": None}):
            response = client.ask("GET", path, **changes)
            policy = response.getheader("Content-Security-Policy")
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
            assert response.getheader("X-Content-Type-Options") == "nosniff"
            assert response.getheader("Cache-Control") == "no-store"
            names = [name.lower() for name, _ in response.getheaders()]
            assert not [name for name in names if name.startswith("access-control") or name == "server"]


FILES = ["/../benchmark.yaml", "/..%2f..%2fbenchmark.yaml", "/%2e%2e/benchmark.yaml", "//etc/passwd", "/static/", "/ratings/",
     "/static/rate.css", "/.drafts/ann.json", "/openapi.json", "/favicon.ico"]  # fmt: skip


def test_no_file_and_no_folder_is_served(client):
    for path in FILES:
        response = client.ask("GET", path)
        assert response.status == 404 and len(response.text) < 100, path


def test_addresses_take_the_methods_that_they_need(client):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        assert client.ask(method, "/?n=1").status == 405, method
    assert client.ask("GET", "/save").status == 405


def test_a_body_that_is_too_long_is_not_read_to_its_end(server, client):
    assert client.save(1, note="x" * MOST_BYTES).status == 413
    chunk = b"%x\r\n%s\r\n" % (1000, b"x" * 1000)
    endless = client.ask("POST", "/save", chunk * (MOST_BYTES // 1000 + 1) + b"0\r\n\r\n", Transfer_Encoding="chunked")
    assert endless.status == 413
    assert server.rows() == [] and client.save(1).status == 200


BAD = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"n": 1}', b"[" * 30_000,
    b'{"n": 99, "scores": {"left": {}, "right": {}}, "preferred": null, "note": ""}',
    b'{"n": -1, "scores": {"left": {}, "right": {}}, "preferred": null, "note": ""}',
    b'{"n": 1, "scores": {"left": {}}, "preferred": null, "note": ""}',
    b'{"n": 1, "scores": {"left": {"accuracy": 6}, "right": {}}, "preferred": null, "note": ""}',
    b'{"n": 1, "scores": {"left": {"accuracy": true}, "right": {}}, "preferred": null, "note": ""}',
    b'{"n": 1, "scores": {"left": {"accuracy": 1.0}, "right": {}}, "preferred": null, "note": ""}',
    b'{"n": 1, "scores": {"left": {"beauty": 1}, "right": {}}, "preferred": null, "note": ""}',
    b'{"n": 1, "scores": {"left": {}, "right": {}}, "preferred": "zq-tuned", "note": ""}',
    b'{"n": 1, "scores": {"left": {}, "right": {}}, "preferred": [], "note": ""}',
    b'{"n": 1, "scores": {"left": {}, "right": {}}, "preferred": null, "note": 3}',
]  # fmt: skip


def test_what_is_no_rating_is_refused_in_words(server, client):
    for body in BAD:
        response = client.ask("POST", "/save", body)
        assert response.status == 400 and json.loads(response.text)["error"], body[:100]
    assert server.rows() == []


def test_forms_of_other_sites_could_not_even_be_read(server, client):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert client.save(1, Content_Type=kind).status == 415
    assert client.save(1, note="x" * (MOST_NOTE + 1)).status == 400
    assert server.rows() == []


def test_a_rating_is_kept_under_the_pipelines_names_and_comes_back_by_side(server, client):
    scores = {
        "left": {"accuracy": 1, "relevance": 2, "completeness": 3},
        "right": {"accuracy": 5, "relevance": 5, "completeness": 4},
    }
    reply = json.loads(client.save(2, scores, "right", "so \ud800 it is\n<b>").text)
    assert reply == {"rated": True, "done": 1}
    (row,) = server.rows()
    item = server.session.items[1]
    left, right = item.sides("ann", 3)
    assert (row["question"], row["left"], row["right"]) == (item.asked.id, left.pipeline, right.pipeline)
    assert row["scores"] == {left.pipeline: scores["left"], right.pipeline: scores["right"]}
    assert row["preferred"] == right.pipeline and row["note"] == "so ? it is\n<b>"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", row["at"]) and row["answers"] == item.answers_hash
    form = server.session.form(2)
    assert form.scores == scores and form.preferred == "right"
    assert "so ? it is\n&lt;b&gt;" in client.ask("GET", "/?n=2").text


def test_half_a_rating_is_a_draft_and_nothing_in_the_raters_file(server, client):
    half = {"left": {"accuracy": 2}, "right": {}}
    assert json.loads(client.save(3, half, None, "wait").text) == {"rated": False, "done": 0}
    assert server.rows() == []
    page = client.ask("GET", "/?n=3").text
    assert re.search(r'name="left-accuracy" value="2" checked', page) and ">wait</textarea>" in page
    assert client.ask("GET", "/").getheader("Location") == "/?n=3"


def test_two_tabs_of_one_rater(server, client):
    """Either tab's rating is kept; the younger one counts, and what it does not know of is not lost."""
    client.save(1, preferred="left")
    client.save(2, preferred="tie")
    client.save(1, preferred="right")
    client.save(1, preferred="right")
    assert len(server.rows()) == 3
    assert server.session.form(1).preferred == "right" and server.session.form(2).preferred == "tie"
    assert server.session.done == 2


def test_the_way_through(server, client):
    total = len(server.session)
    assert total == 6
    assert client.ask("GET", "/").getheader("Location") == "/?n=1"
    assert client.ask("GET", "/next?n=1").getheader("Location") == "/?n=2"  # skipped
    for n in range(2, total + 1):
        client.save(n)
    assert client.ask("GET", f"/next?n={total}").getheader("Location") == "/?n=1", "skipped ones come back"
    assert client.ask("GET", "/done").status == 303
    client.save(1)
    assert client.ask("GET", "/next?n=1").getheader("Location") == "/done"
    assert client.ask("GET", "/").getheader("Location") == "/done"
    assert "All 6 rated" in client.ask("GET", "/done").text
    for n in ("0", "7", "x", "-1", "9" * 5000, "１"):
        assert client.ask("GET", "/?n=" + (n if n.isascii() else "%EF%BC%91")).status == 303


def test_the_reference_answer_comes_after_the_rating(server, client):
    n = next(i for i, item in enumerate(server.session.items, 1) if item.asked.id == "q2")
    page = client.ask("GET", f"/?n={n}").text
    assert client.ask("GET", f"/reference?n={n}").status == 409
    client.save(n)
    assert "Three knots." not in page
    assert json.loads(client.ask("GET", f"/reference?n={n}").text) == {"reference": "Three knots."}
    assert server.rows()[-1]["saw_reference"] is False
    client.save(n, preferred="tie")
    assert server.rows()[-1]["saw_reference"] is True
    no_answer = next(i for i, item in enumerate(server.session.items, 1) if item.asked.id == "q7")
    client.save(no_answer)
    assert "do not answer" in client.ask("GET", f"/reference?n={no_answer}").text


def test_the_reference_answer_can_be_allowed_before(village, rating):
    client = Client(rating(village, always_reference=True))
    assert client.ask("GET", "/reference?n=1").status == 200


def everything_said(client, server) -> list[str]:
    """Heads and bodies of all that the server says to a rater who rates everything."""
    said = []
    paths = [f"/?n={n}" for n in range(1, len(server.session) + 1)]
    for n in range(1, len(server.session) + 1):
        said.append(client.save(n, preferred=("left", "tie", "right")[n % 3]))
        said.append(client.ask("GET", f"/reference?n={n}"))
    said += [client.ask("GET", path) for path in (*paths, "/", "/done", "/next?n=2", "/nowhere", "/save")]
    said += [client.save(99), client.ask("GET", server.address.partition(str(client.port))[2])]
    return [f"{response.getheaders()} {response.text}" for response in said]


def test_nothing_that_the_server_says_names_a_pipeline(village, rating):
    server = rating(
        kit.write_village(village.folder.parents[1] / "three", kit.PIPELINES).domain("village"), pipelines=kit.PIPELINES
    )
    client = Client(server)
    before = [client.ask("GET", f"/?n={n}").text for n in range(1, len(server.session) + 1)]
    assert len(before) == 13
    for text in (*before, *everything_said(client, server)):
        for name in kit.PIPELINES:
            assert name not in text
    for item in server.session.items:
        assert not any(item.answers_hash in text for text in before), "the hash would tell, by trying both orders"


def test_the_two_sides_differ_in_their_words_alone(server, client):
    for n in range(1, len(server.session) + 1):
        page = client.ask("GET", f"/?n={n}").text
        one, other = re.findall(r'<section class="answer".*?</section>', page, re.DOTALL)
        words = re.compile(r'(<p class="words" dir="auto">).*?(</p>)', re.DOTALL)
        bare = [words.sub(r"\1\2", part) for part in (one, other)]
        assert bare[0].replace("left", "right").replace("Answer 1", "Answer 2") == bare[1]


def test_sides_are_mixed_and_depend_on_the_rater(village):
    items = kit.material(village).items
    drawn = {
        rater: tuple(item.sides(rater, 3)[0].pipeline for item in items) for rater in (f"rater{i}" for i in range(40))
    }
    assert len(set(drawn.values())) > 20
    share = sum(names.count("zq-tuned") for names in drawn.values()) / (40 * len(items))
    assert 0.38 < share < 0.62
    assert drawn["rater7"] == tuple(item.sides("rater7", 3)[0].pipeline for item in items)


def test_passages_stand_once_and_cited_ones_first_in_an_order_of_their_own(server, client):
    for n, item in enumerate(server.session.items, 1):
        page = client.ask("GET", f"/?n={n}").text
        listed = re.findall(r"<li( class=\"cited\")?>", page.split('id="passages"')[1].split("</details>")[0])
        both = {*item.first.passages, *item.second.passages}
        cited = len({*item.first.cited, *item.second.cited})
        assert [bool(mark) for mark in listed] == [True] * cited + [False] * (len(both) - cited)


def test_hostile_words_stay_words(server, client):
    n = next(i for i, item in enumerate(server.session.items, 1) if item.asked.id == "q5")
    client.save(n, note="</textarea><script>alert(2)</script>")
    page = client.ask("GET", f"/?n={n}").text
    assert page.count("<script>") == 1 and "<img" not in page and "\u202e" not in page
    assert page.count("&lt;/script&gt;&lt;script&gt;window.hacked") >= 3
    reference = client.ask("GET", f"/reference?n={n}")
    assert reference.getheader("Content-Type") == "application/json" and "window.hacked" in reference.text


def test_answers_that_changed_are_asked_again(village, rating):
    server = rating(village)
    client = Client(server)
    for n in range(1, 7):
        client.save(n)
    assert server.session.done == 6
    server.stop()
    path = village.answers / "answers.jsonl"
    path.write_text(path.read_text().replace("In spring.", "In autumn."))
    again = rating(village)
    assert (again.session.done, again.session.stale) == (5, 1)
    n = next(i for i, item in enumerate(again.session.items, 1) if item.asked.id == "q4")
    client = Client(again)
    assert client.ask("GET", "/").getheader("Location") == f"/?n={n}"
    page = client.ask("GET", f"/?n={n}").text
    assert "have changed since you rated them" in page and " checked>" not in page.split('id="help"')[0]
    client.save(n)
    assert (again.session.done, again.session.stale, len(again.rows())) == (6, 0, 7)


def test_a_disk_that_refuses_is_told_on_the_page_and_in_the_terminal(server, client, monkeypatch):
    import resource

    client.save(1)
    size = server.store.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        response = client.save(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert response.status == 507 and json.loads(response.text)["error"]
    assert len(server.said) == 1 and "untouched" in server.said[0]
    assert server.store.path.stat().st_size == size and server.session.done == 1
    assert client.save(2).status == 200 and len(server.rows()) == 2
