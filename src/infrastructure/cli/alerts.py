"""``roundsman alerts``: what is wrong now, and was; who knows of it; what is not to be told."""

from typing import Annotated, Any

import typer

from infrastructure.cli import alert_views as views
from infrastructure.cli.address import path
from infrastructure.cli.alert_rules import rules
from infrastructure.cli.channels import deliveries
from infrastructure.cli.completion import alert_ids, rule_ids, silence_ids, worker_ids
from infrastructure.cli.errors import WrongInput
from infrastructure.cli.options import AsJson, Label, Limit, Start, api, given, parse_id
from infrastructure.cli.output import pick, print_facts, print_json, say, show_page, shown
from infrastructure.cli.times import describe_moment, parse_duration, parse_time

alerts = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Alerts: what is wrong with the workers now, and was. Acknowledge and silence them, change their rules.",
)
alerts.command("deliveries")(deliveries)
alerts.add_typer(rules, name="rules")

AlertId = Annotated[
    str, typer.Argument(metavar="ID", parser=parse_id, autocompletion=alert_ids, help="The alert's id.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", parser=parse_time, help="Until this time, with its zone.")]
For = Annotated[
    float | None, typer.Option("--for", metavar="DURATION", parser=parse_duration, help="For so long: 30m, 2h, 1d.")
]


@alerts.command("list")
def list_alerts(
    ctx: typer.Context,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only pending, firing, recovering or resolved ones.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(metavar="ID", autocompletion=rule_ids, help="Only those of this rule.")
    ] = None,
    worker: Annotated[
        str | None, typer.Option(metavar="ID", autocompletion=worker_ids, help="Only those of this worker.")
    ] = None,
    severity: Annotated[
        str | None, typer.Option(metavar="SEVERITY", help="Only info, warning or critical ones.")
    ] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the alerts: those that are open, oldest first, then the last that were resolved.

    \b
    Examples:
      roundsman alerts list --state firing
      roundsman alerts list --worker build --severity critical
      roundsman alerts list --json | jq -r '.items[].summary'
    """
    with api(ctx) as client:
        page = client.pages("/alerts", limit, state=state, rule=rule, worker=worker, severity=severity)
        show_page(page, as_json, views.alert_columns(client.now), "No alerts.")


@alerts.command()
def show(ctx: typer.Context, alert_id: AlertId, as_json: AsJson = False) -> None:
    """Show all that is known of an alert, with what keeps it from being told.

    \b
    Example:
      roundsman alerts show high-cpu@build@1795334400000
    """
    with api(ctx) as client:
        alert = client.get(path("alerts", alert_id))
        if as_json:
            print_json(alert)
        else:
            print_facts(views.alert_facts(alert, client.now))


@alerts.command()
def ack(
    ctx: typer.Context,
    alert_id: AlertId,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="What is known; others will read it.")] = None,
    duration: For = None,
    until: Until = None,
    severity: Annotated[
        str | None, typer.Option(metavar="SEVERITY", help="The worst that is known. The present one without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say that you know of an alert: it is not repeated, for four hours without --for or --until.

    What becomes worse than that is told, and so is its end.

    \b
    Examples:
      roundsman alerts ack high-cpu@build@1795334400000 --note "the build farm is busy"
      roundsman alerts ack high-cpu@build@1795334400000 --for 2h --severity critical
    """
    with api(ctx) as client:
        body = given(note=note, for_s=duration, until=until, severity=severity)
        alert = client.post(path("alerts", alert_id, "ack"), body).body
        if as_json:
            print_json(alert)
            return
        until_then = describe_moment(pick(alert, "ack.until"), client.now)
        say(f"{alert_id} is acknowledged by {shown(pick(alert, 'ack.by'))} until {until_then}.")


@alerts.command()
def unack(ctx: typer.Context, alert_id: AlertId, as_json: AsJson = False) -> None:
    """Withdraw an acknowledgement: the alert is told again as if nobody knew of it.

    \b
    Example:
      roundsman alerts unack high-cpu@build@1795334400000
    """
    with api(ctx) as client:
        alert = client.delete(path("alerts", alert_id, "ack"))
    if as_json:
        print_json(alert)
    else:
        say(f"{alert_id} is not acknowledged.")


@alerts.command()
def silence(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; others will read it.")],
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", autocompletion=rule_ids, help="Of this rule; * and ? are wildcards. Repeatable."),
    ] = None,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", autocompletion=worker_ids, help="Of this worker; * and ? are wildcards. Repeatable."
        ),
    ] = None,
    severity: Annotated[
        list[str] | None, typer.Option(metavar="SEVERITY", help="Of this severity. Repeatable.")
    ] = None,
    label: Label = None,
    everything: Annotated[bool, typer.Option("--all", help="All alerts of all workers.")] = False,
    duration: For = None,
    until: Until = None,
    start: Start = None,
    as_json: AsJson = False,
) -> None:
    """Let nothing be told of some alerts, until a time: those that have one of each that is given, and every label.

    At its end what is still wrong is told, and what ended meanwhile.

    \b
    Examples:
      roundsman alerts silence --worker 'db-*' --for 2h --reason "the disks are being changed"
      roundsman alerts silence --label role=db --severity warning --until 2099-01-01T00:00:00Z --reason "known"
    """
    matchers = _matchers(rule, worker, severity, label, everything)
    if (duration is None) == (until is None):
        raise WrongInput(what="--for and --until", why="give one of them")
    body = {"matchers": matchers, "reason": reason, **given(for_s=duration, ends_at=until, starts_at=start)}
    with api(ctx) as client:
        made = client.post("/silences", body).body
        if as_json:
            print_json(made)
            return
        what, made_id = views.describe_matchers(made.get("matchers")), shown(made.get("id"))
        say(f"{made_id}: nothing is told of {what} until {describe_moment(made.get('ends_at'), client.now)}.")
        say(f"End it: roundsman alerts unsilence {made_id}")


@alerts.command()
def silences(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="Only active, scheduled or expired ones.")] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the silences that hold or will; with --state expired those of the last week.

    \b
    Examples:
      roundsman alerts silences
      roundsman alerts silences --state expired
    """
    with api(ctx) as client:
        page = client.pages("/silences", limit, state=state)
        show_page(page, as_json, views.silence_columns(client.now), "No silences.")


@alerts.command()
def unsilence(
    ctx: typer.Context,
    silence_id: Annotated[
        str, typer.Argument(metavar="ID", parser=parse_id, autocompletion=silence_ids, help="The silence's id.")
    ],
    as_json: AsJson = False,
) -> None:
    """End a silence now: what it held back is told.

    \b
    Example:
      roundsman alerts unsilence silence-5f2c1b7a90de
    """
    with api(ctx) as client:
        ended = client.delete(path("silences", silence_id))
    if as_json:
        print_json(ended)
    else:
        say(f"{silence_id} has ended.")


def _matchers(
    rule: list[str] | None,
    worker: list[str] | None,
    severity: list[str] | None,
    label: list[str] | None,
    everything: bool,
) -> dict[str, Any]:
    """Return what is to be silenced; everything only where that is said."""
    labels: dict[str, Any] = {}
    for name, _, value in (pair.partition("=") for pair in label or ()):
        labels[name] = [*labels[name], value] if name in labels else [value]
    found = given(rule_ids=rule or None, worker_ids=worker or None, severities=severity or None, labels=labels or None)
    if everything == bool(found):
        raise WrongInput(
            what="what to silence", why="say it by --rule, --worker, --severity or --label, or say --all without them"
        )
    return {"worker_ids": ["*"]} if everything else found
