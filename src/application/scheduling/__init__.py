"""What a job's author needs, in one place.

The bus and the scheduler are loaded by whoever asks for them: asyncio and all that stands behind the two would be more
than a third of the time that every job module takes to import.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from application.runs.context import JobContext
from domain.runs.errors import JobTerminationException, PermanentError, TransientError
from domain.runs.job import (
    BackgroundJob,
    Inject,
    Injected,
    RecurrentBackgroundJob,
    ScheduledBackgroundJob,
    backgroundjob,
    injected,
)
from domain.runs.limits import JobLimits
from domain.runs.retry import RetryPolicy
from domain.scheduling.descriptor import RecurrentTaskDescriptor, ScheduledTaskDescriptor, TaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.trigger import CalendarInterval, TriggerPart

if TYPE_CHECKING:
    from application.scheduling.bus import BackgroundTasksBus
    from application.scheduling.scheduler import BackgroundTaskScheduler
else:  # hidden from type checkers, which would take any name for one that is here

    def __getattr__(name: str) -> object:
        """Load the bus or the scheduler when it is first asked for; from then on it is a name like any other."""
        place = {"BackgroundTasksBus": "bus", "BackgroundTaskScheduler": "scheduler"}.get(name)
        if place is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        found: object = getattr(import_module(f"{__name__}.{place}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        """Name also what is not loaded yet, for whoever explores the package in a shell."""
        return sorted({*globals(), *__all__})


__all__ = [
    "BackgroundJob",
    "BackgroundTaskScheduler",
    "BackgroundTasksBus",
    "CalendarInterval",
    "Inject",
    "Injected",
    "JobContext",
    "JobLimits",
    "JobTerminationException",
    "PermanentError",
    "RecurrentBackgroundJob",
    "RecurrentTaskDescriptor",
    "RetryPolicy",
    "SchedulePolicy",
    "ScheduledBackgroundJob",
    "ScheduledTaskDescriptor",
    "TaskDescriptor",
    "TransientError",
    "TriggerPart",
    "backgroundjob",
    "injected",
]
