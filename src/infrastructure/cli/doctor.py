"""``roundsman doctor``: look at everything that can be wrong, and say how to mend it."""

import asyncio
import logging
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.errors import FAILED, CliError
from infrastructure.cli.findings import Area, Finding, Level
from infrastructure.cli.options import AsJson, api
from infrastructure.cli.output import print_json, say

if TYPE_CHECKING:
    from infrastructure.cli.doctor_fleet import Fleet
    from infrastructure.settings import Settings

SETTINGS = Area("settings")
STORE = Area("store")
MARKS = {Level.OK: "ok   ", Level.NOTE: "note ", Level.WRONG: "WRONG"}


def doctor(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="ROUNDSMAN_CONFIG", help="The settings file.", dir_okay=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show what is wrong, and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at settings, store, history, disk, clocks, versions, the API, and at what waits for a person.

    It says what is wrong and how to mend it. It asks the Redis and the database of the settings itself, so that it
    works while the program does not; it starts nothing and writes nothing. (The program's own embedded store can only
    be asked through a running program.) Call it where the program runs, with its settings.

    The exit status is 0 when nothing is wrong, else 1.

    \b
    Examples:
      roundsman doctor
      roundsman doctor --json | jq -r '.findings[] | select(.level == "wrong") | .mend'
    """
    findings = list(_examine(ctx, config))
    wrong = sum(finding.level is Level.WRONG for finding in findings)
    if as_json:
        shown = [finding.as_json for finding in findings if not quiet or finding.level is Level.WRONG]
        print_json({"healthy": not wrong, "wrong": wrong, "findings": shown})
    else:
        for finding in findings:
            _tell(finding, quiet)
        say({0: "Nothing is wrong.", 1: "One thing is wrong."}.get(wrong, f"{wrong} things are wrong."))
    if wrong:
        raise typer.Exit(FAILED)


def _examine(ctx: typer.Context, config: Path | None) -> Iterator[Finding]:
    from infrastructure.cli.doctor_fleet import API, judge, look_at_api
    from infrastructure.cli.doctor_history import look_at_history
    from infrastructure.cli.doctor_machine import look_at_data, look_at_machine

    yield from look_at_machine()
    settings, findings = _settings(config)
    yield from findings
    told: Fleet | None = None
    if settings is not None:
        is_embedded = not settings.store.redis_url.get_secret_value()
        yield from look_at_data(settings.data_dir, is_embedded)
        findings, told = _store(settings, is_embedded)
        yield from findings
        yield from look_at_history(settings.history, settings.data_dir, is_shared=not is_embedded)
    try:
        with api(ctx) as client:
            findings, known = look_at_api(client)
    except CliError as error:  # an address or a key that is none: the rest is looked at all the same
        findings, known = [API.wrong("address", str(error), "Set it anew, in the environment or with --url.")], None
    yield from findings
    if (fleet := told or known) is not None:
        yield from judge(fleet, version("roundsman"))


def _settings(config: Path | None) -> "tuple[Settings | None, list[Finding]]":
    from infrastructure.settings import InvalidSettings, load_settings

    try:
        settings = load_settings(config)
    except InvalidSettings as error:
        mend = (
            "Mend these lines; settings.toml of the distribution explains each key. 'roundsman check' checks jobs too."
        )
        problems = str(error.facts.get("problems", error)).splitlines()
        return None, [SETTINGS.wrong("settings", problem.removeprefix("- "), mend) for problem in problems]
    return settings, [SETTINGS.ok("settings", "they are valid")]


def _store(settings: "Settings", is_embedded: bool) -> "tuple[list[Finding], Fleet | None]":
    if not is_embedded:
        from infrastructure.cli.doctor_store import look_at_store

        # What the connection would log is found and told here, in its place.
        logging.getLogger("infrastructure").addHandler(logging.NullHandler())
        return asyncio.run(look_at_store(settings.store))
    from infrastructure.cli.doctor_machine import owner_of

    owner = owner_of(settings.data_dir)
    if owner is None:
        says = (
            f"the embedded Valkey in {settings.data_dir} does not run, as the program does not; it is not started here"
        )
        return [STORE.note("embedded", says)], None
    return [
        STORE.ok("embedded", f"the embedded Valkey belongs to process {owner or '?'}; it is asked by the API")
    ], None


def _tell(finding: Finding, quiet: bool) -> None:
    if quiet and finding.level is not Level.WRONG:
        return
    say(f"{MARKS[finding.level]}  {finding.area}, {finding.name}: {finding.says}")
    if finding.mend:
        say(f"         {finding.mend}")
