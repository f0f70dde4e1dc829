"""Runs of the store as jobs that somebody follows."""

from application.jobs.publishing import Accepted
from application.scheduling.moments import at
from domain.jobs.job import Job
from domain.runs.run import RunRecord, RunSpec, RunStatus

SAME = frozenset(
    (
        *("status", "queue", "scheduled_at", "started_at", "ended_at", "attempt", "progress", "message", "error"),
        *("result", "parked", "user_id", "team_id", "correlation_id"),
    )
)
"""What a job and its run call the same."""


def job_of(run: RunRecord) -> Job:
    """Return a run as a job."""
    return Job(
        id=run.job_id,
        task=run.name,
        priority=run.priority or 0,
        created_at=run.queued_at or run.fire_time,
        instance_id=run.instance,
        attempts=tuple(run.attempts),
        **{name: getattr(run, name) for name in SAME},
    )


def accepted_job(spec: RunSpec, accepted: Accepted) -> Job:
    """Return a job as it stands right after it was accepted."""
    return Job(
        id=accepted.id,
        task=spec.name,
        status=accepted.status or RunStatus.QUEUED,
        queue=spec.queue,
        priority=spec.priority or 0,
        created_at=spec.fire_time if accepted.queued_ms is None else at(accepted.queued_ms),
        scheduled_at=spec.scheduled_at,
        user_id=spec.user_id,
        team_id=spec.team_id,
        correlation_id=spec.correlation_id,
    )
