"""Rows of cells as lines: laid out by rich on a terminal, plain and whole in a pipe."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

Cells = Sequence[str]

GAP = 2

_STYLES = {
    **dict.fromkeys(("running", "active", "succeeded", "ok", "ready", "resolved", "alive"), "green"),
    **dict.fromkeys(
        ("paused", "pending", "retrying", "queued", "recovering", "degraded", "warning", "silent"), "yellow"
    ),
    **dict.fromkeys(
        ("failed", "parked", "firing", "unreachable", "terminated", "down", "lost", "critical", "blocked", "vanished"),
        "red",
    ),
    **dict.fromkeys(("cancelled", "expired", "unknown", "stopped", "-"), "dim"),
}


@dataclass(frozen=True)
class Grid:
    """Cells in rows of one length, and which columns are set to the right; ``has_titles`` marks the first row,
    ``has_names`` the first column as headings."""

    rows: Sequence[Cells]
    right: Sequence[bool]
    has_titles: bool = False
    has_names: bool = False


def plain_lines(grid: Grid) -> list[str]:
    """Return lines as wide as they need to be, so that ``grep`` and ``awk`` see whole rows."""
    sizes = [[width(cell) for cell in row] for row in grid.rows]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    return [
        (" " * GAP)
        .join(
            (" " * (widest - size) + cell) if right else (cell + " " * (widest - size))
            for cell, size, widest, right in zip(row, measured, widths, grid.right, strict=True)
        )
        .rstrip()
        for row, measured in zip(grid.rows, sizes, strict=True)
    ]


def width(text: str) -> int:
    """Return how many columns ``text`` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_width_of(character) for character in text)


def print_on_terminal(grid: Grid) -> None:
    """Print with colours, folded to the width of the terminal; ``NO_COLOR`` takes the colours away.

    The first column, ids that people copy, stays whole where that leaves two thirds of the width to the rest.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    is_whole = max(width(row[0]) for row in grid.rows) <= console.width // 3
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=grid.has_titles, header_style="bold")
    titles = grid.rows[0] if grid.has_titles else [""] * len(grid.right)
    for number, (title, right) in enumerate(zip(titles, grid.right, strict=True)):
        heads = grid.has_names and number == 0
        table.add_column(
            Text(title),
            justify="right" if right else "left",
            overflow="fold",
            style="bold" if heads else "",
            no_wrap=is_whole and number == 0,
        )
    for row in grid.rows[1:] if grid.has_titles else grid.rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell.partition(" ")[0], "")) for cell in row))
    console.print(table)


def _width_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
