"""What the doctor finds at the Redis behind a URL. Everything here reads; nothing is written."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, cast

from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTaskScheduler
from domain.errors import RoundsmanError
from infrastructure.cli.doctor_fleet import Fleet
from infrastructure.cli.findings import Area, Finding, Level
from infrastructure.events.bus import RedisEventBus
from infrastructure.key_types import KEY_TYPES
from infrastructure.redis import server_check
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.settings import StoreSettings
from infrastructure.redis.strangers import look_at_names
from infrastructure.runs.instances import RedisInstances
from infrastructure.runs.layout import LAYOUT
from infrastructure.runs.presence import ClockOffset, Stopwatch
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore

STORE = Area("store")
PINGS = 15
SLOW_S = 0.02
"""A fire takes several round trips; beyond this a busy scheduler falls behind."""
CLOCK_WRONG_S = 1.0
FULL = 0.9
MOST_INSTANCES = 500
MOST_PARKED = 20
ME = "doctor"

PERSISTENCE = (
    "Set appendonly yes in its configuration: without an append-only file its restart loses what was acknowledged."
)


async def look_at_store(settings: StoreSettings) -> tuple[list[Finding], Fleet | None]:
    """Return the findings, and what the store tells of the fleet; None where it cannot be asked."""
    store: RedisStore | None = None
    try:
        store = RedisStore(settings.redis_url.get_secret_value(), settings.namespace, access=settings.access)
        await store.open()
        findings = [finding async for finding in _findings(store, settings)]
        if any(finding.name == "layout" and finding.level is Level.WRONG for finding in findings):
            return findings, None  # what another version wrote is not for this one to read
        try:
            return findings, await _fleet(store)
        except (ValueError, KeyError, TypeError) as error:
            says = f"What the instances wrote cannot be read: {type(error).__name__}."
            return [*findings, STORE.wrong("content", says, "Look at it with the newest version that runs here.")], None
    except RoundsmanError as error:
        mend = "Mend what it says; 'docs/how-to/connect-to-redis.md' has an example for each kind of Redis."
        return [STORE.wrong("connection", str(error), mend)], None
    finally:
        if store is not None:
            await store.close()


async def _findings(store: RedisStore, settings: StoreSettings) -> AsyncIterator[Finding]:
    with store_errors():
        info = await store.command.info()
    yield STORE.ok("server", f"{server_check.server_name(info)} at {store.address}, with all rights that are needed")
    for finding in (*persistence(info, await store.saves(info), settings.durability), *memory(info), connections(info)):
        yield finding
    yield await _latency(store)
    yield await _clock(store)
    yield await _layout(store)
    for strange in await look_at_names(store, KEY_TYPES):
        yield STORE.wrong("keys", strange, "Remove that key, and give each program a store.namespace of its own.")


def persistence(info: server_check.Info, saves: str | None, durability: str) -> Iterator[Finding]:
    """Yield whether what is in the store outlives it."""
    facts = {"append_only_file": bool(info.get("aof_enabled", 0)), "durability": durability}
    nothing, little = server_check.keeps_nothing(info, saves), server_check.keeps_little(info, saves)
    if nothing or little:
        yield STORE.wrong(
            "persistence", f"{(nothing or little).partition(': set')[0].capitalize()}.", PERSISTENCE, **facts
        )
    else:
        yield STORE.ok("persistence", "it has an append-only file", **facts)
    if why := server_check.cannot_write(info):
        yield STORE.wrong("disk of the store", f"{why.capitalize()}", "Make room on its disk, or give it a larger one.")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield STORE.wrong(
            "snapshots", "Its last snapshot failed.", "Look into its log: the disk may be full, or fork fail."
        )
    if durability == "disk" and not info.get("aof_enabled", 0):
        mend = 'Set appendonly yes there, or store.durability = "memory".'
        yield STORE.wrong("durability", 'store.durability is "disk", and it has no append-only file.', mend)


def memory(info: server_check.Info) -> Iterator[Finding]:
    """Yield whether it may throw data away, and how much room there is."""
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = str(info.get("maxmemory_policy", "?"))
    facts = {"maxmemory_bytes": limit, "used_bytes": used, "policy": policy}
    if server_check.may_evict(info):
        says = f"It may evict schedules when memory is short: maxmemory-policy is {policy}."
        yield STORE.wrong("eviction", says, "Set maxmemory-policy noeviction.", **facts)
    elif limit:
        yield STORE.ok("eviction", f"it evicts nothing (maxmemory-policy {policy})", **facts)
    else:
        says = f"it has no maxmemory, so that it can grow until the machine has no memory left ({policy})"
        yield STORE.note("eviction", says, **facts)
    if limit and used > FULL * limit:
        mend = "Raise maxmemory, or lower what the settings keep: when it is full it refuses new work."
        yield STORE.wrong("memory", f"{used / limit:.0%} of its memory is used.", mend, **facts)
    else:
        yield STORE.ok(
            "memory", f"{used / 1024**2:.0f} MiB used" + (f" of {limit / 1024**2:.0f}" if limit else ""), **facts
        )


def connections(info: server_check.Info) -> Finding:
    """Return whether it takes more connections."""
    used, limit = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    if limit and used > FULL * limit:
        says = f"{used} of its {limit} connections are taken."
        return STORE.wrong("connections", says, "Raise maxclients; a process of this program uses some 20.", used=used)
    return STORE.ok("connections", f"{used} connections" + (f" of {limit}" if limit else ""), used=used, limit=limit)


async def _latency(store: RedisStore) -> Finding:
    took = []
    with store_errors():
        for _ in range(PINGS):
            began = time.perf_counter()
            await store.command.ping()
            took.append(time.perf_counter() - began)
    median, worst = statistics.median(took), max(took)
    facts = {"median_s": round(median, 5), "worst_s": round(worst, 5)}
    says = f"it answers in {median * 1000:.1f} ms, at worst {worst * 1000:.1f} ms"
    if median > SLOW_S:
        return STORE.wrong(
            "latency", f"{says.capitalize()}, which is slow.", "Bring program and store closer together.", **facts
        )
    return STORE.ok("latency", says, **facts)


async def _clock(store: RedisStore) -> Finding:
    offset = ClockOffset()
    for _ in range(5):
        watch = Stopwatch()
        with store_errors():
            now = await store.command.time()
        took_s, ended = watch.read()
        offset.note(took_s, ended, now)
    seconds = offset.seconds or 0.0
    facts = {"offset_s": round(seconds, 4)}
    if abs(seconds) > CLOCK_WRONG_S:
        says = f"This machine's clock is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} the store's."
        return STORE.wrong("clock", says, "Synchronise both with NTP (chrony, systemd-timesyncd).", **facts)
    return STORE.ok("clock", f"this machine's clock is {seconds * 1000:+.0f} ms off the store's", **facts)


async def _layout(store: RedisStore) -> Finding:
    """Compare the layout without writing one, as a start would."""
    with store_errors():
        found = await cast(Awaitable[str | None], store.command.hget(store.key("meta"), "layout"))
    if found is None:
        return STORE.note("layout", f"nothing of this program is there yet under {store.prefix}:*")
    if found != str(LAYOUT):
        says = f"The keys {store.prefix}:* have layout {found}, and this program knows layout {LAYOUT}."
        mend = "Start the version that wrote them, or set store.namespace to another name; see docs/upgrading.md."
        return STORE.wrong("layout", says, mend, layout=found)
    return STORE.ok("layout", f"layout {found}, as this program's", layout=found)


async def _fleet(store: RedisStore) -> Fleet:
    retention = Retention()
    runs, schedules = RedisRunStore(store, ME, retention), RedisJobStore(store, ME, retention)
    scheduler = BackgroundTaskScheduler(JobRegistry([]), schedules, runs)
    stats, page = await asyncio.gather(
        runs.queue_stats([]), RedisInstances(store).page(gone=False, limit=MOST_INSTANCES)
    )
    waiting = await scheduler.list_tasks(status="parked", limit=MOST_PARKED)
    bus = RedisEventBus(store.command, store.blocking, store.key, ME)
    events = await bus.parked(limit=MOST_PARKED)
    return Fleet(
        instances=[instance.model_dump(mode="json") for instance in page.items],
        parked_runs=stats.parked,
        parked_schedules=_parked(waiting.items),
        parked_events=[f"{event.id} (group {event.group}: {event.reason})" for event in events],
    )


def _parked(schedules: Any) -> dict[str, str]:
    return {info.id: info.parked.reason if info.parked else "its runs are parked" for info in schedules}
