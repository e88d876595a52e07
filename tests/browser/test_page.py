"""The page in headless Chromium: it sorts, filters and explores, runs nothing that data holds, and suits every screen."""

import json

import pytest

from benchmark.reporting.page import page_without_passages
from benchmark.reporting.render import interval, number, p_value, signed

CONTRAST = """
() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(colour).map(part);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((numbers(colour)[3] ?? 1) === 1) return colour;
    }
    return getComputedStyle(document.documentElement).colorScheme.startsWith("dark") ? "rgb(0,0,0)" : "rgb(255,255,255)";
  };
  const faint = [];
  let seen = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script, .sr, .skip")) continue;
    const style = getComputedStyle(node);
    const ink = node.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [a, b] = [light(ink), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${node.className?.baseVal ?? node.className} ${walk.currentNode.textContent.slice(0, 40)}`);
  }
  return { seen, faint };
}
"""
NAMES = "#board-table tbody th .model"


@pytest.fixture
def opened(page, made):
    """The page, opened from its file."""
    page.goto(made[0].as_uri())
    yield page
    assert page.said == []
    assert [url for url in page.asked if not url.startswith(("file://", "data:"))] == []
    assert sum(url.startswith("file://") for url in page.asked) == 1, "it fetched a file beside itself"


def names(page) -> list[str]:
    return page.locator(NAMES).all_text_contents()


def column(page, place: int) -> list[str]:
    return page.locator(f"#board-table tbody tr > :nth-child({place}) .main").all_text_contents()


def asked(page) -> list[str]:
    return page.locator(".question .ask").all_text_contents()


def listed(page, count: int) -> None:
    """Wait until the list has so many questions: typing is answered after a pause."""
    from playwright.sync_api import expect

    expect(page.locator(".question")).to_have_count(count)


# --- table ----------------------------------------------------------------------------------------------------------


def test_the_script_shows_the_figures_that_python_shows(page, made):
    path, board, _ = made
    page.goto(path.as_uri())
    for task in ("retrieval", "reranking"):
        page.select_option("#task", task)
        for metric in board.metrics:
            page.select_option("#metric", str(metric))
            for place, category in enumerate([None, *board.categories]):
                page.locator("#tabs button").nth(place).click()
                rows = {}
                for cells in page.locator("#board-table tbody tr").evaluate_all(
                    "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.split(/\\s*\\n\\s*/).map(t => t.trim())))"
                ):
                    rows[cells[0][0].split()[0]] = cells
                for system in board.systems:
                    mean, row = (
                        board.mean(task, system.name, metric, category),
                        board.comparison(task, system.name, metric, category),
                    )
                    shown = rows[system.name]
                    assert shown[1][:2] == [number(mean.mean), f"{number(mean.low)} to {number(mean.high)}"]
                    if row is not None:
                        assert shown[2] == [signed(row.difference), interval(row.low, row.high)]
                        assert shown[3] == [p_value(row.corrected_p)]
                        assert shown[4][0].endswith(row.verdict)
    assert page.said == []


def test_figures_are_rounded_as_python_rounds_them(opened):
    values = [place / 32 for place in range(-33, 34)] + [0.0005, 0.0015, 0.12345, 0.9995, 1.0, -0.0004]
    said = opened.evaluate("() => document.querySelector('body > script:last-of-type').textContent")
    fixed = said[said.index("function fixed") : said.index("const number")]
    for digits in (2, 3, 4):
        found = opened.evaluate(
            f"([values, digits]) => {{ {fixed}; return values.map((one) => fixed(one, digits)); }}", [values, digits]
        )
        assert found == [f"{value:.{digits}f}" for value in values]


def test_without_javascript_the_headline_is_there(browser, made):
    path, board, _ = made
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert names(page) == [system.name for system in board.ranked("retrieval")]
    assert page.locator(".verdicts li").count() == len(board.systems) - 1
    assert page.locator("#matrix tbody td").count() == len(board.systems) ** 2
    assert not page.locator("#table-controls").is_visible() and not page.locator("#tabs").is_visible()
    assert page.get_by_text("This part needs JavaScript").is_visible()
    context.close()


def test_each_column_sorts_both_ways(opened, made):
    board = made[1]
    by_mean = [system.name for system in board.ranked("retrieval")]
    assert names(opened) == by_mean
    head = opened.locator("#board-table thead th")
    assert head.nth(1).get_attribute("aria-sort") == "descending"
    head.nth(1).locator("button").click()
    assert head.nth(1).get_attribute("aria-sort") == "ascending"
    assert column(opened, 2) == sorted(column(opened, 2), key=float)
    for place in range(head.count()):
        button = head.nth(place).locator("button")
        button.focus()
        opened.keyboard.press("Enter")
        first, direction = names(opened), head.nth(place).get_attribute("aria-sort")
        assert direction in {"ascending", "descending"}
        assert button.evaluate("node => node === document.activeElement"), "sorting lost the focus"
        opened.keyboard.press("Enter")
        assert {head.nth(place).get_attribute("aria-sort"), direction} == {"ascending", "descending"}
        assert sorted(names(opened)) == sorted(first)
        assert head.evaluate_all("all => all.filter(one => one.hasAttribute('aria-sort')).length") == 1
    head.nth(0).locator("button").click()
    # The baseline has no difference: it comes last whatever the direction.
    for _ in range(2):
        head.nth(2).locator("button").click()
        assert names(opened)[-1] == board.baseline.name


def test_the_filter_box_filters_and_tells_how_many(opened, made):
    board = made[1]
    status = opened.locator("#table-status")
    assert status.get_attribute("role") == "status"
    opened.fill("#filter", "BM25")
    assert set(names(opened)) == {"bm25", "bm25+tuned"}
    assert status.text_content() == f"2 of {len(board.systems)} models shown"
    opened.fill("#filter", "bm25 hybrid")
    assert names(opened) == ["bm25+tuned"]
    opened.fill("#filter", "no such model")
    assert names(opened) == [] and status.text_content().startswith("0 of")
    opened.fill("#filter", "")
    assert len(names(opened)) == len(board.systems)


def test_tabs_move_by_keyboard(opened, made):
    board = made[1]
    tabs = opened.get_by_role("tab")
    assert tabs.all_text_contents() == ["All (160)", "core (70)", "jargon (65)", "edge (25, few)"]
    tabs.nth(0).focus()
    opened.keyboard.press("ArrowRight")
    assert tabs.nth(1).get_attribute("aria-selected") == "true"
    assert tabs.evaluate_all("all => all.map(one => one.tabIndex)") == [-1, 0, -1, -1]
    assert tabs.nth(1).evaluate("node => node === document.activeElement")
    best = board.mean("retrieval", names(opened)[0], board.main, "core")
    assert column(opened, 2)[0] == number(best.mean)
    opened.keyboard.press("End")
    panel = opened.get_by_role("tabpanel")
    assert "Fewer than 30 questions: an example rather than a finding." in panel.text_content()
    assert panel.get_attribute("aria-labelledby") == tabs.nth(3).get_attribute("id")
    opened.keyboard.press("ArrowRight")
    assert tabs.nth(0).get_attribute("aria-selected") == "true"
    assert "Fewer than 30" not in panel.text_content()
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("Home")
    assert tabs.nth(0).get_attribute("aria-selected") == "true"


# --- pairs and costs ------------------------------------------------------------------------------------------------


def test_a_pair_tells_its_figures(opened, made):
    board = made[1]
    pair = next(pair for pair in board.pairwise if pair.verdict != "not shown")
    cell = opened.locator(f'#matrix td[data-row="{pair.second}"][data-column="{pair.first}"]')
    word = pair.turned.verdict
    assert word in cell.get_attribute("class") and {"better": "▲", "worse": "▼"}[word] in cell.text_content()
    cell.locator("button").hover()
    caption = opened.locator("#pair-caption")
    for shown in (f"{pair.second} against {pair.first}: {word}", signed(-pair.difference), p_value(pair.corrected_p),
                  f"{pair.losses} questions won, {pair.wins} lost, {pair.ties} tied",
                  interval(pair.turned.low, pair.turned.high)):  # fmt: skip
        assert shown in caption.text_content(), shown
    opened.mouse.move(0, 0)
    assert "arrow keys" in caption.text_content()
    cell.locator("button").click()
    opened.mouse.move(0, 0)
    assert f"{pair.second} against {pair.first}" in caption.text_content(), "a chosen cell keeps its caption"


def test_the_matrix_is_one_stop_and_arrows_move_in_it(opened):
    stops = "#matrix button[tabindex='0']"
    assert opened.locator(stops).count() == 1
    opened.locator(stops).focus()

    def place() -> list[int]:
        return opened.evaluate(
            "() => { const td = document.activeElement.closest('td'); return [td.parentNode.rowIndex, td.cellIndex]; }"
        )

    assert place() == [1, 2]
    opened.keyboard.press("ArrowDown")  # over the diagonal
    assert place() == [3, 2]
    opened.keyboard.press("ArrowRight")
    assert place() == [3, 4]
    opened.keyboard.press("ArrowUp")
    assert place() == [2, 4]
    assert opened.locator(stops).count() == 1
    for _ in range(9):
        opened.keyboard.press("ArrowLeft")
    assert place() == [2, 1]


def test_the_plot_marks_the_front_and_tells_what_was_not_measured(opened, made):
    board = made[1]
    caption = opened.locator("#cost-caption")
    assert "Not measured: bge-small-en-v1.5." in caption.text_content()
    points = {name: (cost, board.mean("retrieval", name).mean) for name, cost in
              {"base": 8.0, "village-tuned": 8.1, "bm25": 0.4, "bm25+tuned": 8.6}.items()}  # fmt: skip
    front = [
        name
        for name, (x, y) in points.items()
        if not any((b >= y and a < x) or (b > y and a <= x) for a, b in points.values())
    ]
    said = caption.text_content()
    listed = said[said.index("cheapest first") : said.index("No other model")]
    for name in points:
        assert (f" {name} (" in listed) == (name in front)
    assert opened.locator("#cost-plot rect.dot").count() == len(front)
    assert opened.locator("#cost-plot circle.dot").count() == len(points) - len(front)
    for cost in ("parameters", "index_bytes_per_million"):
        opened.select_option("#cost", cost)
        assert opened.locator("#cost-plot .dot").count() == (5 if cost == "parameters" and len(points) == 5 else 4)
        boxes = opened.locator("#cost-plot text:not(.tick)").evaluate_all(
            "all => all.map(one => { const b = one.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; })"
        )
        for place, one in enumerate(boxes):
            for other in boxes[place + 1 :]:
                assert one[1] <= other[0] or other[1] <= one[0] or one[3] - 4 <= other[2] or other[3] - 4 <= one[2], (
                    "names overlap"
                )


# --- explorer -------------------------------------------------------------------------------------------------------


def test_a_question_opens_by_keyboard_and_shows_its_passages(opened, made):
    board, data = made[1], json.loads(opened.locator("#questions").text_content())
    assert "160 of 160 questions, the first 50 shown" in opened.locator("#question-status").text_content()
    button = opened.locator(".question button").nth(1)
    button.focus()
    opened.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    detail = opened.locator(f"#{button.get_attribute('aria-controls')}")
    assert detail.is_visible()
    row = data["questions"][1]
    gold = detail.locator("h4 + .passages").first
    assert gold.locator(".id").all_text_contents() == [data["passages"][place]["id"] for place in row["relevant"]]
    assert data["passages"][row["relevant"][0]]["text"] in gold.text_content()
    boxes = detail.locator(".ranking")
    assert boxes.count() == len(board.systems)
    for place, system in enumerate(board.ranked("retrieval")):
        box = boxes.nth(place)
        first, hits = row["ranked"][[one.name for one in board.systems].index(system.name)]
        assert box.locator(".model").text_content() == system.name
        assert number(board.scores["retrieval"][system.name][board.main][1]) in box.text_content()
        assert f"rank {first}" in box.text_content()
        assert box.locator(".passage .id").all_text_contents() == [data["passages"][hit]["id"] for hit in hits]
        marks = [
            f"{n}. {'✓ relevant' if hit in row['relevant'] else 'not relevant'}" for n, hit in enumerate(hits, start=1)
        ]
        assert box.locator(".hit").all_text_contents() == marks
    box.locator("summary").first.click()
    assert data["passages"][hits[0]]["text"] in box.locator(".text").first.text_content()
    assert box.locator(".text").first.is_visible()
    opened.keyboard.press("Escape")
    button.focus()
    opened.keyboard.press("Space")
    assert not detail.is_visible()


def test_where_a_beats_b(opened, made):
    board = made[1]
    a, b = "bm25+tuned", "bm25"
    scores = {name: board.scores["retrieval"][name][board.main] for name in (a, b)}
    gaps = [left - right for left, right in zip(scores[a], scores[b], strict=True)]
    opened.select_option("#model-a", a)
    opened.select_option("#model-b", b)
    status = opened.locator("#question-status")
    for show, wanted in (
        ("a", lambda gap: gap > 1e-12),
        ("b", lambda gap: gap < -1e-12),
        ("same", lambda gap: abs(gap) <= 1e-12),
    ):
        opened.select_option("#question-show", show)
        assert status.text_content().split(" of ")[0] == str(sum(map(wanted, gaps)))
    opened.select_option("#question-show", "a")
    opened.select_option("#question-order", "a")
    shown = [float(text) for text in opened.locator(".question .gap").all_text_contents()]
    assert shown == sorted(shown, reverse=True) and shown[0] == round(max(gaps), 3) and shown[-1] > 0


def test_questions_are_found_by_words_and_category(opened):
    opened.fill("#question-text", "question 113?")
    listed(opened, 1)
    assert asked(opened) == ["Question 113?"]
    opened.fill("#question-text", "q15 ")
    listed(opened, 11)
    opened.fill("#question-text", "")
    opened.select_option("#question-category", "=edge")
    listed(opened, 25)
    assert "25 of 160" in opened.locator("#question-status").text_content()


def test_more_questions_come_when_asked_for(opened):
    more = opened.locator("#question-more")
    seen = [len(asked(opened))]
    while more.is_visible():
        more.focus()
        opened.keyboard.press("Enter")
        seen.append(len(asked(opened)))
    assert seen == [50, 100, 150, 160]
    assert opened.evaluate("() => document.activeElement.closest('.question') !== null"), "the focus was lost"


def test_documents_that_hold_a_script_are_text(opened):
    hostile = "<script>alert(1)</script>"
    first = opened.locator(".question").first
    assert hostile in first.locator(".ask").text_content()
    for place in range(8):
        opened.locator(".question h3 button").nth(place).click()
    for summary in first.locator("summary").all():
        summary.click()
    assert hostile in first.locator(".passage .text").first.text_content()
    assert "<b>Part</b>" in first.locator(".where").first.text_content()
    assert (
        opened.locator("script").count() == 4
        and opened.locator("main script, main b, main a[href^='http']").count() == 0
    )
    opened.wait_for_timeout(100)  # a dialog or an error would come by now; `opened` looks for them


def test_the_policy_stops_a_script_that_came_in(page, made, tmp_path):
    path = tmp_path / "injected.html"
    path.write_text(
        made[2].replace(
            "</h1>", "</h1><script>alert(1)</script><img src=x onerror='alert(2)'><p style='color:red'>x</p>"
        )
    )
    page.goto(path.as_uri())
    assert not [line for line in page.said if line.startswith(("dialog", "error"))]
    assert [line for line in page.said if "Content Security Policy" in line]
    assert names(page), "our own script runs beside it"


def test_without_passages_the_explorer_says_why(page, made, tmp_path):
    path = tmp_path / "bare.html"
    path.write_text(page_without_passages(made[2]))
    page.goto(path.as_uri())
    assert "without the documents and the questions" in page.locator("#explorer-note").text_content()
    first = made[1].queries[0]
    assert page.locator(".question .ask").first.text_content() == first.id
    assert page.locator(".question .category").first.text_content() == first.category
    assert page.locator(".question .scores").first.text_content().startswith("A 0.")
    page.locator(".question button").nth(1).click()
    detail = page.locator(".detail").nth(1)
    assert detail.locator(".passage .id").first.text_content().startswith("passage ")
    assert detail.locator("summary, .text").count() == 0
    assert page.said == []


def test_one_model_alone_has_a_page_as_well(page, alone):
    page.goto(alone.as_uri())
    assert names(page) == ["base"]
    assert "Fewer than 30 questions" in page.locator("#group").text_content()
    page.locator(".question button").first.click()
    assert page.locator(".detail").first.is_visible()
    page.select_option("#cost", "latency_p50")
    assert page.locator("#cost-caption").text_content() == "Not measured: base."
    assert page.said == []


# --- screens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_runs_over_the_page(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    opened.locator(".question button").first.click()
    for summary in opened.locator(".ranking summary").all()[:3]:
        summary.click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    over = opened.evaluate(
        """width => [...document.querySelectorAll("body *")].filter((node) => !node.closest(".scroll, .skip, .sr, svg")
           && node.checkVisibility() && node.getBoundingClientRect().right > width + 1).map((node) => node.outerHTML.slice(0, 90))""",
        width,
    )
    assert over == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, scheme):
    opened.emulate_media(color_scheme=scheme)
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    opened.locator(".question button").first.click()
    found = opened.evaluate(CONTRAST)
    assert found["seen"] > 300
    assert found["faint"] == []


def test_the_focus_goes_through_the_page_and_is_seen(opened):
    seen = []
    for _ in range(40):
        opened.keyboard.press("Tab")
        tag, outline = opened.evaluate(
            "() => [document.activeElement.outerHTML.slice(0, 60), getComputedStyle(document.activeElement).outlineWidth]"
        )
        assert outline == "3px", tag
        seen.append(tag)
    assert "skip" in seen[0]
    assert len(set(seen)) > 30, "the focus is trapped"


def test_every_control_has_a_name(opened):
    opened.locator(".question button").first.click()
    nameless = opened.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, [tabindex='0']")].filter((node) =>
           node.checkVisibility() && !node.textContent.trim() && !node.getAttribute("aria-label") && !node.labels?.length
           ).map((node) => node.outerHTML)"""
    )
    assert nameless == []
    ids = opened.evaluate("() => [...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    for attribute in ("aria-labelledby", "aria-controls"):
        named = opened.locator(f"[{attribute}]").evaluate_all(
            f"all => all.map((one) => one.getAttribute('{attribute}'))"
        )
        assert named and set(named) <= set(ids)


def test_a_long_page_prints(opened):
    opened.emulate_media(media="print")
    assert not opened.locator("#table-controls").is_visible() and not opened.locator("nav").is_visible()
    assert opened.locator("#board-table").is_visible()
