"""`leaderboard.html`: the leaderboard as one page that works from a file, without a network and without a framework."""

from benchmark.reporting.page.embedded import embedded_board, page_board, page_without_passages
from benchmark.reporting.page.make import make_page

__all__ = ["embedded_board", "make_page", "page_board", "page_without_passages"]
