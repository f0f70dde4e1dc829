"""The APScheduler subclass: its thread and its wake-up, with a tick that many processes can share."""

import logging
from collections.abc import Callable
from typing import Any, NoReturn

from apscheduler.schedulers.background import BackgroundScheduler

log = logging.getLogger(__name__)

AFTER_ERROR_S = 1.0


class ClusterScheduler(BackgroundScheduler):  # type: ignore[misc]  # APScheduler has no types
    """Call ``tick`` whenever it is due, in APScheduler's own thread.

    ``tick`` returns how many seconds to wait at most. APScheduler's own tick was made for one process with a private
    store, so ``_process_jobs`` is replaced: pinned to APScheduler 3.11, and tested. Nothing raised in a tick ends the
    thread.
    """

    def __init__(self, tick: Callable[[], float]) -> None:
        super().__init__(timezone="UTC", logger=logging.getLogger("apscheduler.cluster"))
        self._tick = tick

    def _process_jobs(self) -> float:
        try:
            return self._tick()
        except Exception:
            log.exception("a tick failed; the next one comes in %g s", AFTER_ERROR_S)
            return AFTER_ERROR_S

    def add_job(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: APScheduler's own jobs would be in no store, and never run."""
        raise TypeError("schedule through BackgroundTasksBus.schedule_task; ClusterScheduler keeps no jobs of its own")
