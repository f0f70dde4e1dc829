"""Find keys under our names that somebody else wrote."""

from collections.abc import Mapping
from typing import Any

from infrastructure.redis.connection import RedisStore

SHOWN = 5
PAGE = 1000


async def find_strange_keys(store: RedisStore, key_types: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with each key of the namespace that has another type than ours would have, five at most.

    ``key_types`` maps names to types: ``meta`` is the key ``{namespace}:meta``, ``run:`` all keys that begin so. Names
    that are not in it are nobody's business.
    """
    found: list[str] = []
    cursor: Any = 0
    keys: Any
    start = len(store.prefix) + 1
    while True:
        cursor, keys = await store.command.scan(cursor, match=f"{store.prefix}:*", count=PAGE)
        wanted = {key: kind for key in keys if (kind := kind_of(key[start:], key_types))}
        pipe = store.command.pipeline(transaction=False)
        for key in wanted:
            pipe.type(key)
        for (key, kind), is_kind in zip(wanted.items(), await pipe.execute(), strict=True):
            if is_kind not in (kind, "none"):
                found.append(f"the key '{key}' is a {is_kind} and not a {kind}: somebody else wrote it; remove it")
        if not int(cursor) or len(found) >= SHOWN:
            return tuple(found[:SHOWN])


def kind_of(name: str, key_types: Mapping[str, str]) -> str | None:
    """Return the type that a key of this name should have, or None for a name that is nobody's business."""
    families = (name[: end + 1] for end, letter in enumerate(name) if letter == ":")
    return next((key_types[known] for known in (name, *families) if known in key_types), None)
