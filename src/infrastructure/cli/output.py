"""What commands print: the API's JSON, or tables and sentences for people.

Nothing is coloured unless it goes to a terminal, and never with ``NO_COLOR``.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infrastructure.cli.errors import OutputFailed
from infrastructure.cli.tables import Grid, plain_lines, print_on_terminal
from infrastructure.cli.texts import printable

NOTHING = "-"


@dataclass(frozen=True)
class Column:
    """One column: its title, and how to read a row's cell. ``right`` is for numbers."""

    title: str
    cell: Callable[[Mapping[str, Any]], object]
    right: bool = False


def print_json(value: object) -> None:
    """Print JSON as the API gave it: its members in its order, ASCII only, so that any terminal and locale shows it."""
    _write(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Print a sentence."""
    _write(printable(text, lines=True))


def print_line(text: str) -> None:
    """Print one line of something that goes on, and let it be read at once."""
    _write(printable(text))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(why=error.strerror) from error


def note(text: str) -> None:
    """Print to stderr what is about the output and not part of it."""
    print(printable(text, lines=True), file=sys.stderr)


def show_page(page: Mapping[str, Any], as_json: bool, columns: Sequence[Column], empty: str) -> None:
    """Print a list of the API as JSON or as a table; one that ``--limit`` has cut says so on stderr."""
    if as_json:
        print_json(page)
        return
    print_table(page["items"], columns, empty)
    if page.get("next_cursor") is not None:
        note(f"{len(page['items'])} shown; there are more (--limit).")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: str) -> None:
    """Print rows under their titles; with no rows, ``empty`` goes to stderr."""
    if not rows:
        note(empty)
        return
    cells = [[shown(column.cell(row)) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    _print(Grid([titles, *cells], [column.right for column in columns], has_titles=True))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line; a list takes a line for each of its items."""
    rows = []
    for name, value in facts:
        lines = value if isinstance(value, list) and value else [value]
        rows += [("" if number else name, shown(line)) for number, line in enumerate(lines)]
    _print(Grid(rows, (False, False), has_names=True))


def pick(row: Any, dotted: str) -> Any:
    """Return the value at ``a.b.c``; None where there is none, whatever the shape."""
    for name in dotted.split("."):
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


def field(dotted: str) -> Callable[[Mapping[str, Any]], object]:
    """Return a reader of ``a.b.c``."""
    return lambda row: pick(row, dotted)


def shown(value: object) -> str:
    """Return a value as a cell shows it; what is not known is ``-``."""
    if value is None or value == "" or value == [] or value == {}:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | dict):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


def percent(value: object) -> str:
    """Return a fraction 0..1 as a person reads it."""
    return f"{value * 100:.1f} %" if isinstance(value, int | float) else NOTHING


def amount(value: object, unit: str) -> str:
    """Return a number of bytes in the unit that suits it: ``3.2 GiB``, ``12 kiB/s``."""
    if not isinstance(value, int | float):
        return NOTHING
    size = float(value)
    for prefix in ("", "ki", "Mi", "Gi", "Ti"):
        if abs(size) < 1024 or prefix == "Ti":
            break
        size /= 1024
    return f"{size:.3g} {prefix}{unit}" if size < 1000 else f"{size:.0f} {prefix}{unit}"


def _print(grid: Grid) -> None:
    if not sys.stdout.isatty():
        _write("\n".join(plain_lines(grid)))
        return
    print_on_terminal(grid)


def _write(text: str) -> None:
    try:
        print(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(why=error.strerror) from error
