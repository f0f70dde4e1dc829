"""Run a sync body in a thread of its own, without ever blocking the event loop or the program's end."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any


class BodyThreads:
    """The threads of sync bodies. A body that outlives its timeout is abandoned: counted, and not waited for."""

    def __init__(self) -> None:
        self._alive: set[threading.Thread] = set()
        self._abandoned: set[threading.Thread] = set()

    @property
    def abandoned(self) -> int:
        """How many threads still execute a body whose run is over."""
        self._abandoned = {thread for thread in self._abandoned if thread.is_alive()}
        return len(self._abandoned)

    async def call(self, body: Callable[..., Any], *args: Any) -> Any:
        """Return what ``body(*args)`` returns; when cancelled, leave the thread behind."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                result, error = context.run(body, *args), None
            except BaseException as raised:  # noqa: BLE001 - carried to the awaiting task
                result, error = None, raised
            self._alive.discard(thread)
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future, result, error)

        thread = threading.Thread(target=work, name="roundsman-body", daemon=True)
        self._alive.add(thread)
        thread.start()
        try:
            return await future
        except asyncio.CancelledError:
            self._abandoned.add(thread)
            raise


def _resolve(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # a future refuses it
        future.set_exception(RuntimeError(f"the body raised {error!r}"))
    else:
        future.set_exception(error)
