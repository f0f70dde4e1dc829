"""What a body learns about its run, and what it may say while it runs."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime


class _Noted:
    """Let ``ctx.progress`` be awaited in async bodies and simply called in sync ones."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


class StopSign:
    """Whether a run is over. Set once, on the event loop; read from any thread, and never waited for."""

    __slots__ = ("raised",)

    def __init__(self) -> None:
        self.raised = False


@dataclass(kw_only=True, slots=True, eq=False)  # not frozen: one is made for each run, and freezing it is dear
class JobContext:
    """One attempt of one run.

    ``fire_time`` is the nominal due time, ``deadline`` when the timeout strikes (both UTC). ``missed`` counts earlier
    fires this run stands for. ``token`` only grows from owner to owner of a run: guard writes of your own with it.
    """

    run_id: str
    job_id: str
    attempt: int
    fire_time: datetime
    missed: int
    deadline: datetime
    token: str
    correlation_id: str | None = None
    queue: str | None = None
    """Of a job that was submitted to one, and for whom, in the submitter's words; else None."""
    user_id: str | None = None
    team_id: str | None = None
    _report: Callable[[float, str], None] = field(default=lambda percent, message: None, repr=False)
    _stop: StopSign = field(default_factory=StopSign, repr=False)

    def progress(self, fraction: float, message: str = "") -> _Noted:
        """Say how far the body is, 0.0 to 1.0; the latest word within a quarter of a second is kept.

        ``await ctx.progress(…)`` in async bodies, plain ``ctx.progress(…)`` in sync ones. Raises ``ValueError`` for a
        fraction outside 0..1, ``TypeError`` for what is no number or no text.
        """
        if not isinstance(message, str):
            raise TypeError(f"the message of progress is a text, not {type(message).__name__}")
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"progress is a fraction from 0.0 to 1.0, not {fraction}")
        self._report(round(float(fraction) * 100, 2), message)
        return _Noted()

    def step(self, number: int, of: int, message: str = "") -> _Noted:
        """Say that ``number`` steps ``of`` so many are done: ``ctx.step(3, of=10, message="copying")`` is 30 percent.

        As ``progress``, with the steps in the message. Raises ``ValueError`` for a number outside 0..of.
        """
        if not 0 <= number <= of or of == 0:
            raise ValueError(f"step {number} of {of} is none; count the steps from 0 to {of}, of at least one")
        return self.progress(number / of, f"{message} ({number} of {of})".strip())

    @property
    def cancelled(self) -> bool:
        """True once the run was cancelled, lost or timed out: a sync body looks here and returns."""
        return self._stop.raised
