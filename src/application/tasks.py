"""End background tasks for certain."""

import asyncio
from typing import Any

CANCEL_AGAIN_S = 0.05
"""Wait before a task is cancelled again."""


async def end_task(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task and return when it has ended; its own error, if any, was the task's to log.

    One ``cancel`` is not enough: until Python 3.12 ``asyncio.wait_for``, which redis-py sends with, swallows a
    cancellation that comes when its inner future is done, and the task goes on. Not for a task with something to
    finish: it may be cancelled more than once.
    """
    if task is None:
        return
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)
