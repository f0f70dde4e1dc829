"""What a shell is told when somebody presses Tab: ids from the server, or nothing at all."""

import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from infrastructure.cli.client import DEFAULT_URL, ApiClient, Connection
from infrastructure.cli.errors import CliError
from infrastructure.cli.output import say

PATIENCE_S = 0.5
"""A shell that waits longer for a word feels broken."""
MOST = 100
TOPICS = (
    *("*", "job.*", "job.queued", "job.started", "job.progress", "job.retrying", "job.succeeded", "job.failed"),
    *("job.cancelled", "job.expired", "job.terminated", "job.lost", "job.parked", "job.dead"),
    *("schedule.*", "schedule.created", "schedule.changed", "schedule.paused", "schedule.resumed"),
    *("schedule.removed", "schedule.fire_skipped", "worker.*", "worker.registered", "worker.removed"),
    *("worker.metrics.collected", "worker.collection.failed", "worker.status.changed"),
    *("alert.*", "alert.pending", "alert.firing", "alert.escalated", "alert.resolved"),
    *("alert.acknowledged", "alert.unacknowledged", "alert.rule.changed", "alert.rule.removed"),
    *("alert.silence.created", "alert.silence.ended"),
    *("instance.*", "instance.joined", "instance.left"),
)

Complete = Callable[[typer.Context, str], list[str]]


class Shell(StrEnum):
    """The shells that can be completed in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that is to complete.")]) -> None:
    """Print the script that lets a shell complete commands, options, and ids of the running program.

    \b
    Examples:
      source <(roundsman completion bash)
      roundsman completion zsh > ~/.zfunc/_roundsman
      roundsman completion fish > ~/.config/fish/completions/roundsman.fish
    """
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="roundsman", complete_var="_ROUNDSMAN_COMPLETE", shell=shell.value)
    say(script)


def ids_of(path: str) -> Complete:
    """Return what completes an id of the list at ``path``. A server that is away, slow or refuses completes nothing."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return _ids(ctx, path, incomplete)
        except (CliError, ValueError, TypeError, LookupError, AttributeError):
            return []

    return complete


def channel_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a channel. A server that is away, slow or refuses completes nothing."""
    try:
        with _open(ctx) as client:
            names = [str(item["name"]) for item in client.get("/channels")["items"]]
    except (CliError, ValueError, TypeError, LookupError, AttributeError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def first_ids_of(path: str) -> Complete:
    """Return what completes an id of a list that is not in the order of its ids: of its first page, that is."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            with _open(ctx) as client:
                found = [str(item["id"]) for item in client.get(path, limit=MOST)["items"]]
        except (CliError, ValueError, TypeError, LookupError, AttributeError):
            return []
        return [one for one in found if one.startswith(incomplete)]

    return complete


def complete_topic(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a topic of events; what the program does not know is allowed all the same."""
    return [topic for topic in TOPICS if topic.startswith(incomplete)]


def job_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the id of a job: those not over, and the newest of the others."""
    try:
        with _open(ctx) as client:
            items = list(client.get("/jobs", limit=MOST)["items"])
            return [found for found in (str(item["id"]) for item in items) if found.startswith(incomplete)]
    except (CliError, LookupError, TypeError):
        return []


schedule_ids = ids_of("/schedules")
worker_ids = ids_of("/workers")
rule_ids = ids_of("/alert-rules")
alert_ids = first_ids_of("/alerts")
silence_ids = first_ids_of("/silences")


def _ids(ctx: typer.Context, path: str, incomplete: str) -> list[str]:
    with _open(ctx) as client:
        # Ids after the beginning that is there, in their order: however many there are, one page is enough.
        items = list(client.get(path, limit=MOST, cursor=incomplete or None)["items"])
        return _with_itself(client, path, incomplete, [str(item["id"]) for item in items])


def _open(ctx: typer.Context) -> ApiClient:
    url = ctx.find_root().params.get("url") or os.environ.get("ROUNDSMAN_URL") or DEFAULT_URL
    return Connection(url, PATIENCE_S).open()


def _with_itself(client: Any, path: str, incomplete: str, following: list[str]) -> list[str]:
    found = [word for word in following if word.startswith(incomplete)]
    if not incomplete:
        return found
    try:
        return [str(client.get(f"{path}/{incomplete}")["id"]), *found]
    except CliError:
        return found
