"""Write the evidence of a short history by hand, for the tests of the checker."""

from datetime import UTC, datetime
from typing import Any

from distributed.checker_evidence import ChangeAsked, Event, Evidence, Kept, RunAsked, Step
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.schedule import Pause, ScheduleState

T0 = 1_795_000_000_000
"""When the history begins, ms; moments below count from here."""


def text(at: int) -> str:
    return datetime.fromtimestamp((T0 + at) / 1000, UTC).isoformat()


class History:
    """What happened, in the order told. Times are milliseconds from the beginning."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ledger: list[Step] = []
        self.changes: list[ChangeAsked] = []
        self.asked: list[RunAsked] = []
        self.schedules: dict[str, Kept] = {}
        self.open_runs: dict[str, str] = {}
        self.facts: dict[str, Any] = {}
        self.until = 100_000

    def evidence(self) -> Evidence:
        return Evidence(
            self.events,
            self.ledger,
            T0 + self.until,
            self.changes,
            self.asked,
            self.schedules,
            self.open_runs,
            **self.facts,
        )

    def tell(self, topic: str, at: int, **data: Any) -> None:
        self.events.append(Event(topic, T0 + at, data, len(self.events)))

    def job(self, topic: str, at: int, run_id: str, attempt: int, **more: Any) -> None:
        tag: dict[str, Any] = {"run_id": run_id, "job_id": run_id.partition("@")[0], "name": "Write"}
        reason = "one_shot"
        if "@" in run_id:
            reason = next((kind for kind in ("catch_up", "backfill") if f".{kind}." in run_id), "fire")
        due = int(run_id.rpartition(".")[2]) - T0 if "@" in run_id else at
        self.tell(f"job.{topic}", at, **tag, reason=reason, fire_time=text(due), attempt=attempt, **more)

    def step(self, phase: str, at: int, run_id: str, attempt: int, pid: int = 1) -> None:
        self.ledger.append(Step(phase, run_id, attempt, pid, run_id.partition("@")[0], T0 + at))

    def change(
        self,
        topic: str,
        at: int,
        before: ScheduleState | None,
        after: ScheduleState | None,
        definition: RecurrentTaskDescriptor | None = None,
        answer: str = "ok",
        told: bool = True,
    ) -> None:
        """A change that the control side asked for, with its event."""
        op = f"op{len(self.changes)}"
        self.changes.append(
            ChangeAsked(op, "s", f"schedule.{topic}", before, after, definition, answer=answer, at=T0 + at)
        )
        if told:
            self.tell(f"schedule.{topic}", at, id="s", op=op)

    def begin_attempt(self, run_id: str, at: int, attempt: int = 1, pid: int = 1) -> None:
        self.job("started", at, run_id, attempt)
        self.step("begin", at, run_id, attempt, pid)

    def succeed(self, run_id: str, at: int, attempt: int = 1, pid: int = 1) -> None:
        self.step("end", at, run_id, attempt, pid)
        self.job("succeeded", at, run_id, attempt)

    def run(self, run_id: str, at: int, **more: Any) -> None:
        """A run without any trouble."""
        self.job("queued", at, run_id, 0, **more)
        self.begin_attempt(run_id, at)
        self.succeed(run_id, at)

    def forget(self, topic: str, run_id: str | None = None) -> None:
        """Take events out of the story."""
        self.events = [e for e in self.events if e.topic != topic or run_id not in (None, e.data.get("run_id"))]


def every_second(**policy: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id="s", name="Write", interval=1.0, policy=SchedulePolicy(**policy))


def state(
    due: int, anchor: int = 0, generation: int = 1, incarnation: str = "a", paused: bool = False
) -> ScheduleState:
    pause = Pause(at=datetime.fromtimestamp(0, UTC), by="me") if paused else None
    return ScheduleState(
        generation=generation, incarnation=incarnation, lane="Write@1", anchor=T0 + anchor, due=T0 + due, paused=pause
    )


def fire(due: int, incarnation: str = "a", kind: str = "") -> str:
    """The id of a fire's run."""
    return f"s@{incarnation}.{kind}{T0 + due}"
