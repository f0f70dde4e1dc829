"""Find keys under our names that somebody else wrote."""

from collections.abc import Mapping
from typing import Any

from infrastructure.redis.connection import RedisStore

SHOWN = 5
PAGE = 1000


async def look_at_names(store: RedisStore, key_types: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with the keys that have a name of their own in ``key_types``; in one round trip."""
    return await _judge(store, {store.key(name): kind for name, kind in key_types.items() if not name.endswith(":")})


async def find_strange_keys(store: RedisStore, key_types: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with each key of the namespace that has another type than ours would have, five at most.

    ``key_types`` maps names to types: ``meta`` is the key ``{namespace}:meta``, ``run:`` all keys that begin so. Names
    that are not in it are nobody's business. It reads the names of all keys.
    """
    found: list[str] = []
    cursor: Any = 0
    keys: Any
    start = len(store.prefix) + 1
    while True:
        cursor, keys = await store.command.scan(cursor, match=f"{store.prefix}:*", count=PAGE)
        found += await _judge(store, {key: kind for key in keys if (kind := kind_of(key[start:], key_types))})
        if not int(cursor) or len(found) >= SHOWN:
            return tuple(found[:SHOWN])


async def _judge(store: RedisStore, wanted: Mapping[str, str]) -> tuple[str, ...]:
    pipe = store.command.pipeline(transaction=False)
    for key in wanted:
        pipe.type(key)
    return tuple(
        f"the key '{key}' is a {found} and not a {kind}: somebody else wrote it; remove it"
        for (key, kind), found in zip(wanted.items(), await pipe.execute(), strict=True)
        if found not in (kind, "none")
    )


def kind_of(name: str, key_types: Mapping[str, str]) -> str | None:
    """Return the type that a key of this name should have, or None for a name that is nobody's business."""
    families = (name[: end + 1] for end, letter in enumerate(name) if letter == ":")
    return next((key_types[known] for known in (name, *families) if known in key_types), None)
