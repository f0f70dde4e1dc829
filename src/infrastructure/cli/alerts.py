"""``roundsman alerts``: what is wrong now, and was."""

from typing import Annotated

import typer

from infrastructure.cli.channels import deliveries
from infrastructure.cli.options import AsJson, Limit, api
from infrastructure.cli.output import show_page
from infrastructure.cli.schedule_views import alert_columns

alerts = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Alerts: what is wrong with the workers now, and was."
)
alerts.command("deliveries")(deliveries)


@alerts.command("list")
def list_alerts(
    ctx: typer.Context,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only pending, firing, recovering or resolved ones.")
    ] = None,
    worker_id: Annotated[str | None, typer.Option("--worker", metavar="ID", help="Only those of this worker.")] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the alerts: those that are open, oldest first, then the last that were resolved.

    \b
    Examples:
      roundsman alerts list --state firing
      roundsman alerts list --worker build
      roundsman alerts list --json | jq -r '.items[].summary'
    """
    with api(ctx) as client:
        page = client.pages("/alerts", limit, state=state, worker_id=worker_id)
        show_page(page, as_json, alert_columns(client.now), "No alerts.")
