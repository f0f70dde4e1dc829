"""Wait for conditions; nothing in these tests sleeps for luck."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_S = 30.0
"""Far beyond any promise: a slow machine must not fail a test, a broken promise must."""


async def wait_until(
    condition: Callable[[], T | Awaitable[T]], what: str = "the condition", deadline_s: float = DEADLINE_S
) -> T:
    """Return the first truthy value of ``condition`` (plain or async), asked every 10 ms; fail after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s:g} s for {what}; last value: {value!r}")
        await asyncio.sleep(0.01)


def wait_until_sync(condition: Callable[[], T], what: str = "the condition", deadline_s: float = DEADLINE_S) -> T:
    """The same for threads and processes."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s:g} s for {what}; last value: {value!r}")
        time.sleep(0.01)
    return value
