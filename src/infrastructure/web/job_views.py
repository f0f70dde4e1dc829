"""Jobs as clients see them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from application.jobs.service import Answer
from domain.errors import RoundsmanError
from domain.jobs.job import Job
from domain.runs.run import PastAttempt, RunStatus
from infrastructure.web.json_models import example
from infrastructure.web.lists import Page
from infrastructure.web.problems import FieldError, problem_of

JOB_ID = "06ad5h4v2s8n7q3kfe1mtr09cg"
PAST = {
    "attempt": 1,
    "instance": "host-1-4711",
    "started_at": "2026-11-24T08:00:00.031Z",
    "ended_at": "2026-11-24T08:00:04.870Z",
    "error": "TransientError: the CRM answers 503",
}
JOB: dict[str, Any] = {
    "id": JOB_ID,
    "task": "Import",
    "status": "running",
    "queue": "pro",
    "priority": 0,
    "progress": 40.0,
    "message": "copying 3 of 10",
    "attempt": 2,
    "created_at": "2026-11-24T08:00:00.012Z",
    "scheduled_at": None,
    "started_at": "2026-11-24T08:00:05.120Z",
    "ended_at": None,
    "estimated_completion": "2026-11-24T08:00:17.300Z",
    "error": "TransientError: the CRM answers 503",
    "parked": None,
    "instance_id": "host-1-4711",
    "user_id": "u-17",
    "team_id": "acme",
    "correlation_id": "4bf92f3577b34da6a3ce929d0e0e4736",
}
DETAILS = {**JOB, "params": {"customer": 17}, "attempts": [PAST]}
CONFLICT = {
    "type": "urn:roundsman:problem:queue-full",
    "status": 429,
    "detail": "The queue 'free' is full: 100000 jobs wait in it. Submit again in 12 s, or into another queue; "
    "max_waiting in [queues.names] is what it may hold.",
    "errors": None,
}


class JobView(BaseModel):
    """A job, and how it stands."""

    model_config = example(JOB)

    id: str
    task: str = Field(description="The name of its class.")
    status: RunStatus
    queue: str | None = Field(description="Null for a one-shot that came by the task bus, and waits in no queue.")
    priority: int
    progress: float | None = Field(
        description="Percent, 0 to 100, as the job says itself; null until it says something, 100 when it succeeded."
    )
    message: str | None = Field(description="What the job says of its progress.")
    attempt: int = Field(description="The present one, or the last; 0 before the first.")
    created_at: datetime
    scheduled_at: datetime | None = Field(description="What was asked for; null: at once.")
    started_at: datetime | None = Field(description="When the present or last attempt began.")
    ended_at: datetime | None
    estimated_completion: datetime | None = Field(
        description="When it may be done, from what is before it in its queue and how long such jobs took lately. Null "
        "in lists, when it is over or parked, and while nothing is known of such jobs."
    )
    error: str | None = Field(description="Of the last attempt that failed; why it was cancelled.")
    parked: str | None = Field(description="Why it was set aside and waits for a person.")
    instance_id: str | None = Field(description="Who executes it.")
    user_id: str | None
    team_id: str | None
    correlation_id: str | None

    @classmethod
    def of(cls, job: Job, **more: Any) -> "JobView":
        """Return a job as it is shown."""
        facts = {name: getattr(job, name) for name in JobView.model_fields.keys() & Job.model_fields.keys()}
        facts["progress"] = 100.0 if job.status is RunStatus.SUCCEEDED else job.progress
        return cls(**{"estimated_completion": None, **facts, **more})


class JobDetails(JobView):
    """A job with what it was given, and its earlier attempts."""

    model_config = example(DETAILS)

    params: dict[str, Any] | None = Field(
        description="The data that it was given. Every viewer sees it: pass what is secret by a reference."
    )
    attempts: list[PastAttempt] = Field(description="Those before the present one, oldest first, at most twenty.")


class JobList(Page[JobView]):
    """Jobs, newest first: those that are not over before those that are."""

    model_config = example({"items": [{**JOB, "estimated_completion": None}], "next_cursor": f"0:{JOB_ID}"})


class ItemProblem(BaseModel):
    """Why one of many was refused: the problem as it would be the answer to it alone."""

    type: str
    status: int
    detail: str
    errors: list[FieldError] | None = Field(description="The parts of the request that are wrong.")


class BulkItem(BaseModel):
    """What became of one job of a bulk. `id` and `job_status` are null where it was refused; `problem` tells why."""

    status: int = Field(description="202 accepted, 200 the job that its key made before, or that of the problem.")
    id: str | None
    job_status: RunStatus | None
    problem: ItemProblem | None

    @classmethod
    def of(cls, answer: Answer) -> "BulkItem":
        """Return what is told of one."""
        if isinstance(answer, RoundsmanError):
            told = problem_of(answer)
            problem = ItemProblem(type=told.type, status=told.status, detail=told.detail, errors=told.errors)
            return cls(status=answer.status, id=None, job_status=None, problem=problem)
        status = 202 if answer.is_new else 200
        return cls(status=status, id=answer.id, job_status=answer.status, problem=None)


class BulkView(BaseModel):
    """What became of each job, in the order asked."""

    model_config = example(
        {
            "items": [
                {"status": 202, "id": JOB_ID, "job_status": "queued", "problem": None},
                {"status": 429, "id": None, "job_status": None, "problem": CONFLICT},
            ],
            "accepted": 1,
            "known": 0,
            "refused": 1,
        }
    )

    items: list[BulkItem]
    accepted: int = Field(description="New jobs.")
    known: int = Field(description="Jobs that their idempotency key had made before.")
    refused: int = Field(description="Not made: `problem` of the item tells why.")

    @classmethod
    def of(cls, items: list[BulkItem]) -> "BulkView":
        """Return the items with their counts."""
        counts = {status: sum(item.status == status for item in items) for status in (200, 202)}
        return cls(items=items, accepted=counts[202], known=counts[200], refused=len(items) - sum(counts.values()))


class JobResult(BaseModel):
    """What a job returned."""

    model_config = example({"id": JOB_ID, "result": {"rows": 4711, "report": "s3://reports/17.csv"}})

    id: str
    result: Any = Field(description="JSON of at most 65536 bytes; a large result is a reference that the job returns.")


class RetriedView(BaseModel):
    """What a retry of many did."""

    model_config = example({"retried": 412, "more": False})

    retried: int = Field(description="How many jobs wait again.")
    more: bool = Field(description="Whether to ask again: more may be meant than were looked at.")
