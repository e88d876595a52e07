"""Pushing to a repository through the real client: made private, one commit, resumed, refused in a line."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from benchmark.console import Notes
from benchmark.errors import BenchError
from benchmark.hub.parcel import Item, Parcel
from benchmark.hub.refusals import clean
from benchmark.hub.repositories import Target

CARD = "---\nlicense: mit\n---\n# A set\n"


def parcel(*items, kind="dataset", owned=(), **files):
    """A card, and files by name (a double underline is a dot) or as items."""
    named = [Item(name.replace("__", "."), body, name) for name, body in files.items()]
    return Parcel(kind, "a test", (Item.of_text("README.md", CARD), *items, *named), owned=owned)


def large(number, size=5000):
    """The content of a file that the Hub keeps by LFS."""
    return bytes([number]) * size


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited for, without waiting."""
    found = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture
def push(hub, reach, waits):
    """Push a parcel to acme/set of the Hub; returns what was done."""
    reach(hub)

    def run(what, *, name="acme/set", public=False, notes=None):
        return Target(what.kind, name, notes or Notes()).push(what, "a message", public=public)

    return run


def refusal(push, *args, **options):
    """The one line that a push ends with."""
    with pytest.raises(BenchError) as caught:
        push(*args, **options)
    (line,) = caught.value.problems
    assert "\n" not in line
    # What a traceback would show must not hold more than the line does.
    assert caught.value.__suppress_context__
    return line


def commits(hub, kind="dataset", name="acme/set"):
    """How many there are beside the one that makes a repository."""
    return len(hub.repository(kind, name).commits) - 1


# --- what arrives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dataset", "model", "space"])
def test_everything_arrives_in_one_commit_in_a_private_repository(hub, push, kind, tmp_path):
    table = tmp_path / "table.parquet"
    table.write_bytes(large(1))
    made = push(parcel(Item.of_file("data/table.parquet", table), kind=kind, notes__txt=b"small"))
    repository = hub.repository(kind, "acme/set")
    assert repository.private
    assert commits(hub, kind) == 1 and repository.head.message == "a message"
    assert repository.files == {"README.md": CARD.encode(), "data/table.parquet": large(1), "notes.txt": b"small"}
    assert repository.head.tree["data/table.parquet"].lfs and not repository.head.tree["notes.txt"].lfs
    prefix = {"model": "", "dataset": "datasets/", "space": "spaces/"}[kind]
    assert made == (f"{hub.address}/{prefix}acme/set", repository.head.id, 3, 0)
    if kind == "space":
        assert repository.info["sdk"] == "static"


def test_a_large_file_goes_in_parts(start_hub, reach, hub_module):
    hub = start_hub(part_size=1000)
    reach(hub)
    Target("dataset", "acme/set", Notes()).push(parcel(a__parquet=large(1, 2500)), "m", public=False)
    assert (hub.counts["part"], hub.counts["complete"], hub.counts["put"]) == (3, 1, 0)
    assert hub.repository("dataset", "acme/set").files["a.parquet"] == large(1, 2500)


def test_the_same_again_is_no_commit(hub, push):
    what = parcel(a__parquet=large(1), b__txt=b"b")
    first = push(what)
    hub.counts.clear()
    again = push(what)
    assert (again.commit, again.written, again.deleted) == (first.commit, 0, 0)
    assert commits(hub) == 1
    assert set(hub.counts) == {"info", "tree"}


def test_only_what_changed_is_sent_and_what_is_old_goes_with_it(hub, push):
    push(parcel(a__parquet=large(1), results__old=b"1", b__txt=b"b", owned=("results.*",)))
    hub.add("dataset", "acme/set", {"somebody.txt": b"not ours"})
    hub.counts.clear()
    made = push(parcel(a__parquet=large(1), b__txt=b"changed", owned=("results.*",)))
    assert (made.written, made.deleted) == (1, 1)
    assert hub.repository("dataset", "acme/set").files == {
        "README.md": CARD.encode(), "a.parquet": large(1), "b.txt": b"changed", "somebody.txt": b"not ours",
    }  # fmt: skip
    assert hub.counts["put"] == 0 and commits(hub) == 3


def test_a_listing_of_several_pages_is_read_to_its_end(start_hub, reach):
    hub = start_hub(page=2)
    reach(hub)
    what = parcel(**{f"f{number}__txt": b"x" for number in range(7)})
    target = Target("dataset", "acme/set", Notes())
    target.push(what, "m", public=False)
    assert target.push(what, "m", public=False).written == 0


def test_a_public_repository_is_written_to_only_when_told(hub, push):
    hub.add("dataset", "acme/set", {"old.txt": b"old"})
    assert "datasets/acme/set: is public" in refusal(push, parcel()) and commits(hub) == 1
    assert push(parcel(), public=True).written == 1


def test_public_is_asked_for_and_what_is_private_stays_so(hub, push):
    push(parcel(), name="acme/open", public=True)
    assert not hub.repository("dataset", "acme/open").private
    hub.add("dataset", "acme/set", private=True)
    notes = Notes()
    push(parcel(), public=True, notes=notes)
    assert hub.repository("dataset", "acme/set").private
    assert any("acme/set is private and stays so" in line for line in notes.lines)


# --- broken off -----------------------------------------------------------------------------------------------------


def test_what_was_uploaded_is_not_uploaded_again(hub, push):
    what = parcel(**{f"f{number}__parquet": large(number) for number in range(4)})
    hub.fail("put", first=4, times=100, reset=True)
    line = refusal(push, what)
    assert "the connection broke" in line and "run the command again" in line
    assert commits(hub) == 0 and len(hub.objects) == 3
    hub.faults.clear()
    there, before = set(hub.objects), hub.counts["put"]
    push(what)
    assert hub.counts["put"] == before + 1 and there < set(hub.objects)
    assert commits(hub) == 1 and len(hub.repository("dataset", "acme/set").files) == 5


def test_a_reset_in_the_middle_of_an_upload_is_overcome(hub, push):
    hub.fail("put", reset=True)
    notes = Notes()
    push(parcel(a__parquet=large(1, 500_000)), notes=notes)
    assert hub.counts["put"] == 2 and commits(hub) == 1
    assert any("trying again" in line for line in notes.lines)


@pytest.mark.parametrize(
    "kind", ["info", "create", "tree", "preupload", "batch", "put", "verify", "validate", "commit"]
)
@pytest.mark.parametrize("how", [{"status": 500}, {"status": 503}, {"reset": True}, {"lost": True}])
def test_a_passing_fault_anywhere_is_overcome(hub, push, kind, how):
    hub.fail(kind, **how)
    made = push(parcel(a__parquet=large(1), b__txt=b"b"))
    assert commits(hub) == 1 and made.commit == hub.repository("dataset", "acme/set").head.id
    assert len(hub.repository("dataset", "acme/set").files) == 3


def test_a_pause_that_is_asked_for_is_kept(hub, push, waits):
    hub.fail("commit", status=429, headers={"Retry-After": "7"})
    push(parcel(b__txt=b"b"))
    assert waits == [7] and commits(hub) == 1


def test_a_pause_that_is_too_long_is_told(hub, push, waits):
    hub.fail("commit", status=429, headers={"Retry-After": "3600"})
    line = refusal(push, parcel(b__txt=b"b"))
    assert "HTTP 429: too many requests" in line and line.endswith("in 3600 s")
    assert not waits and commits(hub) == 0


@pytest.mark.parametrize(("kind", "status", "told"), [
    ("info", 500, "HTTP 500: the Hub is out of order"),
    ("put", 503, "HTTP 503: the Hub is out of order"),
    ("commit", 500, "HTTP 500: the Hub is out of order"),
    ("commit", 429, "HTTP 429: too many requests"),
    ("commit", 409, "HTTP 409: somebody else has changed it meanwhile"),
    ("commit", 403, "HTTP 403: this token may not write here"),
    ("create", 401, "HTTP 401: the Hub does not take the token"),
    ("commit", 400, "HTTP 400 (asked for by the test)"),
])  # fmt: skip
def test_a_lasting_fault_is_one_line_and_no_commit(hub, push, kind, status, told):
    hub.fail(kind, status=status, times=1000)
    assert told in refusal(push, parcel(a__parquet=large(1)))
    hub.faults.clear()
    assert not hub.repositories or commits(hub) == 0
    assert push(parcel(a__parquet=large(1))).written == 2


def test_somebody_elses_commit_in_between_is_not_overwritten(hub, push, hub_module):
    push(parcel(b__txt=b"first"))
    gate = Event()
    hub.fail("preupload", hold=gate)
    lines = []
    worker = Thread(target=lambda: lines.append(refusal(push, parcel(b__txt=b"second"))))
    worker.start()
    assert hub.reached.wait(20)
    hub.add("dataset", "acme/set", {"b.txt": b"theirs"})
    gate.set()
    worker.join(20)
    assert "HTTP 412: somebody else has changed it meanwhile; nothing was committed" in lines[0]
    assert hub.repository("dataset", "acme/set").files["b.txt"] == b"theirs"


def test_a_dead_address_is_told_at_once(reach, hub, waits):
    address = reach(hub)
    hub.close()
    line = refusal(Target("model", "acme/m", Notes()).push, parcel(kind="model"), "m", public=False)
    assert f"{address} cannot be reached" in line and not waits


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"<html></html>"])
def test_an_address_that_is_no_hubs_is_told(reach, waits, answer):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 (the base class asks for this name)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = reach(SimpleNamespace(address=f"http://127.0.0.1:{server.server_port}"))
        line = refusal(Target("model", "acme/m", Notes()).push, parcel(kind="model"), "m", public=False)
        server.shutdown()
    assert line == f"acme/m: {address} does not answer as a Hub does; is HF_ENDPOINT a Hub's address?"


def test_queries_of_addresses_are_cut():
    text = "no PUT https://host/a/b?sig=Zx81&se=1 (http://h:1/?token=abc) 'https://h/x?k=v' and why? since"
    assert clean(text) == "no PUT https://host/a/b?*** (http://h:1/?*** 'https://h/x?***' and why? since"


def test_offline_is_told(push, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal(push, parcel()).endswith("HF_HUB_OFFLINE is set; unset it to publish")


# --- who may --------------------------------------------------------------------------------------------------------


def test_without_a_token_nobody_is_asked(hub, push, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "no token: set HF_TOKEN" in refusal(push, parcel())
    assert not hub.counts


@pytest.mark.parametrize(("token", "name", "told"), [
    ("wrong", "acme/set", "HTTP 401"),
    ("reads", "acme/set", "HTTP 403"),
    ("writes", "strangers/set", "HTTP 403"),
])  # fmt: skip
def test_a_token_without_the_right_is_told_and_not_shown(hub, hub_module, push, monkeypatch, token, name, told):
    value = {"wrong": "hf_" + "NobodyKnowsThisToken" + "0" * 14, "reads": hub_module.READ_TOKEN}
    value = value.get(token, hub_module.TOKEN)
    monkeypatch.setenv("HF_TOKEN", value)
    line = refusal(push, parcel(), name=name)
    assert told in line and value not in line
    assert not hub.repositories


def test_a_foreign_private_repository_looks_like_none(hub, push):
    hub.add("dataset", "strangers/set", private=True)
    assert "HTTP 403" in refusal(push, parcel(), name="strangers/set")


def test_a_message_of_the_hub_with_the_token_in_it_is_cleaned(hub, hub_module, push):
    hub.fail("commit", status=400, message=f"cannot use {hub_module.TOKEN} here", times=5)
    line = refusal(push, parcel(b__txt=b"b"))
    assert "cannot use *** here" in line and hub_module.TOKEN not in line


def test_storage_never_sees_the_token(hub, hub_module, push):
    push(parcel(a__parquet=large(1)))
    assert [authorised for kind, _, _, authorised in hub.requests if kind == "put"] == [False]
    assert all(authorised for kind, _, _, authorised in hub.requests if kind not in {"put", "resolve"})
    assert not any(hub_module.TOKEN.encode() in body for body in hub.received)


def test_a_broken_card_is_told(hub, push):
    broken = Parcel("dataset", "t", (Item.of_text("README.md", "---\na: [\n---\n"),))
    assert "Invalid metadata in README.md" in refusal(push, broken)
    assert commits(hub) == 0
