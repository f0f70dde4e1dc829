"""Tasks that do not hear their first cancellation end all the same."""

import asyncio

from infrastructure.events.ending import end


async def test_a_cancellation_that_was_swallowed_is_repeated() -> None:
    swallowed = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(True)
                if len(swallowed) == 3:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    await end(task)


async def test_a_task_that_fails_while_it_is_ended_has_ended() -> None:
    async def clumsy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("clumsy")

    task = asyncio.create_task(clumsy())
    await asyncio.sleep(0)
    await end(task)
    assert isinstance(task.exception(), ValueError)
