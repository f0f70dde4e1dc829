"""Who asks for what is done, and the note that the store writes beside the change."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Via = Literal["api", "cli", "program", "job"]
"""How a wish came: over HTTP, from the command line, from code in a process, or from the body of a job."""


@dataclass(slots=True)  # not frozen: each run is one, and freezing is dear
class Actor:
    """Somebody who asks; nobody changes one.

    ``client`` is what a remote caller says of itself, as ``ann@laptop``: nobody checked it.
    ``run_id`` is the run whose body asks.
    """

    name: str
    via: Via
    client: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What the store adds to a log in the same step as a change, if the change takes effect.

    Opaque to who passes it on: ``place`` are the parts of the log's key, ``words`` what ``record.lua`` takes.
    """

    place: tuple[str, ...]
    words: tuple[str | int, ...]


_asking: ContextVar[Actor | None] = ContextVar("asking", default=None)


def asking() -> Actor | None:
    """Return who asks in this task or thread; None for the program's own code."""
    return _asking.get()


def ask_as(actor: Actor) -> None:
    """Let ``asking`` return this actor for the rest of the current task."""
    _asking.set(actor)


class asked_by:  # noqa: N801 - used as a function; a generator would cost each run three times as much
    """Let ``asking`` return this actor within the block."""

    __slots__ = ("_actor", "_token")

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def __enter__(self) -> None:
        self._token = _asking.set(self._actor)

    def __exit__(self, *raised: object) -> None:
        _asking.reset(self._token)
