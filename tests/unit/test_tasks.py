"""Ending background tasks, also those that lose a cancellation on the way."""

import asyncio

from application.tasks import end_task


async def test_a_task_that_swallows_cancellation_ends_all_the_same() -> None:
    swallowed = 0
    began = asyncio.Event()

    async def stubborn() -> None:
        nonlocal swallowed
        began.set()
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await began.wait()
    await end_task(task)
    assert task.cancelled()
    assert swallowed == 2


async def test_what_never_began_or_is_over_ends_at_once() -> None:
    await end_task(None)
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await end_task(task)
    never_began = asyncio.create_task(asyncio.Event().wait())
    await end_task(never_began)
    assert not task.cancelled()
    assert never_began.cancelled()
