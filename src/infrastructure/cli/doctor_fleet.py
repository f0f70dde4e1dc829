"""What the doctor finds about the running processes, as the store or the API tells it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infrastructure.cli.client import ApiClient
from infrastructure.cli.errors import CliError
from infrastructure.cli.findings import Area, Finding
from infrastructure.cli.output import pick, shown

FLEET = Area("instances")
WORK = Area("work")
API = Area("api")
CLOCK_WRONG_S = 1.0
MOST_PARKED = 20
MOST_NAMED = 5

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Fleet:
    """The processes, and what waits for a person. ``parked_schedules`` is id -> reason."""

    instances: list[Row] = field(default_factory=list)
    parked_runs: int = 0
    parked_schedules: dict[str, str] = field(default_factory=dict)
    parked_events: list[str] = field(default_factory=list)


def look_at_api(client: ApiClient) -> tuple[list[Finding], Fleet | None]:
    """Return how the API answers, and what it tells of the fleet; None where it does not answer."""
    try:
        health = client.health()
    except CliError as error:
        mend = "Start it with 'roundsman run', or say with --url or ROUNDSMAN_URL where it is."
        return [API.wrong("answer", str(error), mend)], None
    findings = [API.ok("answer", f"{client.shown} answers")]
    findings += _components(pick(health.body, "components"))
    try:
        return findings, _fleet(client)
    except CliError as error:
        return [*findings, API.wrong("access", str(error), "Set ROUNDSMAN_API_KEY to a key that may read.")], None


def judge(fleet: Fleet, this_version: str) -> Iterator[Finding]:
    """Yield what is wrong with the processes and with what waits."""
    yield from _instances([row for row in fleet.instances if pick(row, "status") != "gone"], this_version)
    if fleet.parked_runs or fleet.parked_schedules:
        named = [f"{name} ({why})" for name, why in list(fleet.parked_schedules.items())[:MOST_NAMED]]
        says = f"{fleet.parked_runs} runs and {len(fleet.parked_schedules)} schedules are parked. {'; '.join(named)}"
        mend = (
            "Find out why ('roundsman schedules list --state parked', 'roundsman schedules runs ID'), mend it, and let "
            "each go on: 'roundsman schedules resume ID'."
        )
        facts = {"runs": fleet.parked_runs, "schedules": fleet.parked_schedules}
        yield WORK.wrong("parked", says.strip(), mend, **facts)
    else:
        yield WORK.ok("parked", "nothing is parked")
    if fleet.parked_events:
        says = f"Events that a subscriber could not handle are parked: {'; '.join(fleet.parked_events[:MOST_NAMED])}."
        mend = "Look into the log of the instances for the handler's error; requeue them once it is mended."
        yield WORK.wrong("events", says, mend, events=fleet.parked_events)


def _instances(rows: list[Row], this_version: str) -> Iterator[Finding]:
    executing = [row for row in rows if pick(row, "role") != "api" and pick(row, "status") == "alive"]
    if not executing:
        mend = "Start one: 'roundsman run', or 'roundsman run --role scheduler' beside an API that runs."
        yield FLEET.wrong("executing", "No running instance executes jobs: what is due waits.", mend)
    else:
        names = ", ".join(str(pick(row, "id")) for row in executing[:MOST_NAMED])
        yield FLEET.ok("executing", f"{len(executing)} execute jobs: {names}")
    versions = sorted({str(pick(row, "version")) for row in rows})
    if len(versions) > 1:
        mend = "Finish the deployment: bring all to one version. docs/upgrading.md says what mixes."
        yield FLEET.wrong("versions", f"They run different versions: {', '.join(versions)}.", mend, versions=versions)
    elif versions and versions != [this_version]:
        mend = "Install the same version here, or call the command line of that one."
        yield FLEET.wrong("versions", f"They run {versions[0]}, and this is {this_version}.", mend, versions=versions)
    for row in rows:
        yield from _instance(row)


def _instance(row: Row) -> Iterator[Finding]:
    name, host, offset = shown(pick(row, "id")), shown(pick(row, "host")), pick(row, "clock_offset_s")
    if pick(row, "status") == "silent":
        mend = f"Look at it on {host}: it is frozen, cut off from the store, or was killed a moment ago."
        yield FLEET.wrong("silent", f"{name} was not heard of since {pick(row, 'last_seen_at')}.", mend)
    if pick(row, "loop_blocked"):
        mend = "Its log has the stack: make that job async, or a plain def, which gets a thread."
        yield FLEET.wrong("blocked", f"A job of {name} blocks its event loop.", mend)
    if isinstance(offset, int | float) and abs(offset) > CLOCK_WRONG_S:
        says = f"The clock of {host} is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the store's."
        yield FLEET.wrong("clock", says, f"Synchronise {host} with NTP (chrony, systemd-timesyncd).", offset_s=offset)


def _components(components: object) -> Iterator[Finding]:
    for name, found in components.items() if isinstance(components, Mapping) else ():
        status, detail = shown(pick(found, "status")), pick(found, "detail")
        facts = pick(found, "facts") or {}
        if status == "ok":
            yield API.ok(name, "is well", **facts)
        else:
            says = f"{name} is {status}: {detail or 'it does not say why (set ROUNDSMAN_API_KEY)'}."
            yield API.wrong(name, says, "Mend what it says; 'roundsman health' shows whether it is over.", **facts)


def _fleet(client: ApiClient) -> Fleet:
    instances = client.pages("/instances", gone=False)["items"]
    parked = client.pages("/schedules", MOST_PARKED, state="parked")["items"]
    reasons = {str(pick(row, "id")): shown(pick(row, "parked.reason") or "its runs are parked") for row in parked}
    runs = client.queue().get("parked")
    return Fleet(instances, runs if isinstance(runs, int) else 0, reasons)
