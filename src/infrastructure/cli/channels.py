"""``roundsman channels``: where alerts are sent, and whether that works. ``alerts deliveries``: what was sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from infrastructure.cli.address import path
from infrastructure.cli.completion import channel_names
from infrastructure.cli.errors import TestNotDelivered
from infrastructure.cli.options import AsJson, api, parse_id
from infrastructure.cli.output import NOTHING, Column, field, pick, print_json, say, show_page, shown
from infrastructure.cli.times import describe_duration, describe_moment

Row = Mapping[str, Any]
PAGE_WITHOUT_LIMIT = 100

channels = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Channels: where alerts are sent, and whether that works."
)
ChannelName = Annotated[
    str, typer.Argument(metavar="NAME", parser=parse_id, autocompletion=channel_names, help="The channel's name.")
]


@channels.command("list")
def list_channels(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the channels of the settings, how each is, and what waits for it.

    \b
    Examples:
      roundsman channels list
      roundsman channels list --json | jq -r '.items[] | select(.state != "closed") | .why'
    """
    with api(ctx) as client:
        show_page(client.get("/channels"), as_json, _channel_columns(client.now), "No channels: nobody is told.")


@channels.command("test")
def try_channel(ctx: typer.Context, name: ChannelName, as_json: AsJson = False) -> None:
    """Send a message that says that it is a test, and tell whether it arrived. Exit status 1: it did not.

    \b
    Examples:
      roundsman channels test on-call
    """
    with api(ctx) as client:
        found = client.post(path("channels", name, "test")).body
    if as_json:
        print_json(found)
    if found.get("outcome") != "sent":
        raise TestNotDelivered(name=name, why=_with_status(found))
    if not as_json:
        answer = f" It answered: {found['answer']}" if found.get("answer") else ""
        say(f"The test arrived on {name}.{answer}")


def deliveries(
    ctx: typer.Context,
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="Only those to this channel.")] = None,
    alert_id: Annotated[str | None, typer.Option("--alert", metavar="ID", help="Only those about this alert.")] = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="OUTCOME", help="Only those that are sent, retrying, split or given_up.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most N deliveries.")] = PAGE_WITHOUT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Show which messages went where and what became of them, newest first: the last 100, or as many as --limit says.

    \b
    Examples:
      roundsman alerts deliveries --outcome given_up
      roundsman alerts deliveries --channel on-call --json | jq -r '.items[] | [.tried_at, .outcome, .title] | @tsv'
    """
    with api(ctx) as client:
        page = client.pages("/alerts/deliveries", limit, channel=channel, alert_id=alert_id, outcome=outcome)
        show_page(page, as_json, _delivery_columns(client.now), "Nothing was sent, as far as is remembered.")


def _channel_columns(now: datetime) -> list[Column]:
    return [
        Column("NAME", field("name")),
        Column("TYPE", field("type")),
        Column("TARGET", field("target")),
        Column("TAKES", _takes),
        Column("STATE", _state),
        Column("WAITING", _waiting, right=True),
        Column("LAST SENT", lambda row: describe_moment(pick(row, "last_sent_at"), now)),
    ]


def _takes(row: Row) -> str:
    severities = pick(row, "severities") or []
    parts = [", ".join(severities)] if severities else []
    parts += [f"{name}={pattern}" for name, pattern in (pick(row, "match") or {}).items()]
    return "; ".join(parts) or "all"


def _state(row: Row) -> str:
    state, why = shown(pick(row, "state")), pick(row, "why")
    if why:
        return f"{'failing' if state == 'closed' else state.replace('_', ' ')}: {why}"
    given_up = pick(row, "last_given_up")
    return f"gave up: {given_up}" if given_up else "ok"


def _waiting(row: Row) -> str:
    count = pick(row, "waiting")
    return f"{count} ({describe_duration(pick(row, 'waiting_oldest_s') or 0)})" if count else NOTHING


def _delivery_columns(now: datetime) -> list[Column]:
    return [
        Column("TRIED", lambda row: describe_moment(pick(row, "tried_at"), now)),
        Column("CHANNEL", field("channel")),
        Column("OUTCOME", field("outcome")),
        Column("TRIES", field("tries"), right=True),
        Column("WHAT", field("title")),
        Column("ANSWER", _with_status),
    ]


def _with_status(row: Row) -> str:
    """Return why it failed, or the status and the text of the answer."""
    said = pick(row, "answer")
    if why := pick(row, "why"):
        return f"{why} ({said})" if said else str(why)
    return " ".join(str(part) for part in (pick(row, "status"), said) if part) or NOTHING
