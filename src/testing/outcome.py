"""What became of a run, as a test looks at it."""

import traceback
from dataclasses import dataclass
from typing import Any

from application.scheduling.moments import iso, milliseconds
from domain.runs.outcome import Outcome
from domain.runs.run import TERMINAL, RunRecord, RunStatus


@dataclass(frozen=True)
class JobRun:
    """One run: its record as the program shows it, and what production does not keep: the exception itself."""

    record: RunRecord
    outcome: Outcome | None
    """What its last attempt ended with; None before its end."""
    exception: BaseException | None
    """What the body of its last attempt raised."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def status(self) -> RunStatus:
        """Where it is in its life."""
        return self.record.status

    @property
    def attempt(self) -> int:
        """How often its body was begun."""
        return self.record.attempt

    @property
    def error(self) -> str | None:
        """The error of its last attempt, as the program shows it."""
        return self.record.error

    @property
    def is_over(self) -> bool:
        """Whether its status is terminal."""
        return self.record.status in TERMINAL

    @property
    def result(self) -> Any:
        """What the body returned, after its way through JSON; raises ``AssertionError`` if it did not succeed."""
        if self.record.status is not RunStatus.SUCCEEDED:
            raise AssertionError(f"there is no result, as it did not succeed: {self.described()}") from self.exception
        return self.record.result

    def described(self) -> str:
        """Return it in one line, and the traceback of what it raised below."""
        record = self.record
        due = iso(milliseconds(record.fire_time))
        text = f"{record.name} {record.run_id!r} due {due} is {record.status} after attempt {record.attempt}"
        if record.error:
            text += f": {record.error}"
        if record.parked:
            text += f" (parked: {record.parked})"
        if self.exception is None:
            return text
        return f"{text}\n{''.join(traceback.format_exception(self.exception)).rstrip()}"

    def in_short(self) -> str:
        """Return it in one line, with its result."""
        result = f" -> {self.record.result!r}" if self.record.status is RunStatus.SUCCEEDED else ""
        return f"{self.described().splitlines()[0]}{result}"
