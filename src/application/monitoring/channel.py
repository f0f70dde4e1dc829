"""A channel: a way to reach people, and what it answers."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from domain.monitoring.message import Message
from domain.monitoring.routing import Route

LONGEST_ANSWER = 500
"""Characters of an answer, or of a reason, that are kept."""

Verdict = Literal["again", "refused", "misconfigured"]
"""What a failure means: try again; this message will never be taken; no message will, until somebody mends settings."""


@dataclass(frozen=True)
class Answer:
    """What the other side said to a message that it took. ``status`` is that of HTTP, where there is one."""

    status: int | None = None
    text: str = ""


class NotDelivered(Exception):
    """A message did not go out. ``why`` has no secrets; ``retry_after_s`` is what the other side asked for."""

    def __init__(
        self,
        why: str,
        verdict: Verdict = "again",
        *,
        status: int | None = None,
        text: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(why)
        self.why = why[:LONGEST_ANSWER]
        self.verdict: Verdict = verdict
        self.answer = Answer(status, text[:LONGEST_ANSWER])
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """One way to reach people. ``name`` is what settings and the outbox call it, ``type`` the kind of it.

    ``open`` and ``close`` may come any number of times; what was closed may be opened again.
    """

    name: str
    type: str
    opens_early: bool = False
    """Whether it is opened before there is anything to send, as the first alert should not wait for it."""

    def check(self) -> None:
        """Raise ``InvalidChannel`` for what a person must mend before anything can be sent. Slow; sends nothing."""
        return None  # noqa: RET501 - a body without a statement would be abstract

    async def open(self) -> None:
        """Make what sending needs; raise what makes sending impossible. Nothing is sent yet."""
        return None  # noqa: RET501 - a body without a statement would be abstract

    @abstractmethod
    async def send(self, message: Message) -> Answer:
        """Deliver one message, once, or raise ``NotDelivered``. After a crash the same one comes again, by its key."""

    async def close(self) -> None:
        """Let go of connections, threads and files."""
        return None  # noqa: RET501 - a body without a statement would be abstract


@dataclass(frozen=True)
class ChannelFacts:
    """What people may see of a channel: no secrets. ``target`` says where it leads, as far as that is no secret."""

    name: str
    type: str
    target: str
    route: Route
    facts: Mapping[str, str]
