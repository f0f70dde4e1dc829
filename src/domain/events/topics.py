"""Topics, the patterns that stand for them, and the families they belong to."""

import re
from collections.abc import Sequence

from domain.events.errors import InvalidTopic
from domain.events.event import FAMILIES, TOPIC, TOPIC_MAX_LENGTH

PATTERN = re.compile(rf"\*|{TOPIC.pattern}|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.\*")
REMEMBERED_TOPICS = 1000
"""Answers kept per filter: far more than there are topics, far fewer than a hostile writer could invent."""


def family(topic: str) -> str:
    """Return the first word of a topic or pattern: the stream that carries it."""
    return topic.partition(".")[0]


def matches(pattern: str, topic: str) -> bool:
    """Tell whether ``topic`` is covered by ``pattern``: an exact topic, ``job.*`` (any depth) or ``*``."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return topic.startswith(pattern[:-1])
    return pattern == topic


def check_topic(topic: str) -> str:
    """Return ``topic`` if an event may carry it, else raise ``InvalidTopic``."""
    return _check(topic, TOPIC)


class TopicFilter:
    """What a subscriber wants to hear: exact topics, ``job.*`` or ``*``."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Check all patterns (a lone string is one); raises ``InvalidTopic`` for a wrong one and for an empty list."""
        wanted = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        if not wanted:
            raise InvalidTopic(topic="", families=", ".join(FAMILIES))
        self.patterns = tuple(_check(pattern, PATTERN) for pattern in wanted)
        named = {family(pattern) for pattern in self.patterns}
        self.families = FAMILIES if "*" in named else tuple(name for name in FAMILIES if name in named)
        """The families that can carry what is wanted, in the order of ``FAMILIES``."""
        self._known: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"TopicFilter({', '.join(self.patterns)})"

    def matches(self, topic: str) -> bool:
        """Tell whether ``topic`` is wanted; asked for every entry, so the answer is remembered."""
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= REMEMBERED_TOPICS:
                self._known.clear()
            known = self._known[topic] = any(matches(pattern, topic) for pattern in self.patterns)
        return known


def _check(text: str, form: re.Pattern[str]) -> str:
    valid = len(text) <= TOPIC_MAX_LENGTH and form.fullmatch(text)
    if not valid or (text != "*" and family(text) not in FAMILIES):
        raise InvalidTopic(topic=text[:TOPIC_MAX_LENGTH], families=", ".join(FAMILIES))
    return text
