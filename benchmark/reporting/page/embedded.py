"""The data inside a page: put in, read back, and taken out where documents must not travel."""

import json
import re

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.page.questions import without_passages
from benchmark.reporting.page.text import json_for_html

BOARD, QUESTIONS = "board", "questions"
"""Ids of the elements that hold the leaderboard and the explorer's data."""
MOST_SCORES = 2_500_000  # bytes of the leaderboard's JSON; beyond, a page holds the main metric's scores alone


def embedded_text(board: Leaderboard) -> str:
    """What a page holds of a leaderboard: its JSON.

    Where that is large, of the queries' scores only those of the main metric of retrieval, which the explorer shows.
    """
    whole = board.to_json()
    text = json_for_html(whole)
    if len(text.encode()) <= MOST_SCORES:
        return text
    task, metric = TASKS[0], str(board.main)
    few = {task: {name: {metric: rows[metric]} for name, rows in whole["scores"][task].items()}}
    return json_for_html({**whole, "scores": few})


def embedded_board(board: Leaderboard) -> Json:
    """`embedded_text` as it is read back."""
    whole: Json = json.loads(embedded_text(board))
    return whole


def page_board(text: str) -> Json:
    """The leaderboard's JSON out of a finished page: what `embedded_board` put in.

    Raises:
        BenchError: The page holds none.
    """
    return _read(text, BOARD)


def page_without_passages(text: str) -> str:
    """A finished page without words of the test set and of documents: questions, answers, passages, documents' names.

    Ids, categories and scores of the questions stay, passages become running numbers, and the page says so.

    Raises:
        BenchError: It is no page of this program.
    """
    value = without_passages(_read(text, QUESTIONS))
    found = _find(text, QUESTIONS)
    return text[: found.start(1)] + json_for_html(value) + text[found.end(1) :]


def _read(text: str, name: str) -> Json:
    try:
        value = json.loads(_find(text, name)[1])
    except json.JSONDecodeError as error:
        raise BenchError(f"leaderboard.html: its data '{name}' is broken ({error.msg})") from None
    if not isinstance(value, dict):
        raise BenchError(f"leaderboard.html: its data '{name}' is no JSON object")
    return value


def _find(text: str, name: str) -> re.Match[str]:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    if found is None:
        raise BenchError(f"leaderboard.html: holds no data '{name}'; make it anew: domainbench leaderboard")
    return found
