"""Ask the Sentinels where the primary is, now and after each fail-over."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
import redis.asyncio
from redis import exceptions

from infrastructure.redis.errors import (
    NoSentinel,
    NotASentinel,
    PrimaryAway,
    SentinelRefuses,
    StoreError,
    UnknownPrimary,
)
from infrastructure.redis.url import Host, written
from infrastructure.redis.words import said_by

ANSWER_S = 0.5
"""A Sentinel that takes longer is passed over: the next one knows as well."""
DOWN = {"s_down", "o_down"}
REFUSALS = (exceptions.AuthenticationError, exceptions.NoPermissionError)

LoopClient = Callable[[Host], "redis.asyncio.Redis"]
ThreadClient = Callable[[Host], "redis.Redis"]


class PrimaryNotFound(exceptions.ConnectionError):
    """What redis-py's callers see when no connection can be made for want of a primary; ``why`` is our own error."""

    def __init__(self, why: StoreError) -> None:
        super().__init__(str(why))
        self.why = why


class Sentinels:
    """Several Sentinels that watch one primary.

    They may disagree while one of them is cut off: of their answers the one of the latest fail-over counts, by its
    number (``config-epoch``). More than half of them are asked, those first that answered before. Any thread may ask.
    """

    def __init__(
        self, hosts: tuple[Host, ...], name: str, loop_client: LoopClient, thread_client: ThreadClient
    ) -> None:
        """Know the Sentinels at ``hosts``; the clients speak to one of them, with short timeouts."""
        self.name = name
        self._order = list(hosts)
        self._loop_client = loop_client
        self._thread_client = thread_client
        self._guard = threading.Lock()
        self.primary: Host | None = None
        """Where the primary was when somebody last asked."""

    async def find(self) -> Host:
        """Return where the primary is; raises ``PrimaryNotFound``."""
        poll = self._poll()
        while (host := poll.next()) is not None:
            client = self._loop_client(host)
            try:
                poll.heard(host, await client.execute_command("SENTINEL", "MASTERS"))  # type: ignore[no-untyped-call]
            except (exceptions.RedisError, OSError) as error:
                poll.failed(host, error)
            finally:
                await client.aclose()
        return self._learn(poll)

    def find_blocking(self) -> Host:
        """The same for a thread."""
        poll = self._poll()
        while (host := poll.next()) is not None:
            client = self._thread_client(host)
            try:
                poll.heard(host, client.execute_command("SENTINEL", "MASTERS"))  # type: ignore[no-untyped-call]
            except (exceptions.RedisError, OSError) as error:
                poll.failed(host, error)
            finally:
                client.close()
        return self._learn(poll)

    def _poll(self) -> "_Poll":
        with self._guard:
            return _Poll(self.name, list(self._order))

    def _learn(self, poll: "_Poll") -> Host:
        with self._guard:
            self._order.sort(key=lambda host: host in poll.silent)
        try:
            found = poll.result()
        except StoreError as why:
            raise PrimaryNotFound(why) from next(iter(poll.silent.values()), None)
        self.primary = found
        return found


@dataclass
class _Poll:
    """One round of questions, and what came of it."""

    name: str
    left: list[Host]
    answers: list[Mapping[str, str]] = field(default_factory=list)
    silent: dict[Host, Exception] = field(default_factory=dict)
    refused: list[StoreError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._enough = len(self.left) // 2 + 1

    def next(self) -> Host | None:
        """Return whom to ask next; None when enough is known."""
        if len(self.answers) >= self._enough or not self.left:
            return None
        return self.left.pop(0)

    def heard(self, host: Host, reply: list[Any]) -> None:
        """Take an answer: what the Sentinel knows of each primary, as names and values by turns."""
        try:
            known = {found["name"]: found for found in (_pairs(words) for words in reply)}
        except (KeyError, TypeError):
            self.refused.append(NotASentinel(address=written(host), why="it answers in another form"))
            return
        if self.name in known:
            self.answers.append(known[self.name])
        else:
            names = " and ".join(f"'{name}'" for name in known) or "none at all"
            self.refused.append(UnknownPrimary(address=written(host), name=self.name, known=names))

    def failed(self, host: Host, error: Exception) -> None:
        """Take note of one that did not answer, or not as a Sentinel does."""
        said = said_by(error)
        if isinstance(error, REFUSALS) or "without any password configured" in said:
            self.refused.append(SentinelRefuses(address=written(host), why=said))
        elif isinstance(error, exceptions.ResponseError | exceptions.InvalidResponse):
            self.refused.append(NotASentinel(address=written(host), why=said))
        self.silent[host] = error

    def result(self) -> Host:
        """Return where the primary is; raise what is in the way, and the worst of several."""
        if not self.answers:
            if self.refused:
                raise self.refused[0]
            why = "; ".join(f"{written(host)}: {said_by(error)}" for host, error in self.silent.items())
            raise NoSentinel(name=self.name, why=why)
        latest = max(self.answers, key=lambda answer: (int(answer.get("config-epoch", 0)), not _is_down(answer)))
        found = (latest["ip"], int(latest["port"]))
        if _is_down(latest):
            raise PrimaryAway(name=self.name, address=written(found))
        return found


def _is_down(answer: Mapping[str, str]) -> bool:
    return bool(DOWN.intersection(answer.get("flags", "").split(",")))


def _pairs(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=False))
