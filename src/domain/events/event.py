"""The event: a JSON fact on the bus, named in the past tense."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

TOPIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
PATTERN = re.compile(r"\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?")

FAMILIES = ("job", "schedule", "worker", "alert", "instance")
"""First words of all topics. Each family is one stream, so that who follows workers does not read every run."""

Topic = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=100)]


class Event(BaseModel):
    """Tell one fact.

    ``id`` is ``<family>-<ms>-<seq>``: unique, and growing within its family. ``time`` is the store's clock, UTC.
    A handler may see one event twice (at-least-once delivery) and tells repeats by ``id``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    topic: Topic
    time: datetime
    source: str
    data: dict[str, Any] = Field(default_factory=dict)
    correlation_id: str | None = None
    traceparent: str | None = None
    schema_version: int = 1


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
