"""The Redis job store: schedules as JSON, changed by compare-and-set."""

import json
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any, cast

from pydantic import ValidationError

from application.scheduling.moments import at, iso
from application.scheduling.store import Change, Changed, OpenRuns, Statistics, Stored, Unreadable
from domain.runs.payload import describe
from domain.runs.run import RunStatus
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import UnreadableSchedule
from domain.scheduling.schedule import Parked, ScheduleCounts, ScheduleState
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.notes import call_of
from infrastructure.runs.records import fired_at, lines_of
from infrastructure.runs.scripts import Retention, source

CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
FIRST_PAGE, PAGE = 100, 500
"""How many schedules are read at once: few at first, as most who list want one page; more for who filters."""


class RedisJobStore:
    """The asyncio side of schedules. Implements ``application.scheduling.store.ScheduleStore``."""

    def __init__(self, store: RedisStore, instance_id: str, retention: Retention) -> None:
        self._store = store
        self._redis = store.command
        self._key = store.key
        self._prefix = f"{store.prefix}:"
        self._instance = instance_id
        self._change = store.command.register_script(source("change", retention))
        # To pause, resume or remove must be possible when the store is full: it is how it gets room again.
        self._control = store.command.register_script(source("change", retention, allow_oom=True))
        self._reindex = store.command.register_script(source("reindex", retention))

    async def now(self) -> int:
        """Return the store's time, ms."""
        return await self._store.now()

    async def change(self, change: Change) -> Changed:
        """Change one schedule and announce it, if its state is still the one that was read."""
        before, after = change.before, change.after
        args = [
            change.id,
            before.text if before else "",
            after.dump() if after else "",
            dump_definition(change.definition) if change.definition else "",
            before.lane if before else "",
            after.lane if after else "",
            "" if change.look is None else change.look,
            change.topic,
            json.dumps(change.event),
            str(change.event.get("why", "")),
            change.definition.policy.overlap_limit if change.definition else "",
            change.withdrawn,
            _withdrawn_event(change),
        ]
        with store_errors():
            verdict, state, definition, running = await self._store.acknowledged(
                self._change if change.definition else self._control,
                *call_of(self._store, self._instance, args, change.note),
            )
        if verdict == "ok":
            return Changed(done=True, running=tuple(running))
        # Who wanted to remove it asks for it anew.
        current = read(change.id, state, definition) if state and change.after else None
        return Changed(done=False, current=current, one_shot=verdict == "oneshot")

    async def confirm(self) -> None:
        """Wait for the disk, where that was chosen."""
        await self._store.confirm()

    async def get(self, schedule_id: str) -> Stored | None:
        """Return a schedule, or None."""
        found = await self.find(schedule_id)
        if isinstance(found, Unreadable):
            raise UnreadableSchedule(id=schedule_id, why=found.why)
        return found

    async def find(self, schedule_id: str) -> Stored | Unreadable | None:
        """Return a schedule, or None; its parts are read in one step."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hget(self._key("states"), schedule_id)
            pipe.hget(self._key("schedules"), schedule_id)
            pipe.hget(self._key("strays"), schedule_id)
            state, definition, mark = await pipe.execute()
        return understand(state, definition, mark) if state else None

    async def find_all(self, schedule_ids: list[str]) -> "list[Stored | Unreadable | None]":
        """Return some schedules; the parts of all are read in one step."""
        if not schedule_ids:
            return []
        with store_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(self._key("states"), schedule_ids)
            pipe.hmget(self._key("schedules"), schedule_ids)
            pipe.hmget(self._key("strays"), schedule_ids)
            texts = zip(*await pipe.execute(), strict=True)
        return [understand(state, definition, mark) if state else None for state, definition, mark in texts]

    async def statistics(self, schedule_ids: list[str]) -> list[Statistics]:
        """Return what is counted of each schedule, in the order asked."""
        if not schedule_ids:
            return []
        with store_errors():
            pipe = self._redis.pipeline(
                transaction=True
            )  # a fire is counted when it is over: it must not be seen twice
            pipe.hmget(self._key("stats"), schedule_ids)
            self._ask_open(pipe, schedule_ids)
            texts, *members = await pipe.execute()
        return [
            _statistics(json.loads(text or "{}"), ids) for text, ids in zip(texts, _open_ids(*members), strict=True)
        ]

    async def open_runs(self, job_ids: list[str]) -> list[OpenRuns]:
        """Return the executing and the parked runs of each schedule, in two round trips for all of them."""
        if not job_ids:
            return []
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            self._ask_open(pipe, job_ids)
            members = _open_ids(*await pipe.execute())
            ids = [run_id for found in members for run_id in found]
            if not ids:
                return [OpenRuns() for _ in job_ids]
            pipe.hmget(self._key("runs"), ids)
            pipe.hmget(self._key("parked"), ids)
            facts = iter(zip(*await pipe.execute(), strict=True))
        return [_open_runs((run_id, *next(facts)) for run_id in found) for found in members]

    def _ask_open(self, pipe: Any, job_ids: list[str]) -> None:
        pipe.hmget(self._key("open"), job_ids)
        for job_id in job_ids:
            pipe.smembers(self._key("active", job_id))

    async def scan(self, after: str = "") -> AsyncIterator[tuple[str, Stored | Unreadable]]:
        """Yield schedules in the order of their ids, each once, reading no more than are asked for, in pages.

        Whoever stays in the store is found, whatever is added and removed meanwhile: the index is asked for what comes
        after the last id, and not for places in a list.
        """
        await self._mend_index()
        page: list[str] = []
        size = FIRST_PAGE
        while True:
            last, read, size = page[-1] if page else after, size, PAGE
            with store_errors():
                following = self._redis.zrangebylex(self._key("ids"), f"({last}" if last else "-", "+", 0, read)
                page = await cast(Awaitable[list[str]], following)
                if not page:
                    return
                pipe = self._redis.pipeline(transaction=True)
                pipe.hmget(self._key("states"), page)
                pipe.hmget(self._key("schedules"), page)
                pipe.hmget(self._key("strays"), page)
                texts = zip(page, *await pipe.execute(), strict=True)
            for schedule_id, state, definition, mark in texts:
                if state is not None:
                    yield schedule_id, understand(state, definition, mark)

    async def _mend_index(self) -> None:
        """Make the index of ids anew where it does not hold as many as there are: a program without it wrote here."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.zcard(self._key("ids"))
            pipe.hlen(self._key("states"))
            indexed, there = await pipe.execute()
            if indexed != there:
                await self._reindex(keys=[self._prefix], args=[self._instance])


def _withdrawn_event(change: Change) -> str:
    if not change.withdrawn or not isinstance(change.before, Stored):
        return ""
    after = change.after
    why = "stopped" if after is None else "paused" if after.paused else "parked" if after.parked else "changed"
    return json.dumps({"id": change.id, "why": why, "count": change.withdrawn, "since": iso(change.before.state.due)})


def dump_definition(definition: RecurrentTaskDescriptor) -> str:
    """Return the canonical JSON of a definition: equal definitions have equal texts."""
    return CANONICAL.encode(definition.model_dump(mode="json", exclude_none=True))


def read(schedule_id: str, state: str, definition: str | None) -> Stored:
    """Return what the texts say; raise ``UnreadableSchedule`` when this version does not understand them."""
    found = understand(state, definition)
    if isinstance(found, Unreadable):
        raise UnreadableSchedule(id=schedule_id, why=found.why)
    return found


def understand(state: str, definition: str | None, mark: str | None = None) -> Stored | Unreadable:
    """Return what the texts say, or what can be made out of texts that another version of the program wrote."""
    try:
        known = ScheduleState.model_validate_json(state)
        return Stored(state, known, RecurrentTaskDescriptor.model_validate_json(definition or ""), _waits(known, mark))
    except ValidationError as error:
        lane = _made_out(state, "lane")
        name = _made_out(definition or "", "name") or lane.rpartition("@")[0] or "?"
        return Unreadable(state, name, lane, describe(error))


def _made_out(text: str, field: str) -> str:
    """Return a text of a JSON object that may be anything; '' when there is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    value = found.get(field) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def _waits(state: ScheduleState, mark: str | None) -> Parked | None:
    """Return why a schedule waits, if sweep.lua's mark is about the fire that is due: it leaves old marks behind."""
    if mark is None:
        return None
    found = json.loads(mark)
    if found["lane"] != state.lane or found["at"] < state.due:
        return None
    return Parked(at=at(found["at"]), reason=found["reason"])


def _open_runs(runs: Iterable[tuple[str, str | None, str | None]]) -> OpenRuns:
    found = OpenRuns()
    for run_id, text, parked in runs:
        if parked is not None:
            found.parked[run_id] = parked
        elif text is not None and lines_of(text)["status"] == RunStatus.RUNNING:
            found.running.append(run_id)
    return found


def _open_ids(firsts: list[str | None], *others: set[str]) -> list[list[str]]:
    """Return the runs of each schedule that are not over."""
    return [sorted(more | {first} if first else more) for first, more in zip(firsts, others, strict=True)]


def _statistics(stats: dict[str, Any], open_ids: list[str]) -> Statistics:
    """Return what is counted; a fire is counted by the store when its run is over, so the open ones are added here."""
    dues = [due for run_id in open_ids if (due := fired_at(run_id, stats.get("incarnation"))) is not None]
    stats["fired"] = stats.get("fired", 0) + len(dues)
    return Statistics(
        counts=ScheduleCounts.model_validate(stats),
        last_fire=max([*dues, *([stats["last_fire"]] if "last_fire" in stats else [])], default=None),
        last_outcome=stats.get("last_outcome"),
        last_error=stats.get("last_error"),
        last_ended=stats.get("last_ended"),
    )
