"""The command line, put together."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from infrastructure.cli.alerts import alerts
from infrastructure.cli.audit import audit
from infrastructure.cli.channels import channels
from infrastructure.cli.client import DEFAULT_URL, TIMEOUT_S, Connection
from infrastructure.cli.completion import completion
from infrastructure.cli.doctor import doctor
from infrastructure.cli.events import events
from infrastructure.cli.group import RoundsmanGroup
from infrastructure.cli.health import health
from infrastructure.cli.instances import instances
from infrastructure.cli.jobs import jobs
from infrastructure.cli.options import CONTEXT
from infrastructure.cli.schedules import schedules
from infrastructure.cli.times import parse_duration
from infrastructure.cli.workers import workers

HELP = """Walk the rounds of a fleet: watch workers, schedule background jobs, hear of what is wrong.

'run' is the program itself. The other commands talk to one that is running, at ROUNDSMAN_URL, with the key in
ROUNDSMAN_API_KEY if it wants one.

\b
Examples:
  roundsman run --port 8123
  roundsman health
  roundsman workers list
  roundsman schedules pause nightly --reason "database is being moved"

\b
Exit statuses:
  0  it is done            3  there is no such thing
  1  anything else         4  refused: not allowed, in conflict, wrong data
  2  wrong command line    5  not reachable, or not ready

Errors go to stderr; with --json as one JSON object."""


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    API = "api"
    SCHEDULER = "scheduler"


RoleOption = Annotated[
    Role, typer.Option(help="What this process does. Others than 'all' need a redis_url, so that they can share it.")
]
HostOption = Annotated[
    str | None, typer.Option(metavar="HOST", help="Listen here. Beyond loopback, API keys must be configured.")
]
PortOption = Annotated[
    int | None, typer.Option(min=0, max=65_535, metavar="PORT", help="Listen on this port; 0 takes a free one.")
]
DataDirOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Embedded Valkey and SQLite live here.", file_okay=False)
]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", envvar="ROUNDSMAN_CONFIG", help="The settings file.", dir_okay=False)
]


def create_cli(run: Callable[..., int], check: Callable[..., int]) -> typer.Typer:
    """Return the command line.

    ``run`` and ``check`` do what the commands of that name do and return the exit status. Both get ``role`` (str),
    ``host`` (str), ``port`` (int), ``data_dir`` (Path) and ``config`` (Path) by keyword, None for what was not given;
    what they raise as ``RoundsmanError`` is printed without a traceback, with its exit status.
    """
    cli = typer.Typer(
        name="roundsman",
        cls=RoundsmanGroup,
        help=HELP,
        callback=_root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=CONTEXT,
    )
    cli.command("run")(_run_command(run))
    cli.command("check")(_check_command(check))
    cli.command("health")(health)
    cli.command("doctor")(doctor)
    cli.command("instances")(instances)
    cli.command("events")(events)
    cli.command("audit")(audit)
    cli.command("completion")(completion)
    cli.add_typer(workers, name="workers")
    cli.add_typer(schedules, name="schedules")
    cli.add_typer(jobs, name="jobs")
    cli.add_typer(alerts, name="alerts")
    cli.add_typer(channels, name="channels")
    return cli


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"roundsman {version('roundsman')}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    url: Annotated[
        str, typer.Option(envvar="ROUNDSMAN_URL", metavar="URL", help="Where the program is, with its base path.")
    ] = DEFAULT_URL,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="DURATION", parser=parse_duration, help="How long a call may take; 10s without it."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    ctx.obj = Connection(url, TIMEOUT_S if timeout is None else timeout)


def _run_command(run: Callable[..., int]) -> Callable[..., None]:
    def command(
        role: RoleOption = Role.ALL,
        host: HostOption = None,
        port: PortOption = None,
        data_dir: DataDirOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Run the program until Ctrl-C or SIGTERM.

        Settings come from settings.toml and ROUNDSMAN_SECTION__KEY variables; the options below win over both.

        The first signal drains: nothing new is claimed, running jobs get background_jobs.shutdown_grace_s, the rest
        goes to other processes at once. A second one cuts the grace short. Exit status 0: every run is settled or given
        back; 6: the store did not answer, and what was running lapses and runs again elsewhere; 1: it could not start;
        5: nor could it, as the store was not there.

        \b
        Examples:
          roundsman run
          roundsman run --port 8123 --data-dir /var/lib/roundsman
          ROUNDSMAN_STORE__REDIS_URL=redis://store:6379 roundsman run --role scheduler
        """
        raise typer.Exit(run(role=role.value, host=host, port=port, data_dir=data_dir, config=config))

    return command


def _check_command(check: Callable[..., int]) -> Callable[..., None]:
    def command(
        role: RoleOption = Role.ALL,
        host: HostOption = None,
        port: PortOption = None,
        data_dir: DataDirOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Check the settings, the job modules and that every job gets what it needs; start nothing.

        \b
        Examples:
          roundsman check
          ROUNDSMAN_BACKGROUND_JOBS__MODULES='["my_jobs"]' roundsman check
        """
        raise typer.Exit(check(role=role.value, host=host, port=port, data_dir=data_dir, config=config))

    return command
