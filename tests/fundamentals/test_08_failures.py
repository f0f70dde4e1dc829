"""A body that raises has failed. Its retry policy decides whether, and when, it is tried again."""

from application.scheduling import (
    JobContext,
    PermanentError,
    RetryPolicy,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    TransientError,
    backgroundjob,
)
from fundamentals.conftest import App


@backgroundjob(task_type="scheduled", retry=RetryPolicy(max_retries=2, backoff_s=0.02))
class Fetch(ScheduledBackgroundJob):
    """Fetch a page that answers as ``answers`` says, one word for each attempt."""

    answers: list[str]

    async def run_at(self, ctx: JobContext) -> str:
        match self.answers[ctx.attempt - 1]:
            case "broken":
                raise OSError("connection reset")
            case "busy":
                raise TransientError("too many requests", retry_after_s=0.05)
            case "gone":
                raise PermanentError("there is no such page")
        return "a page"


async def fetch(app: App, *answers: str) -> tuple[str, int, str | None]:
    """Schedule it, and return its status, attempts and error when it has ended."""
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="fetch", name="Fetch", data={"answers": list(answers)}))
    run = await app.end_of("fetch")
    return run.status, run.attempt, run.error


async def test_any_exception_is_retried_with_growing_random_waits(app: App) -> None:
    assert await fetch(app, "broken", "broken", "fine") == ("succeeded", 3, None)


async def test_when_its_retries_are_spent_it_has_failed(app: App) -> None:
    failed = await fetch(app, "broken", "broken", "broken", "fine")
    assert failed == ("failed", 3, "OSError: connection reset")


async def test_a_permanent_error_is_not_tried_again(app: App) -> None:
    assert await fetch(app, "gone", "fine") == ("failed", 1, "PermanentError: there is no such page")


async def test_a_transient_error_may_say_when_to_come_again(app: App) -> None:
    retrying = await app.listen("job.retrying")
    assert await fetch(app, "busy", "fine") == ("succeeded", 2, None)
    (event,) = retrying
    assert event.data["retry_in_s"] == 0.05


async def test_whoever_schedules_may_ask_for_fewer_retries(app: App) -> None:
    data = {"answers": ["broken", "fine"]}
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="once", name="Fetch", data=data, max_retries=0))
    assert (await app.end_of("once")).status == "failed"
