"""End tasks that may not hear it the first time."""

import asyncio
from typing import Any

CANCEL_AGAIN_S = 0.05
"""Wait before a task is cancelled again. Under Python 3.11 ``asyncio.wait_for`` forgets a cancellation that comes while
its inner task finishes, and redis-py sends every command through it."""


async def end(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended. Not for one with something to finish: it may be cancelled more than once."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
