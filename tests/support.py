"""Wait for conditions; nothing in these tests sleeps for luck."""

import asyncio
import inspect
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_S = 30.0
"""Far beyond any promise: a slow machine must not fail a test, a broken promise must."""

THOROUGH = bool(os.environ.get("THOROUGH"))
"""Whether there is time (``make test THOROUGH=1``): more examples of each property, and chaos under more seeds."""
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak plain HTTP (``verify=``): httpx2 reads the machine's authorities for each client otherwise,
which costs more than the test."""


def examples(usual: int) -> int:
    """Return how many examples Hypothesis shall try of what usually gets so many."""
    return usual * 25 if THOROUGH else usual


def pause_s(waited_s: float) -> float:
    """Return when to ask again: after 10 ms, and later the longer it takes, so as not to slow what is waited for."""
    return min(max(0.01, waited_s / 20), 0.1)


async def wait_until(
    condition: Callable[[], T | Awaitable[T]], what: str = "the condition", deadline_s: float = DEADLINE_S
) -> T:
    """Return the first truthy value of ``condition`` (plain or async), asked often; fail after the deadline."""
    begin = time.monotonic()
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if (waited_s := time.monotonic() - begin) > deadline_s:
            raise AssertionError(f"waited {deadline_s:g} s for {what}; last value: {value!r}")
        await asyncio.sleep(pause_s(waited_s))


def wait_until_sync(condition: Callable[[], T], what: str = "the condition", deadline_s: float = DEADLINE_S) -> T:
    """The same for threads and processes."""
    begin = time.monotonic()
    while not (value := condition()):
        if (waited_s := time.monotonic() - begin) > deadline_s:
            raise AssertionError(f"waited {deadline_s:g} s for {what}; last value: {value!r}")
        time.sleep(pause_s(waited_s))
    return value
