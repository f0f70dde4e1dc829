"""Run a sync body in a thread of its own, without ever blocking the event loop or the program's end."""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class BodyThreads:
    """The threads of sync bodies. A body that outlives its timeout is abandoned: counted, and not waited for."""

    def __init__(self) -> None:
        self._abandoned: frozenset[threading.Thread] = frozenset()

    @property
    def abandoned(self) -> int:
        """How many threads still execute a body whose run is over. Any thread may ask."""
        return sum(thread.is_alive() for thread in self._abandoned)

    async def call(self, body: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what the body returns; when cancelled, leave the thread behind."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            result, error = None, None
            try:
                result = context.run(body, *args, **kwargs)
            except BaseException as raised:  # noqa: BLE001 - carried to the awaiting task
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, future, result, error)

        thread = threading.Thread(target=work, name="roundsman-body", daemon=True)
        thread.start()
        try:
            return await future
        except asyncio.CancelledError:
            self._abandoned = frozenset(other for other in (*self._abandoned, thread) if other.is_alive())
            raise


def _resolve(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        if error is not None:
            log.warning("a body that was left behind ended with %r", error)
    elif error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # a future refuses it
        future.set_exception(RuntimeError(f"the body raised {error!r}"))
    else:
        future.set_exception(error)
