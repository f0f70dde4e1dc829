"""How a note reaches ``record.lua``: its log as the second key, its words as the last arguments."""

from collections.abc import Sequence
from typing import Any

from application.runs.asking import Note
from infrastructure.redis.connection import RedisStore

Call = tuple[list[str], list[Any]]
"""The keys and the arguments of a script."""


def call_of(store: RedisStore, source: str, args: Sequence[Any], note: Note | None) -> Call:
    """Return keys and arguments of a script that acts in the name of ``source``, with the note if there is one."""
    prefix = f"{store.prefix}:"
    if note is None:
        return [prefix], [source, *args]
    return [prefix, store.key(*note.place)], [source, *args, *note.words]
