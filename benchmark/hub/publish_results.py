"""The leaderboard as a data set repository, and its page as a static Space."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from benchmark.errors import BenchError
from benchmark.escape import code, one_line
from benchmark.files import Json, dump_yaml, read_json, read_text, shown
from benchmark.hub.parcel import Item, LeftOut, Parcel, files_of, unique, without_home
from benchmark.hub.publish_request import Request
from benchmark.hub.results_layout import Layout, results_layout
from benchmark.licences import hub_licence
from benchmark.pages import markdown_templates
from benchmark.project import Domain, Project
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.page import page_without_passages
from benchmark.synthesis.card_header import hub_language

TEMPLATES: Final = Path(__file__).parent / "templates"
_PAGES: Final = ("leaderboard.json", "leaderboard.md", "leaderboard.csv", "leaderboard.tex")
_ANSWERS: Final = ("answers.json", "answers.md")
_FORMS: Final = ("report.html", "report.pdf")
"""Of the report, with its passages, from which they cannot be taken out."""
_MARKS: Final = re.compile(r"<!-- (/?)passages -->\n?")
_STRIPPED: Final = (
    "*The questions and passages that stood here are left out: they are text of the documents and of the test set.*\n"
)
_WHAT: Final = "questions' texts, reference answers, passages and documents' names"
_AGAIN: Final = "make it with: domainbench leaderboard"
_NO_PASSAGES: Final = "--with-documents puts them in; ids, categories and scores of questions go"


def read_board(domain: Domain) -> Leaderboard:
    """The kept leaderboard of a domain.

    Raises:
        BenchError: There is none, or it is of an older form.
    """
    path = domain.results / "leaderboard.json"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no leaderboard; {_AGAIN}")
    return Leaderboard.from_json(read_json(path), shown(path))


def results_parcel(project: Project, domain: Domain, request: Request, scratch: Path) -> Parcel:
    """Leaderboard, report, plots and the runs in mteb's layout.

    Raises:
        BenchError: There is no leaderboard, or documents' text is asked for without a licence.
    """
    if request.with_documents:
        request.documents_licence(domain, "the report's questions with their passages")
    board = read_board(domain)
    layout = results_layout(project, domain, board)
    items, left_out = list(layout.items), list(layout.left_out)
    for name in (*_PAGES, "leaderboard.html", "report.md"):
        path = domain.results / name
        if not path.is_file():
            left_out.append(LeftOut(name, f"not there; {_AGAIN}"))
            continue
        page = _page(path, project, request)
        if isinstance(page, Item):
            items.append(page)
        else:
            left_out.append(page)
    items += [_page_item(domain.results / name, project) for name in _ANSWERS if (domain.results / name).is_file()]
    for path in (domain.results / name for name in _FORMS):
        if path.is_file() and request.with_documents:
            items.append(_page_item(path, project))
        elif path.is_file():
            left_out.append(LeftOut(path.name, "it shows passages; --with-documents sends it"))
    plots = domain.results / "plots"
    items += [
        Item.of_file(f"plots/{p.relative_to(plots).as_posix()}", p) for p in files_of(plots, project.results.parent)
    ]
    card = _card(domain, request, board, layout)
    items.append(Item.of_text("README.md", without_home(card, project.root)))
    if not request.with_documents:
        left_out.append(LeftOut(f"{_WHAT}, in report.md and leaderboard.html", _NO_PASSAGES))
    left_out.append(LeftOut("run.trec, manifests, vectors, journal", "they stay in the project"))
    return Parcel(
        "dataset", f"results of {domain.name}", unique(items), tuple(left_out),
        owned=(*_PAGES, *_ANSWERS, *_FORMS, "leaderboard.html", "report.md", "plots/*.png", "results/local__*/*/*.json"),
    )  # fmt: skip


def space_parcel(project: Project, domain: Domain, request: Request, scratch: Path) -> Parcel:
    """The leaderboard's page as a static Space.

    Raises:
        BenchError: There is no page, or documents' text is asked for without a licence.
    """
    if request.with_documents:
        request.documents_licence(domain, "the page's questions with their passages")
    path = domain.results / "leaderboard.html"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no page; {_AGAIN}")
    page = _page(path, project, request)
    assert isinstance(page, Item)  # noqa: S101 (only a report can be left out)
    licence = request.licence_of(domain) if request.with_documents else None
    title = one_line(f"{domain.spec.title}: leaderboard", 100)
    front: Json = {
        "title": title,
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        "short_description": one_line(f"Retrieval models on {domain.spec.title}", 60),
        **(hub_licence(licence) if licence else {}),
        "tags": ["leaderboard", "retrieval", "domainbench"],
    }
    text = markdown_templates(TEMPLATES).get_template("space_card.md.jinja").render(header=_front(front), title=title)
    left_out = () if request.with_documents else (LeftOut(f"{_WHAT}, in index.html", _NO_PASSAGES),)
    items = (page._replace(path="index.html"), Item.of_text("README.md", text))
    return Parcel("space", f"leaderboard of {domain.name}", unique(items), left_out, owned=("index.html",))


def _page(path: Path, project: Project, request: Request) -> Item | LeftOut:
    """A page as it may be sent."""
    if path.name in _PAGES or request.with_documents:
        return _page_item(path, project)
    text = without_home(read_text(path), project.root)
    if path.suffix == ".html":
        return Item.of_text(path.name, page_without_passages(text), shown(path))
    stripped = report_without_passages(text)
    if stripped is None:
        return LeftOut(path.name, f"it does not say where its passages are; {_AGAIN}")
    return Item.of_text(path.name, stripped, shown(path))


def _page_item(path: Path, project: Project) -> Item:
    """A page as it is, but for the home's place."""
    if path.suffix in {".md", ".html"}:
        return Item.of_text(path.name, without_home(read_text(path), project.root), shown(path))
    return Item.of_file(path.name, path)


def report_without_passages(text: str) -> str | None:
    r"""A report without its examples; None where its marks do not tell for sure where they are.

    >>> report_without_passages("a\n<!-- passages -->\nsecret\n<!-- /passages -->\nb\n").split("\n")[2]
    'b'
    >>> report_without_passages("no marks")
    """
    marks = list(_MARKS.finditer(text))
    if not marks or [mark[1] for mark in marks] != ["", "/"] * (len(marks) // 2):
        return None
    parts, end = [], 0
    for first, last in zip(marks[::2], marks[1::2], strict=True):
        parts += [text[end : first.start()], _STRIPPED]
        end = last.end()
    return "".join([*parts, text[end:]])


# --- cards ----------------------------------------------------------------------------------------------------------


def _front(front: Json) -> Markup:
    return Markup(dump_yaml(front))  # noqa: S704 (the dumper has quoted what needs it)


def _card(domain: Domain, request: Request, board: Leaderboard, layout: Layout) -> str:
    """README.md of the results."""
    front = {
        "pretty_name": one_line(f"{domain.spec.title}: results of retrieval models", 200),
        "language": [hub_language(domain.spec.language)],
        **(hub_licence(request.licence) if request.licence else {}),
        "tags": ["retrieval", "mteb", "leaderboard", "domainbench"],
        "configs": [{"config_name": "leaderboard", "data_files": "leaderboard.csv"}],
    }
    return (
        markdown_templates(TEMPLATES)
        .get_template("results_card.md.jinja")
        .render(
            header=_front(front),
            title=domain.spec.title,
            # Both are made of letters, digits and a few signs, and stand in code, which shows an escape as it is.
            to=Markup(request.to),  # noqa: S704
            task=Markup(board.task_names[TASKS[0]]),  # noqa: S704
            board=board,
            rows=list(_rows(board)),
            folders=len({item.path.rsplit("/", 1)[0] for item in layout.items}),
        )
    )


def _rows(board: Leaderboard) -> Iterator[dict[str, Any]]:
    """The table of a card: the models by their retrieval."""
    for system in board.ranked(TASKS[0]):
        means = {task: board.mean(task, system.name) for task in TASKS}
        first = means[TASKS[0]]
        interval = "" if first.low is None or first.high is None else f" ({first.low:.4f} to {first.high:.4f})"
        yield {
            "name": code(system.name),
            "kind": system.kind,
            "retrieval": f"{first.mean:.4f}{interval}",
            "reranking": f"{means[TASKS[1]].mean:.4f}",
        }
