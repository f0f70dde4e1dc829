"""The one front door for whoever wants work done."""

import asyncio
from collections.abc import Awaitable, Callable

from application.scheduling.answers import Scheduled
from application.scheduling.scheduler import BackgroundTaskScheduler
from domain.errors import StoreUnavailable
from domain.scheduling.descriptor import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.scheduling.errors import LoopIsRunning

Descriptor = RecurrentTaskDescriptor | ScheduledTaskDescriptor


class BackgroundTasksBus:
    """Take task descriptors from anywhere: async code, threads, sync endpoints, before and after start."""

    def __init__(
        self,
        scheduler: BackgroundTaskScheduler,
        alone: Callable[[Descriptor], Awaitable[Scheduled]] | None = None,
    ) -> None:
        """``alone`` schedules with connections of its own: for threads, while no loop of the program runs."""
        self._scheduler = scheduler
        self._alone = alone or scheduler.schedule

    async def schedule_task(self, descriptor: Descriptor, *, fires_at_once: bool = False) -> Scheduled:
        """Return when the descriptor is in the store; raise what is wrong with it, or ``StoreUnavailable``.

        It need not be started: the store keeps what is due until somebody executes it. A schedule that is new and
        ``fires_at_once`` fires a first time now, whatever its rhythm.
        """
        return await self._scheduler.schedule(descriptor, fires_at_once=fires_at_once)

    def schedule_task_sync(self, descriptor: Descriptor, timeout_s: float = 30.0) -> Scheduled:
        """Do the same from a thread; raises ``LoopIsRunning`` on an event loop, which it would block.

        Raises ``StoreUnavailable`` after ``timeout_s`` seconds without an answer; it may have taken effect by then.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise LoopIsRunning
        loop = self._scheduler.loop
        if loop is None:
            return asyncio.run(_awaited(self._alone(descriptor)))
        future = asyncio.run_coroutine_threadsafe(self.schedule_task(descriptor), loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if not future.cancel():  # it was done in the last moment, or the timeout is its own error
                return future.result()
            raise StoreUnavailable(why=f"the program gave no answer within {timeout_s:g} s") from None


async def _awaited(awaitable: Awaitable[Scheduled]) -> Scheduled:
    return await awaitable
