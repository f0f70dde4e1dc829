"""``roundsman workers``: the machines that are watched."""

from typing import Annotated, Any

import typer

from infrastructure.cli import worker_views as views
from infrastructure.cli.address import path
from infrastructure.cli.errors import REFUSED, WrongInput
from infrastructure.cli.options import (
    AsJson,
    CancelRunning,
    Cron,
    Interval,
    Label,
    Limit,
    NewId,
    Since,
    Tag,
    Timezone,
    Until,
    WorkerId,
    WorkerIds,
    api,
    given,
)
from infrastructure.cli.output import print_facts, print_json, print_table, say, show_page, shown
from infrastructure.cli.schedule_views import say_stopped

LAST_SAMPLES = 20
MOST_TOLD = 20
"""Workers of a bulk start that are shown when all went well; of more, those that failed and how many did not."""
SAMPLES_A_PAGE = 10_000
"""Without --since, one page is all there is: the last samples."""

workers = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The machines that are watched: register them, start and stop their monitoring, look at their metrics.",
)


@workers.command("list")
def list_workers(ctx: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """List the workers with how they are and what was measured last.

    \b
    Examples:
      roundsman workers list
      roundsman workers list --json | jq -r '.items[].id'
    """
    with api(ctx) as client:
        page = client.pages("/workers", limit)
        show_page(page, as_json, views.worker_columns(client.now), "No workers. Add one: roundsman workers add --help")


@workers.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    provider: Annotated[str, typer.Option(metavar="PROVIDER", help="Who measures it: local (this machine) or aws.")],
    worker_id: NewId = None,
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="The provider's account, of the settings.")
    ] = None,
    region: Annotated[str | None, typer.Option(metavar="REGION", help="The provider's region.")] = None,
    instance_id: Annotated[str | None, typer.Option(metavar="ID", help="The provider's name for the machine.")] = None,
    label: Label = None,
    as_json: AsJson = False,
) -> None:
    """Register a worker. It is not watched before 'workers monitor'.

    \b
    Examples:
      roundsman workers add "Build box" --provider local --id build
      roundsman workers add web-1 --provider aws --region eu-west-1 --instance-id i-0abc --label team=web
    """
    labels = dict(pair.split("=", 1) for pair in label) if label else None
    where = given(account=account, region=region, instance_id=instance_id)
    body = given(id=worker_id, name=name, provider=provider, **where, labels=labels)
    with api(ctx) as client:
        worker = client.post("/workers", body).body
    if as_json:
        print_json(worker)
    else:
        say(f"Registered {shown(worker.get('id'))}. Watch it: roundsman workers monitor {shown(worker.get('id'))}")


@workers.command("import")
def import_workers(
    ctx: typer.Context,
    provider: Annotated[str, typer.Option(metavar="PROVIDER", help="Who has them.")] = "aws",
    region: Annotated[str | None, typer.Option(metavar="REGION", help="In which region.")] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="An account of the settings.")] = None,
    tag: Tag = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="Those in this state, such as running. Repeat it for more."),
    ] = None,
    instance_id: Annotated[
        list[str] | None, typer.Option("--instance-id", metavar="ID", help="This instance. Repeat it for more.")
    ] = None,
    monitor: Annotated[bool, typer.Option("--monitor", help="Start watching all of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register what a provider has in one account and region. Doing it twice changes nothing.

    Names and labels of workers that are registered follow the provider's; labels that people added stay.

    \b
    Examples:
      roundsman workers import --region eu-west-1 --monitor
      roundsman workers import --region us-east-1 --account production --tag team=web --state running
    """
    tags = dict(pair.split("=", 1) for pair in tag) if tag else None
    filters = given(tags=tags, states=state or None, instance_ids=instance_id or None)
    body = given(provider=provider, account=account, region=region, filters=filters or None, monitor=monitor or None)
    with api(ctx) as client:
        result = client.post("/workers/import", body).body
        if as_json:
            print_json(result)
            return
        items = result.get("items")
        print_table(items if isinstance(items, list) else [], views.import_columns(), "Nothing there to import.")
        say(views.describe_import(result))


@workers.command()
def show(ctx: typer.Context, worker_id: WorkerId, as_json: AsJson = False) -> None:
    """Show all that is known of a worker.

    \b
    Example:
      roundsman workers show build
    """
    with api(ctx) as client:
        worker = client.get(path("workers", worker_id))
        if as_json:
            print_json(worker)
        else:
            print_facts(views.worker_facts(worker, client.now))


@workers.command()
def monitor(
    ctx: typer.Context,
    worker_ids: WorkerIds = None,
    interval: Interval = None,
    cron: Cron = None,
    timezone: Timezone = None,
    paused: Annotated[bool | None, typer.Option("--pause/--resume", help="Let it rest, or let it go on.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All workers.")] = False,
    label: Label = None,
    provider: Annotated[str | None, typer.Option(metavar="PROVIDER", help="All workers of this provider.")] = None,
    region: Annotated[str | None, typer.Option(metavar="REGION", help="All workers in this region.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start watching workers, or change how often they are looked at. Doing it twice changes nothing.

    Without --interval and --cron a worker keeps its rhythm; a new one begins with the interval of its provider or of
    the settings. Of several workers each is told; the exit status is 4 if some could not be started.

    \b
    Examples:
      roundsman workers monitor build --interval 5s
      roundsman workers monitor build --cron '*/10 8-18 * * 1-5'
      roundsman workers monitor build --pause
      roundsman workers monitor --label team=web --interval 1m
      roundsman workers monitor --all --resume
    """
    if interval is not None and cron is not None:
        raise WrongInput(what="--interval and --cron", why="give one of them")
    labels = dict(pair.split("=", 1) for pair in label) if label else None
    meant = given(worker_ids=worker_ids, labels=labels, provider=provider, region=region, all=everyone or None)
    if not meant or (len(meant) > 1 and ("worker_ids" in meant or "all" in meant)):
        raise WrongInput(what="which workers", why="give ids, or --label, --provider and --region, or --all")
    how = given(interval_s=interval, cron=cron, timezone=timezone, paused=paused)
    with api(ctx) as client:
        if worker_ids is not None and len(worker_ids) == 1:
            answer = client.put(path("workers", worker_ids[0], "monitoring"), how)
            print_json(answer.body) if as_json else say(views.describe_put(worker_ids[0], answer, client.now))
        else:
            _say_bulk(client.put("/monitoring", {**meant, **how}).body, as_json)


def _say_bulk(answer: Any, as_json: bool) -> None:
    """Tell what a bulk start did: all that failed, and the others where they are few; exit with 4 if some failed."""
    if as_json:
        print_json(answer)
    else:
        failed = [item for item in answer["items"] if item["result"] == "failed"]
        items = answer["items"] if len(answer["items"]) <= MOST_TOLD else failed
        if items:
            show_page({"items": items, "next_cursor": None}, False, views.bulk_columns(), "")
        say(views.describe_bulk(answer))
    if answer["failed"]:
        raise typer.Exit(REFUSED)


@workers.command()
def stop(
    ctx: typer.Context, worker_id: WorkerId, cancel_running: CancelRunning = False, as_json: AsJson = False
) -> None:
    """Stop watching a worker; it stays registered. Its collection job leaves the store.

    \b
    Example:
      roundsman workers stop build
    """
    with api(ctx) as client:
        stopped = client.delete(path("workers", worker_id, "monitoring"), cancel_running=cancel_running or None)
    if as_json:
        print_json(stopped)
    else:
        say_stopped(f"Monitoring of {worker_id} is stopped.", stopped)


@workers.command()
def rm(
    ctx: typer.Context,
    worker_id: WorkerId,
    cancel_running: Annotated[bool, typer.Option("--cancel-running", hidden=True)] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a worker with its samples: stop its monitoring, end what looks at it, close its alerts. It does not ask.

    \b
    Example:
      roundsman workers rm build
    """
    with api(ctx) as client:
        before = client.get(path("workers", worker_id))
        removed = client.delete(path("workers", worker_id))  # ends its runs with or without --cancel-running
    if as_json:
        print_json(removed)
    else:
        say(views.describe_removed(worker_id, before))


@workers.command()
def metrics(
    ctx: typer.Context,
    worker_id: WorkerId,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show the samples of a worker, oldest first: the last 20, or all since --since. They are kept for a day.

    \b
    Examples:
      roundsman workers metrics build
      roundsman workers metrics build --limit 100
      roundsman workers metrics build --since 1h --json | jq '.items[].metrics.cpu_utilization'
    """
    if since is None and limit is None:
        limit = LAST_SAMPLES
    with api(ctx) as client:
        page = client.pages(path("workers", worker_id, "metrics"), limit, SAMPLES_A_PAGE, since=since, until=until)
        show_page(page, as_json, views.sample_columns(client.now), "No samples in that time.")
