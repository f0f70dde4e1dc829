"""``roundsman schedules``: what runs again and again."""

from typing import Annotated, Any

import typer

from infrastructure.cli import schedule_views as views
from infrastructure.cli.address import path
from infrastructure.cli.errors import WrongInput
from infrastructure.cli.options import (
    AsJson,
    Calendar,
    CancelRunning,
    CatchUp,
    Cron,
    Data,
    End,
    Interval,
    Jitter,
    Limit,
    MaxRetries,
    NewId,
    Overlap,
    Reason,
    RunTimeout,
    ScheduleId,
    Since,
    Start,
    Timezone,
    Trigger,
    Until,
    api,
    given,
)
from infrastructure.cli.output import print_facts, print_json, say, show_page, shown
from infrastructure.cli.schedule_watch import watch_schedules
from infrastructure.cli.times import describe_moment

schedules = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What runs again and again: list, show, pause, resume, run now, change, stop.",
)


@schedules.command("list")
def list_schedules(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option(metavar="JOB", help="Only those of this job.")] = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="Only active, paused or parked ones.")] = None,
    limit: Limit = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C. In a pipe: a line for each change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the schedules with their next and last fire.

    \b
    Examples:
      roundsman schedules list
      roundsman schedules list --state parked
      roundsman schedules list --watch
    """
    with api(ctx) as client:
        if watch:
            watch_schedules(client, as_json, limit, name=name, state=state)
        page = client.pages("/schedules", limit, name=name, state=state)
        show_page(page, as_json, views.schedule_columns(client.now), "No schedules.")


@schedules.command()
def show(ctx: typer.Context, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Show all that is known of a schedule.

    \b
    Example:
      roundsman schedules show worker-metrics-build
    """
    with api(ctx) as client:
        schedule = client.get(path("schedules", schedule_id))
        if as_json:
            print_json(schedule)
        else:
            print_facts(views.schedule_facts(schedule, client.now))


@schedules.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="JOB", help="The name of the background job to run.")],
    schedule_id: NewId = None,
    data: Data = None,
    interval: Interval = None,
    cron: Cron = None,
    calendar: Calendar = None,
    timezone: Timezone = None,
    trigger: Trigger = None,
    overlap: Overlap = None,
    catch_up: CatchUp = None,
    jitter: Jitter = None,
    timeout: RunTimeout = None,
    max_retries: MaxRetries = None,
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
) -> None:
    """Make a schedule, or change the one that has this id.

    \b
    Examples:
      roundsman schedules add Ledger --id l1 --interval 30s --data '{"label": "a"}'
      roundsman schedules add Report --cron '0 2 * * 1-5' --timezone Europe/Brussels --data @report.json
      roundsman schedules add Invoice --calendar '{"months": 1, "day": 31, "missing_day": "last"}'
      roundsman schedules add Poll --trigger '{"both": [{"interval_s": 7200}, {"cron": "* * * * 1-5"}]}'
      roundsman schedules add Sweep --interval 1h --overlap queue_one --jitter 2m --timeout 10m
    """
    when = _trigger(trigger, timezone, interval_s=interval, cron=cron, calendar=calendar)
    policy = given(overlap=overlap, catch_up=catch_up, jitter_s=jitter, timeout_s=timeout, max_retries=max_retries)
    policy |= given(start=start, end=end)
    body = given(id=schedule_id, name=name, data=data, trigger=when, policy=policy or None)
    with api(ctx) as client:
        answer = client.post("/schedules", body)
        if as_json:
            print_json(answer.body)
        else:
            say(views.describe_put(answer, client.now))


@schedules.command()
def pause(
    ctx: typer.Context,
    schedule_id: ScheduleId,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Let a schedule rest until 'resume'. What is executing goes on.

    \b
    Example:
      roundsman schedules pause l1 --reason "database is being moved"
    """
    with api(ctx) as client:
        answer = client.post(path("schedules", schedule_id, "pause"), given(reason=reason)).body
    if as_json:
        print_json(answer)
    else:
        say(f"{schedule_id} rests. Let it go on: roundsman schedules resume {schedule_id}")


@schedules.command()
def resume(ctx: typer.Context, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Let a paused or parked schedule go on. What it missed is not caught up; see 'backfill'.

    \b
    Example:
      roundsman schedules resume l1
    """
    with api(ctx) as client:
        answer = client.post(path("schedules", schedule_id, "resume")).body
        if as_json:
            print_json(answer)
        else:
            say(f"{schedule_id} goes on. Next fire: {describe_moment(answer.get('next_fire'), client.now)}")


@schedules.command()
def run(ctx: typer.Context, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Run a schedule's job once, now, beside its rhythm. Refused while it runs, unless its overlap policy allows more.

    \b
    Example:
      roundsman schedules run l1
    """
    with api(ctx) as client:
        answer = client.post(path("schedules", schedule_id, "run")).body
    if as_json:
        print_json(answer)
    else:
        say(f"Run {shown(answer.get('run_id'))} is queued. Follow it: roundsman schedules runs {schedule_id}")


@schedules.command()
def rm(
    ctx: typer.Context, schedule_id: ScheduleId, cancel_running: CancelRunning = False, as_json: AsJson = False
) -> None:
    """Stop a schedule and remove it. It does not ask, and says what still runs.

    \b
    Examples:
      roundsman schedules rm l1
      roundsman schedules rm l1 --cancel-running
    """
    with api(ctx) as client:
        answer = client.delete(path("schedules", schedule_id), cancel_running=cancel_running or None)
    if as_json:
        print_json(answer)
    else:
        views.say_stopped(f"{schedule_id} is stopped and removed.", answer)


@schedules.command()
def runs(ctx: typer.Context, schedule_id: ScheduleId, limit: Limit = None, as_json: AsJson = False) -> None:
    """List the runs of a schedule: those that are not over, and the last that are.

    \b
    Example:
      roundsman schedules runs worker-metrics-build --limit 10
    """
    with api(ctx) as client:
        page = client.pages(path("schedules", schedule_id, "runs"), limit)
        show_page(page, as_json, views.run_columns(client.now), "It has not run yet.")


@schedules.command()
def backfill(
    ctx: typer.Context, schedule_id: ScheduleId, since: Since = None, until: Until = None, as_json: AsJson = False
) -> None:
    """Run a schedule's job once for each time it was due between --since and --until, one after another.

    \b
    Examples:
      roundsman schedules backfill l1 --since 2h
      roundsman schedules backfill l1 --since 2026-11-20T00:00:00Z --until 2026-11-21T00:00:00Z
    """
    if since is None:
        raise WrongInput(what="--since", why="say from when on, for example --since 2h")
    with api(ctx) as client:
        body: dict[str, Any] = {"since": since, "until": until or client.now.isoformat()}
        answer = client.post(path("schedules", schedule_id, "backfill"), body).body
    if as_json:
        print_json(answer)
    else:
        views.say_queued(answer)


def _trigger(whole: dict[str, Any] | None, timezone: str | None, **kinds: Any) -> dict[str, Any]:
    chosen = given(**kinds)
    if len(chosen) + (whole is not None) != 1:
        raise WrongInput(what="--interval, --cron, --calendar and --trigger", why="give one of them")
    if timezone is not None and not chosen.keys() & {"cron", "calendar"}:
        raise WrongInput(what="--timezone", why="it belongs to --cron or --calendar; a --trigger has its own")
    return whole if whole is not None else {**chosen, **given(timezone=timezone)}
