"""``roundsman jobs``: one-shot jobs, submitted, followed, cancelled and run again."""

from typing import Annotated, Any

import typer

from infrastructure.cli import job_views as views
from infrastructure.cli.address import path
from infrastructure.cli.completion import job_ids
from infrastructure.cli.errors import UNREACHABLE, WrongInput
from infrastructure.cli.job_watch import say_ended, watch_job
from infrastructure.cli.options import AsJson, Data, MaxRetries, Reason, RunTimeout, Since, api, given, parse_id
from infrastructure.cli.output import note, print_facts, print_json, print_table, say, show_page, shown
from infrastructure.cli.times import parse_duration, parse_time

LISTED = 50

jobs = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="One-shot jobs: submit, list, follow, cancel, retry.",
)

JobId = Annotated[str, typer.Argument(metavar="ID", parser=parse_id, autocompletion=job_ids, help="The job's id.")]
JobIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", parser=parse_id, autocompletion=job_ids, help="The jobs' ids."),
]
Status = Annotated[str | None, typer.Option(metavar="STATUS", help="Only those that stand like this.")]
Task = Annotated[str | None, typer.Option(metavar="JOB", help="Only those of this class.")]
Queue = Annotated[str | None, typer.Option(metavar="QUEUE", help="Only those of this queue.")]
Team = Annotated[str | None, typer.Option(metavar="ID", help="Only those for this team.")]
User = Annotated[str | None, typer.Option(metavar="ID", help="Only those for this user.")]
Correlation = Annotated[str | None, typer.Option(metavar="ID", help="Only those with this correlation id.")]
Most = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most N jobs.")]


@jobs.command("list-jobs")
def list_jobs(
    ctx: typer.Context,
    status: Status = None,
    task: Task = None,
    queue: Queue = None,
    team: Team = None,
    user: User = None,
    correlation: Correlation = None,
    since: Since = None,
    limit: Most = LISTED,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first: those that are not over before those that are.

    \b
    Examples:
      roundsman jobs list-jobs
      roundsman jobs list-jobs --status failed --task Import --since 2h
    """
    wanted: dict[str, Any] = {"status": status, "task": task, "queue": queue, "team_id": team, "user_id": user}
    with api(ctx) as client:
        page = client.pages("/jobs", limit, **wanted, correlation_id=correlation, since=since)
        show_page(page, as_json, views.job_columns(client.now), "No jobs.")


@jobs.command()
def active(ctx: typer.Context, limit: Most = LISTED, as_json: AsJson = False) -> None:
    """List the jobs that execute now.

    \b
    Example:
      roundsman jobs active
    """
    with api(ctx) as client:
        page = client.pages("/jobs", limit, status="running")
        show_page(page, as_json, views.job_columns(client.now), "Nothing is running.")


@jobs.command()
def submit(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(metavar="JOB", help="The name of the background job to run.")],
    params: Data = None,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="The default one without it.")] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="Within the queue; larger goes first, and may be negative.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", parser=parse_time, help="Not before: 2026-11-22T08:00:00Z.")
    ] = None,
    expires_in: Annotated[
        float | None,
        typer.Option(metavar="DURATION", parser=parse_duration, help="It ends as expired if nobody starts it by then."),
    ] = None,
    timeout: RunTimeout = None,
    max_retries: MaxRetries = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Idempotency key: the same key and job again is the same job.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="For whom it is.")] = None,
    team: Annotated[str | None, typer.Option(metavar="ID", help="For which team or customer it is.")] = None,
    correlation: Annotated[str | None, typer.Option(metavar="ID", help="Travels to its logs and events.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job, and say its id.

    \b
    Examples:
      roundsman jobs submit Import --params '{"customer": 17}' --queue pro
      roundsman jobs submit Import --params @import.json --key order-4711 --watch
      roundsman jobs submit Report --at 2026-11-23T06:00:00Z --expires-in 2h
    """
    body = given(task=task, params=params, queue=queue, priority=priority, scheduled_at=at, expires_in_s=expires_in)
    body |= given(timeout_s=timeout, max_retries=max_retries, idempotency_key=key)
    body |= given(user_id=user, team_id=team, correlation_id=correlation)
    with api(ctx) as client:
        answer = client.post("/jobs", body)
        if watch:
            _end(watch_job(client, str(answer.body.get("id")), as_json), as_json)
        elif as_json:
            print_json(answer.body)
        else:
            views.say_submitted(answer)


@jobs.command()
def status(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Show all that is known of a job.

    \b
    Example:
      roundsman jobs status 06ad5h4v2s8n7q3kfe1mtr09cg
    """
    with api(ctx) as client:
        job = client.get(path("jobs", job_id))
        if as_json:
            print_json(job)
        else:
            print_facts(views.job_facts(job, client.now))


@jobs.command()
def result(ctx: typer.Context, job_id: JobId) -> None:
    """Print what a job returned, as JSON. Refused unless it succeeded.

    \b
    Example:
      roundsman jobs result 06ad5h4v2s8n7q3kfe1mtr09cg | jq .rows
    """
    with api(ctx) as client:
        print_json(client.get(path("jobs", job_id, "result")).get("result"))


@jobs.command()
def watch(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job to its end: with a progress bar on a terminal, with a line for each event in a pipe.

    The exit status is 0 when it succeeded, and 1 when it ended in another way. After a cut it goes on by itself.

    \b
    Example:
      roundsman jobs watch 06ad5h4v2s8n7q3kfe1mtr09cg
    """
    with api(ctx) as client:
        _end(watch_job(client, job_id, as_json), as_json)


@jobs.command()
def cancel(ctx: typer.Context, job_id: JobId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Cancel a job, also one that is executing. Refused when it is over.

    \b
    Example:
      roundsman jobs cancel 06ad5h4v2s8n7q3kfe1mtr09cg --reason "wrong customer"
    """
    with api(ctx) as client:
        job = client.delete(path("jobs", job_id), reason=reason)
    if as_json:
        print_json(job)
    else:
        say(f"{job_id} is cancelled.")


@jobs.command()
def retry(
    ctx: typer.Context,
    job_ids: JobIds = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="All that are failed, cancelled or expired, instead of ids.")
    ] = None,
    task: Task = None,
    queue: Queue = None,
    team: Team = None,
    user: User = None,
    since: Since = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N of them; 1000 without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Queue jobs again that failed, were cancelled or expired: those named, or all that fit.

    \b
    Examples:
      roundsman jobs retry 06ad5h4v2s8n7q3kfe1mtr09cg
      roundsman jobs retry --status failed --task Import --since 2h
    """
    chosen = given(task=task, queue=queue, team_id=team, user_id=user, since=since, limit=limit)
    if bool(job_ids) == (status is not None) or (job_ids and chosen):
        raise WrongInput(what="ID and --status", why="name the jobs, or say with --status which")
    with api(ctx) as client:
        if status is not None:
            answers: list[Any] = [client.post("/jobs/retry", {"status": status, **chosen}).body]
        else:
            answers = [client.post(path("jobs", job_id, "retry")).body for job_id in job_ids or ()]
    if as_json:
        print_json(answers[0] if status is not None or len(answers) == 1 else answers)
        return
    if status is None:
        say("\n".join(f"{shown(job.get('id'))} waits again." for job in answers))
        return
    say(f"{answers[0].get('retried')} jobs wait again.")
    if answers[0].get("more"):
        note("There are more; ask again, or with a larger --limit.")


@jobs.command()
def stats(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(min=1, metavar="N", help="Of how many days, today included.")] = 7,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Tell how jobs fared: counts, success, and how long they waited and ran (half, 95 % and 99 % of them).

    \b
    Examples:
      roundsman jobs stats
      roundsman jobs stats --days 30 --team acme --json
    """
    with api(ctx) as client:
        found = client.get("/jobs/stats", days=days, team_id=team)
    if as_json:
        print_json(found)
    else:
        print_table(list(views.stats_rows(found)), views.stats_columns(), "")


@jobs.command()
def queue(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show how much waits and runs in each queue.

    \b
    Example:
      roundsman jobs queue
    """
    with api(ctx) as client:
        answer = client.queue_health()
    if as_json:
        print_json(answer.body)
    elif answer.status == 200:
        stats = answer.body.get("queue_stats")
        print_table(list(views.queue_rows(stats if isinstance(stats, dict) else {})), views.queue_columns(), "")
    else:
        note(f"The store does not answer: {shown(answer.body.get('detail'))}")
    if answer.status != 200:
        raise typer.Exit(UNREACHABLE)


def _end(job: dict[str, Any], as_json: bool) -> None:
    if not as_json:
        say_ended(job)
    if job.get("status") != "succeeded":
        raise typer.Exit(1)
