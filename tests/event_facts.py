"""What docs/reference/events.md says of the events' data, held against what the events of a test carry."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import redis.asyncio

from domain.events.event import FAMILIES

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/events.md"
MOST = 2_000
"""Events looked at a family."""
OF_TESTS = {"mood"}
"""Fields that tests put into the events of their own."""
HALF_TOLD = ("instance.",)
"""Tests announce instances by hand, with less than an instance says."""
Fields = frozenset[str]


def named(cell: str) -> Iterator[str]:
    """Yield the names of fields in a cell; what stands in brackets explains them."""
    yield from re.findall(r"`([a-z_]+\??)`", re.sub(r"\(.*?\)", "", cell))


@cache
def documented() -> dict[str, tuple[Fields, Fields]]:
    """Return topic -> the fields that are always there, and those that may be, as the page says."""
    text = PAGE.read_text()
    common = dict(re.findall(r"^\| `([\w.]+)\.\*` \| (.*) \|$", text, re.MULTILINE))
    found = {}
    for topic, cell in re.findall(r"^\| `([a-z_.]+)` \|.*\| (.*) \|$", text, re.MULTILINE):
        names = {*named(cell), *named(common[_family(topic, common)])}
        always = frozenset(name for name in names if not name.endswith("?"))
        found[topic] = (always, frozenset(name.rstrip("?") for name in names - always))
    return found


def _family(topic: str, common: dict[str, str]) -> str:
    """Return the longest beginning of a topic that the page tells the fields of."""
    words = topic.split(".")
    return next(name for n in range(len(words), 0, -1) if (name := ".".join(words[:n])) in common)


def differences(topic: str, data: Fields) -> list[str]:
    """Return how an event differs from what the page says of its topic."""
    always, maybe = documented().get(topic, (frozenset(), frozenset()))
    found = [f"{topic} has {name}, which the page does not tell" for name in data - always - maybe - OF_TESTS]
    if not topic.startswith(HALF_TOLD):
        found += [f"{topic} has no {name}, which the page promises" for name in always - data]
    return sorted(found)


async def hold(client: "redis.asyncio.Redis", prefix: str) -> None:
    """Fail when an event below ``prefix`` is not as the page says."""
    found = set()
    for family in FAMILIES:
        for _, entry in await client.xrange(f"{prefix}:ev:{family}", count=MOST) or ():
            if entry["t"] in documented():
                found.update(differences(entry["t"], frozenset(json.loads(entry["d"]))))
    assert not found, f"docs/reference/events.md: {'; '.join(sorted(found))}"
