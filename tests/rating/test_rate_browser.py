"""The rating page in headless Chromium: by keyboard alone, on every screen, without a word to anybody else."""

import importlib.util
import json
import re
import signal
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def _module(path: Path):
    spec = importlib.util.spec_from_file_location(f"kit_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTRAST = _module(HERE.parent / "browser" / "test_page.py").CONTRAST
kit = _module(HERE / "conftest.py")
ALL = ("accuracy", "relevance", "completeness")


@pytest.fixture
def server(village, rating):
    return rating(village)


@pytest.fixture
def opened(page, server):
    """The page, opened at the address that the terminal shows."""
    page.goto(server.address)
    page.wait_for_selector("#rate")
    yield page
    assert page.said == []
    assert [url for url in page.asked if not url.startswith((f"{server.root}/", "data:"))] == []
    assert page.evaluate("window.hacked") is None


def press(page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def kept(page, words: str = "Kept.") -> None:
    """Wait until the line at the bottom begins so; the page's policy forbids waiting by a function."""
    from playwright.sync_api import expect

    expect(page.locator("#status")).to_have_text(re.compile("^" + re.escape(words)))


def has_text(page, selector: str, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_text(text)


def number(page) -> int:
    return int(page.locator("#rate").get_attribute("data-n"))


def go_on(page, key: str) -> None:
    before = page.url
    page.keyboard.press(key)
    page.wait_for_url(lambda url: url != before)


def test_all_is_rated_by_keyboard_alone(opened, server):
    for n in range(1, 7):
        assert number(opened) == n
        assert opened.locator("header .quiet", has_text=f"Question {n} of 6").count() == 1
        press(opened, "4 3 5 2 1 2 f" if n % 2 else "1 2 3 5 5 5 s")
        kept(opened, "Kept.")
        go_on(opened, "Enter")
    assert "All 6 rated" in opened.locator("h1").text_content()
    rows = {row["question"]: row for row in server.rows()}
    assert len(rows) == 6
    for n, item in enumerate(server.session.items, 1):
        row = rows[item.asked.id]
        left = (4, 3, 5) if n % 2 else (1, 2, 3)
        assert tuple(row["scores"][row["left"]][scale] for scale in ALL) == left
        assert row["preferred"] == (row["left"] if n % 2 else row["right"])


def test_tab_arrows_and_space_do_it_as_well(opened, server):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip-link"
    for _ in range(2):
        opened.keyboard.press("Tab")
    for _ in range(7):
        press(opened, "Space ArrowRight Tab")
    has_text(opened, "#done", "1")
    until = time.monotonic() + 60
    while (row := server.rows()[-1])["preferred"] != "tie" and time.monotonic() < until:
        time.sleep(0.05)  # each change is kept, one after the other
    kept(opened, "Kept.")
    assert row["preferred"] == "tie" and all(set(scores.values()) == {2} for scores in row["scores"].values())


def test_what_is_missing_is_said_and_marked(opened, server):
    press(opened, "3 3 Enter")
    kept(opened, "Still to fill in: completeness of answer 1, accuracy of answer 2")
    assert opened.locator(".row.missing").count() == 5
    assert opened.evaluate("document.activeElement.name") == "left-completeness"
    assert opened.locator("#status").get_attribute("aria-live") == "polite"
    assert number(opened) == 1 and server.rows() == []


def test_skipping_going_back_notes_and_lines(opened, server):
    go_on(opened, "x")
    assert number(opened) == 2
    press(opened, "j j j k 5 n")
    opened.keyboard.type("1 sx? nothing here is a key")
    press(opened, "Escape t")
    go_on(opened, "b")
    assert number(opened) == 1
    go_on(opened, "x")
    assert opened.locator("#note").input_value() == "1 sx? nothing here is a key"
    assert opened.locator("[data-row] input:checked").evaluate_all("all => all.map(one => one.name + one.value)") == [
        "left-relevance5", "preferredtie",
    ]  # fmt: skip
    assert server.rows() == []


def test_help_lists_the_keys_and_can_turn_them_off(opened):
    opened.keyboard.press("?")
    assert opened.locator("#help").evaluate("one => one.open")
    opened.keyboard.press("5")
    assert opened.locator("input:checked").count() == 1, "the switch itself; no score"
    opened.locator("#keys-on").uncheck()
    opened.keyboard.press("Escape")
    press(opened, "5 x f")
    assert number(opened) == 1 and opened.locator("[data-row] input:checked").count() == 0
    opened.reload()
    opened.locator("#help-button").click()
    assert not opened.locator("#keys-on").is_checked()
    opened.locator("#keys-on").check()
    source = (HERE.parents[1] / "benchmark/rating/static/rate.js").read_text()
    listed = set(opened.locator("#help dt kbd").all_text_contents())
    keys = re.findall(r"(?:^|[{,\s])([a-z]|\"\?\"): ", source.split("const KEYS")[1].split("};")[0])
    assert {key.strip('"') for key in keys} | {"1", "5", "Enter"} == listed


def test_passages_and_the_reference_answer_are_there_on_demand(opened, server):
    assert not opened.locator("#passages li").first.is_visible()
    opened.keyboard.press("p")
    assert opened.locator("#passages li").first.is_visible()
    opened.keyboard.press("r")
    kept(opened, "The reference answer is shown once")
    assert opened.locator("#reference").get_attribute("open") is None
    press(opened, "j 4 4 4 4 4 4 t")
    has_text(opened, "#done", "1")
    opened.keyboard.press("r")
    reference = server.session.items[0].asked.reference
    has_text(opened, "#reference-text", reference)


def test_hostile_words_are_shown_as_they_are(opened, server):
    n = next(i for i, item in enumerate(server.session.items, 1) if item.asked.id == "q5")
    opened.goto(f"{server.root}/?n={n}")
    opened.keyboard.press("p")
    press(opened, "j 4 4 4 4 4 4 t")
    has_text(opened, "#done", "1")
    opened.keyboard.press("r")
    has_text(opened, "#reference-text", f"Nothing: {kit.SECRET}")
    assert kit.SECRET in opened.locator("h1").text_content()
    assert opened.locator("main img, main script").count() == 0


def test_a_rater_goes_on_where_they_left_after_a_kill(page, village, command):
    root = village.folder.parents[1]
    process, address = command(root, "--rater", "ann", "--no-browser")
    page.goto(address)
    page.wait_for_selector("#rate")
    press(page, "4 4 4 4 4 4 t")
    has_text(page, "#done", "1")
    go_on(page, "Enter")
    go_on(page, "x")
    press(page, "2 3")
    kept(page, "Kept. 5 still")
    process.send_signal(signal.SIGKILL)
    process.wait()
    press(page, "1")
    kept(page, "Not kept: the command in the terminal has stopped")
    page.said.clear()
    page.asked.clear()

    process, address = command(root, "--rater", "ann", "--no-browser")
    page.goto(address)
    page.wait_for_selector("#rate")
    assert number(page) == 3 and page.locator("#done").text_content() == "1"
    assert page.locator("[data-row] input:checked").evaluate_all("all => all.map(one => one.name + one.value)") == [
        "left-accuracy2", "left-relevance3",
    ]  # fmt: skip
    (row,) = [json.loads(line) for line in (village.ratings / "ann.jsonl").read_text().splitlines()]
    assert row["preferred"] == "tie"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert page.said == []


def test_two_raters_at_once(browser, page, village, rating):
    servers = [rating(village, name) for name in ("ann", "bob")]
    for server, score in zip(servers, "15", strict=True):
        page.goto(server.address)
        page.wait_for_selector("#rate")
        press(page, " ".join(score * 6) + " t")
        has_text(page, "#done", "1")
    for server, score in zip(servers, (1, 5), strict=True):
        (*_, row) = server.rows()
        assert all(set(scores.values()) == {score} for scores in row["scores"].values())
    page.goto(f"{servers[0].root}/?n=1")  # one's cookie did not push out the other's
    assert page.locator("header", has_text="rated by ann").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_it_fits_every_screen_and_can_be_read(opened, server, scheme, width):
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": width, "height": 800})
    opened.goto(f"{server.root}/?n=2")
    press(opened, "4 5 Enter p")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    seen = opened.evaluate(CONTRAST)
    assert seen["seen"] > 30 and seen["faint"] == []
    small = opened.locator(".points label, .buttons .button").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).filter(box => box.width < 40 || box.height < 40).length"
    )
    assert small == 0
    edges = opened.evaluate("""
        [...document.querySelectorAll('.points label, .button, .answer, .words, summary')].filter((one) => {
          const box = one.getBoundingClientRect();
          return box.width && (box.left < -1 || box.right > innerWidth + 1);
        }).length
    """)
    assert edges == 0
    answers = opened.locator(".answer").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert (answers[0] == answers[1]) == (width > 720)


def test_every_control_has_a_name(opened):
    nameless = opened.evaluate("""
        [...document.querySelectorAll('input, textarea, button, a, progress, dialog')].filter((one) => {
          const name = one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.[0]?.textContent.trim()
            || document.getElementById(one.getAttribute('aria-labelledby') ?? '')?.textContent;
          return !name;
        }).map((one) => one.outerHTML)
    """)
    assert nameless == []
    assert opened.locator("html").get_attribute("lang") == "en"
    groups = opened.locator("fieldset > legend").all_text_contents()
    assert len(groups) == 7 and all(groups)
