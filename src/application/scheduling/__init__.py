"""What a job's author needs, in one place."""

from application.runs.context import JobContext
from application.scheduling.bus import BackgroundTasksBus
from application.scheduling.scheduler import BackgroundTaskScheduler
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
from domain.runs.retry import RetryPolicy
from domain.scheduling.descriptor import RecurrentTaskDescriptor, ScheduledTaskDescriptor, TaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.trigger import CalendarInterval, TriggerPart

__all__ = [
    "BackgroundJob",
    "BackgroundTaskScheduler",
    "BackgroundTasksBus",
    "CalendarInterval",
    "Inject",
    "Injected",
    "JobContext",
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
