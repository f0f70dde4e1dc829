"""What goes on until somebody presses Ctrl-C: the event stream, followed through cuts, and lists that are looked at
again and again."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from infrastructure.cli.client import ApiClient
from infrastructure.cli.errors import INTERRUPTED, RefusedByServer, Unreachable
from infrastructure.cli.output import note

SILENCE_S = 40.0
"""The server says something every 15 s; one that is silent for longer is not there any more."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 10.0

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One message of the stream: ``cursor`` is where to go on, ``topic`` is ``gap`` where events were lost."""

    cursor: str
    topic: str
    event: dict[str, Any]


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Let Ctrl-C be the way to end: no traceback, no empty line, and the status that shells expect."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def follow(
    client: ApiClient, topics: str | None, after: str | None = None, *, where: str = "/events"
) -> Iterator[Message]:
    """Yield events without end, from now on or from ``after``; go on where it was after a cut.

    The first connection must succeed: what is wrong with it is raised. So is a refusal at any time.
    """
    delay_s, is_new = FIRST_DELAY_S, True
    while True:
        try:
            for message in _connected(client, where, topics, after):
                if not is_new and delay_s > FIRST_DELAY_S:
                    note("Connected again.")
                is_new, delay_s, after = False, FIRST_DELAY_S, message.cursor or after
                if message.topic != "message":
                    yield message
            why = "the stream ended"
        except (Unreachable, RefusedByServer) as error:
            if is_new or (isinstance(error, RefusedByServer) and not _passes(error)):
                raise
            why = str(error)
        if delay_s == FIRST_DELAY_S:
            note(f"Cut off: {_sentence(why)} Trying again, from where it was.")
        time.sleep(delay_s)
        delay_s = min(delay_s * 2, LONGEST_DELAY_S)


def watch(
    look: Callable[[], dict[str, Row]],
    draw: Callable[[dict[str, Row]], None],
    tell: Callable[[str, str, Row], None],
    every_s: float,
) -> None:
    """Look every ``every_s`` seconds, for ever. A terminal is drawn anew; a pipe gets what changed, one by one.

    ``look`` returns rows by id; ``tell`` gets ``new``, ``changed`` or ``removed``, the id and the row. The first look
    must succeed; when a later one does not, that is said once, and looking goes on.
    """
    known: dict[str, Row] | None = None
    is_away = False
    while True:
        try:
            found = look()
        except (Unreachable, RefusedByServer) as error:
            if known is None or (isinstance(error, RefusedByServer) and not _passes(error)):
                raise
            if not is_away:
                note(f"{_sentence(str(error))} Looking again every {every_s:g} s.")
            is_away = True
        else:
            is_away = False
            if sys.stdout.isatty():
                print("\x1b[H\x1b[2J\x1b[3J", end="")
                draw(found)
            else:
                _tell_changes(known or {}, found, tell)
            sys.stdout.flush()
            known = found
        time.sleep(every_s)


def _tell_changes(before: dict[str, Row], after: dict[str, Row], tell: Callable[[str, str, Row], None]) -> None:
    for row_id, row in after.items():
        if row_id not in before:
            tell("new", row_id, row)
        elif row != before[row_id]:
            tell("changed", row_id, row)
    for row_id in before.keys() - after.keys():
        tell("removed", row_id, before[row_id])


def _connected(client: ApiClient, where: str, topics: str | None, after: str | None) -> Iterator[Message]:
    import httpx2

    with client.stream(where, SILENCE_S, after, topics=topics) as response:
        for message in httpx2.EventSource(response):
            yield Message(message.id, message.event, _object(message.data))


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def _passes(error: RefusedByServer) -> bool:
    """Tell whether a refusal is over by itself some time: the store is away, or the program is stopping."""
    status = error.problem.get("status")
    return isinstance(status, int) and status >= 500


def _sentence(text: str) -> str:
    first = (text.splitlines() or [""])[0].strip()
    return first if first.endswith((".", "?", "!")) else f"{first}."
