"""What the scheduler answers to who schedules and to who lists."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from domain.scheduling.schedule import OneShotInfo, PutResult, ScheduleInfo


@dataclass(frozen=True)
class Scheduled:
    """What scheduling did. ``info`` is what then stood in the store, made when somebody asks for it: few do."""

    result: PutResult
    tell: Callable[[], ScheduleInfo | OneShotInfo] = field(repr=False)

    @cached_property
    def info(self) -> ScheduleInfo | OneShotInfo:
        """Return what then stood in the store."""
        return self.tell()


@dataclass(frozen=True)
class SchedulePage:
    """Some schedules; ``next_cursor`` asks for what follows, None at the end."""

    items: list[ScheduleInfo]
    next_cursor: str | None
