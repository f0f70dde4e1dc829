"""What tests of job classes are made of."""

from typing import Any, Protocol

from application.scheduling import (
    RecurrentBackgroundJob,
    backgroundjob,
)
from domain.runs.job import JobDefinition


class Clock:
    """A dependency."""


class Ledger(Protocol):
    """Another."""


def definition(cls: Any) -> JobDefinition:
    found: JobDefinition = cls.__definition__
    return found


def recurrent(**options: Any) -> Any:
    return backgroundjob(task_type="recurrent", **options)


class Runs(RecurrentBackgroundJob):
    def run_every(self) -> None: ...
