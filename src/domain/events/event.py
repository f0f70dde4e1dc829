"""The event: a JSON fact on the bus, named in the past tense."""

import re
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

TOPIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
TOPIC_MAX_LENGTH = 100

FAMILIES = ("job", "schedule", "worker", "alert", "instance")
"""First words of all topics. Each family is one stream, so that who follows workers does not read every run."""

Topic = Annotated[str, StringConstraints(pattern=rf"^{TOPIC.pattern}$", max_length=TOPIC_MAX_LENGTH)]


class Event(BaseModel):
    """Tell one fact.

    ``id`` is ``<family>-<ms>-<seq>``: unique, and growing within its family. ``time`` is the store's clock, UTC.
    A handler may see one event twice (at-least-once delivery) and tells repeats by ``id``. ``data`` is shared by all
    handlers of a process: read it, do not change it.
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


class Gap(NamedTuple):
    """Events that a reader did not get: they were trimmed before it came to them, or the store lost its data."""

    family: str
    lost: int | None
    """How many, of all topics of the family; None when that cannot be told."""
