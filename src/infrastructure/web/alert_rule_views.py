"""Alert rules as clients send and see them, and what became of a try."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from application.monitoring.alert_rules import RuleView
from application.monitoring.rehearsal import MOST_MESSAGES, Phase, Rehearsal
from domain.monitoring.notification import Notification, NotificationKind
from domain.monitoring.rule import AlertRule, RuleId
from domain.monitoring.severity import Severity
from domain.monitoring.worker import WorkerId
from infrastructure.web.json_models import Body, LeftOut, example
from infrastructure.web.lists import Page
from infrastructure.web.parameters import CountedTime

Source = Literal["settings", "store"]
WANTED: dict[str, Any] = {
    "metric": "memory_utilization",
    "fire": 0.8,
    "clear": 0.75,
    "for_s": 60,
    "labels": {"role": "db"},
    "escalate": [{"severity": "critical", "fire": 0.95}],
    "repeat_s": 14_400,
}
RULE: dict[str, Any] = {
    "id": "db-memory",
    "comparison": ">",
    "keep_firing_for_s": 0,
    "severity": "warning",
    "except_labels": {},
    "message": None,
    "statuses": [],
    "checks": [],
    "silent_intervals": 3,
    "silent_min_s": 30,
    "min_workers": 2,
    **WANTED,
    "escalate": [{"severity": "critical", "fire": 0.95, "after_s": None}],
    "source": "store",
    "read_only": False,
    "revision": 2,
    "changed_at": "2026-11-22T08:00:00.018Z",
    "changed_by": "ann",
}
MESSAGE: dict[str, Any] = {
    "at": "2026-11-22T03:12:40.004Z",
    "kind": "firing",
    "severity": "warning",
    "value": 0.83,
    "subject": None,
    "text": "db-memory on build-7: memory_utilization 83.0 % (> 0.8 for 60 s)",
}
SHOWN_ALONE = {"source", "read_only", "revision", "changed_at", "changed_by"}
"""Fields of an answer that may be sent back: of them only ``revision`` says something."""


def _left_out(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class RuleBody(AlertRule):
    """An alert rule: what of which workers is wrong, from when on, how bad that is, and when it is well again.

    What an answer has beside the rule itself may be sent back as it is; only `revision` says something.
    """

    model_config = example(WANTED)

    id: RuleId = Field(
        default="", description="Left out, or as in the address.", json_schema_extra=_left_out, examples=["db-memory"]
    )
    revision: int | None = Field(default=None, ge=0, description="The one that it must have; 0: it must be new.")
    source: Source | None = Field(default=None, description="Ignored.")
    read_only: bool | None = Field(default=None, description="Ignored.")
    changed_at: datetime | None = Field(default=None, description="Ignored.")
    changed_by: str | None = Field(default=None, description="Ignored.")

    def given(self) -> dict[str, Any]:
        """Return the rule itself as it was given."""
        return self.model_dump(exclude={"id", *SHOWN_ALONE}, exclude_unset=True)

    def rule(self, rule_id: str) -> AlertRule:
        """Return the rule under an id."""
        return AlertRule.model_validate({**self.given(), "id": rule_id})


class RuleAnswer(AlertRule):
    """An alert rule, with where it is from."""

    model_config = example(RULE)

    source: Source = Field(description="`settings`: it is written there, and can be changed there only.")
    read_only: bool = Field(description="It cannot be changed over the API.")
    revision: int | None = Field(description="Grows with each change; null for rules of the settings.")
    changed_at: datetime | None
    changed_by: str | None

    @classmethod
    def of(cls, view: RuleView) -> "RuleAnswer":
        """Return a rule as it is shown."""
        more = view.model_dump(exclude={"rule"})
        return cls.model_construct(**dict(view.rule), **more, read_only=view.source == "settings")


class RuleList(Page[RuleAnswer]):
    """Alert rules in the order of their ids."""

    model_config = example({"items": [RULE], "next_cursor": "db-memory"})


class RehearsalBody(Body):
    """A rule, and a worker whose samples it is to be tried on: all of them, or those from `since` to `until`."""

    model_config = example({"rule": WANTED, "worker_id": "build-7"})

    rule: RuleBody
    worker_id: WorkerId
    since: LeftOut[CountedTime] = Field(default=None, description="From when on.")
    until: LeftOut[CountedTime] = Field(default=None, description="Until when.")


class ToldView(BaseModel):
    """One message that would have been sent."""

    model_config = example(MESSAGE)

    at: datetime
    kind: NotificationKind
    severity: Severity
    value: float | None
    subject: str | None = Field(description="The mount point, status or check that it is about.")
    text: str

    @classmethod
    def of(cls, told: Notification) -> "ToldView":
        """Return a message as it is shown."""
        facts = told.model_dump(include={"at", "kind", "severity", "value", "subject"})
        return cls(**facts, text=told.about)


class RehearsalView(BaseModel):
    """What a rule would have told of a worker."""

    model_config = ConfigDict() | example(
        {
            "worker_id": "build-7",
            "is_about_worker": True,
            "samples": 17_280,
            "since": "2026-11-21T08:00:05.004Z",
            "until": "2026-11-22T08:00:00.004Z",
            "interval_s": 5,
            "pending": 2,
            "state": "firing",
            "messages": [MESSAGE],
            "is_cut": False,
        }
    )

    worker_id: str
    is_about_worker: bool = Field(description="False: its labels do not select the worker, and it tells nothing.")
    samples: int = Field(description="That it was tried on.")
    since: datetime | None = Field(description="The first of them.")
    until: datetime | None = Field(description="The last of them.")
    interval_s: float = Field(description="Between two looks, as it is now: three of them without a sample are a gap.")
    pending: int = Field(description="How often it waited for `for_s`, whether it fired then or not.")
    state: Phase = Field(description="At the end.")
    messages: Annotated[list[ToldView], Field(description="What would have been sent, oldest first.")]
    is_cut: bool = Field(description=f"It would have told more than {MOST_MESSAGES} messages, and was stopped there.")

    @classmethod
    def of(cls, played: Rehearsal) -> "RehearsalView":
        """Return a try as it is shown."""
        return cls(
            worker_id=played.worker.id,
            is_about_worker=played.is_about_worker,
            samples=played.samples,
            since=played.since,
            until=played.until,
            interval_s=played.interval_s,
            pending=played.pending,
            state=played.phase,
            messages=[ToldView.of(one) for one in played.messages],
            is_cut=played.is_cut,
        )
