"""The tick: take, plan, commit, claim. Runs in the scheduler's thread with a connection of its own."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import OutOfMemoryError

from application.runs.registry import JobRegistry
from application.runs.runner import JobRunner
from application.scheduling.compiled import CompiledSchedule, at, compile_schedule
from application.scheduling.planning import Plan, look_at, plan
from domain.errors import RoundsmanError, StoreUnavailable
from domain.runs.run import Claim
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.scripts import Retention, source
from infrastructure.runs.store import join_spec, split_spec

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 1.0
"""A tick comes at least this often: a wake-up that was lost costs no more than this."""
LOOK = 4
"""Where the next look stands among the arguments that commit.lua reads for one schedule."""
CACHE_LIMIT = 100_000
COMMIT_ARGUMENTS = 50_000
"""About 7,000 runs: more are committed in several calls, as the store serves nobody else meanwhile."""


@dataclass(frozen=True)
class Pace:
    """How a tick takes and claims. ``lease_ms`` is also how long a take hides a schedule."""

    lease_ms: int = 5_000
    batch: int = 1_000
    takeover_limit: int = 5
    default_timeout_s: float = 300.0


class Tick:
    """One pass over what is due. Called by one thread only, but for ``close``."""

    def __init__(
        self,
        store: RedisStore,
        instance_id: str,
        registry: JobRegistry,
        runner: JobRunner,
        loop: asyncio.AbstractEventLoop,
        pace: Pace,
        retention: Retention,
        may_claim: Callable[[], bool],
    ) -> None:
        self._client = store.threaded()
        self._key = store.key
        self._prefix = f"{store.prefix}:"
        self._instance = instance_id
        self._registry = registry
        self._runner = runner
        self._loop = loop
        self._pace = pace
        self._may_claim = may_claim
        self._take, self._commit, self._claim = (
            self._client.register_script(source(name, retention)) for name in ("take", "commit", "claim")
        )
        self._cache: dict[str, CompiledSchedule] = {}
        self._down = False
        self.ticked = time.monotonic()
        """When the last whole pass ended, by this machine's monotonic clock."""
        self.claims_left = False
        """Whether ready runs were left at the last claim for want of slots."""

    def __call__(self) -> float:
        """Do one pass and return how long to wait, in seconds."""
        waits = []
        steps = (self._fire, self._claim_runs)
        for step in steps:
            try:
                with store_errors():
                    waits.append(step())
            except StoreUnavailable as error:
                if not self._down:
                    log.warning("the scheduler waits for the store: %s", error)
                self._down = True
                if not isinstance(error.__cause__, OutOfMemoryError):  # a full store still lets claims through
                    return LONGEST_WAIT_S / 4
            except Exception:
                log.exception("half a pass failed; the other half goes on, and it comes again")
        if len(waits) == len(steps):
            self._passed()
        return max(min([*waits, LONGEST_WAIT_S]), 0.0)

    def _passed(self) -> None:
        if self._down:
            log.info("the store is back; the scheduler goes on")
        self._down = False
        self.ticked = time.monotonic()

    def close(self) -> None:
        """Close the connection; after the thread has ended."""
        self._client.close()

    def _fire(self) -> float:
        """Take, plan and commit; return the seconds until something is due."""
        lanes = self._registry.lanes
        now_text, next_look, taken = self._call(self._take, [self._pace.lease_ms, self._pace.batch, *lanes])
        now = int(now_text)
        if taken:
            readable = _readable(taken)
            self._load([(schedule_id, state) for schedule_id, _, state in readable])
            args: list[Any] = []
            looks = [int(next_look)] if next_look else []
            for schedule_id, text, state in readable:
                planned = self._planned(schedule_id, text, state, now)
                args.extend(planned)
                looks.extend(int(look) for look in planned[LOOK : LOOK + 1] if look)
                if len(args) > COMMIT_ARGUMENTS:
                    self._commit_plans(args)
                    args = []
            if args:
                self._commit_plans(args)
            return 0.0 if len(taken) >= self._pace.batch else (min(looks, default=now + 1000) - now) / 1000
        return (int(next_look) - now) / 1000 if next_look else LONGEST_WAIT_S

    def _commit_plans(self, args: list[Any]) -> None:
        self._call(self._commit, [self._runner.free_slots if self._may_claim() else 0, *args])

    def _load(self, taken: list[tuple[str, ScheduleState]]) -> None:
        """Compile what is not in the cache in its present generation, reading the definitions in one call."""
        wanted = [
            (schedule_id, state)
            for schedule_id, state in taken
            if (known := self._cache.get(schedule_id)) is None
            or (known.incarnation, known.generation) != (state.incarnation, state.generation)
        ]
        if not wanted:
            return
        if len(self._cache) > CACHE_LIMIT:
            self._cache.clear()
        definitions: Any = self._client.hmget(self._key("schedules"), [schedule_id for schedule_id, _ in wanted])
        for (schedule_id, state), definition in zip(wanted, definitions, strict=True):
            self._cache.pop(schedule_id, None)
            if definition is None:
                continue
            try:
                descriptor = RecurrentTaskDescriptor.model_validate_json(definition)
                self._cache[schedule_id] = compile_schedule(
                    descriptor, state, self._registry, self._pace.default_timeout_s
                )
            except (RoundsmanError, ValueError) as error:
                log.error("schedule %s is left to others: this process cannot plan it: %s", schedule_id, error)  # noqa: TRY400

    def _planned(self, schedule_id: str, text: str, state: ScheduleState, now: int) -> list[Any]:
        """Return what commit.lua reads for one schedule; nothing for one that this process cannot plan."""
        compiled = self._cache.get(schedule_id)
        if compiled is None:
            return []
        try:
            return self._plan(compiled, text, state, now)
        except Exception:
            log.exception("schedule %s cannot be planned; the others go on", schedule_id)
            return []

    def _plan(self, compiled: CompiledSchedule, text: str, state: ScheduleState, now: int) -> list[Any]:
        schedule_id = compiled.descriptor.id
        policy = compiled.descriptor.policy
        planned = plan(schedule_id, compiled.trigger, policy, state.due, now, 2 * self._pace.lease_ms)
        after, look = "", ""
        if planned.next_due is not None:
            after = state.model_copy(update={"due": planned.next_due}).dump()
            look = str(look_at(schedule_id, planned.next_due, policy))
        return [
            schedule_id,
            text,
            after,
            state.lane,
            look,
            policy.overlap_mode,
            policy.overlap_limit,
            planned.dropped,
            _dropped_event(schedule_id, state, planned),
            json.dumps({"id": schedule_id, "why": "it has no further fire"}),
            len(planned.runs),
            *self._run_arguments(compiled, planned),
        ]

    def _run_arguments(self, compiled: CompiledSchedule, planned: Plan) -> list[Any]:
        args: list[Any] = []
        for run in planned.runs:
            spec = compiled.spec(run)
            tag, rest = split_spec(spec)
            args.extend([spec.run_id, spec.reason.value, run.due, run.missed, tag, rest, compiled.data])
        return args

    def _claim_runs(self) -> float:
        """Claim as many runs as there are free slots and hand them to the event loop."""
        self.claims_left = True  # before the slots are counted: who frees one from now on wakes the next tick
        slots = self._runner.free_slots
        if not slots or not self._may_claim():
            return LONGEST_WAIT_S
        pace = self._pace
        lanes = self._registry.lanes
        now, next_look, left, rows = self._call(
            self._claim, [pace.lease_ms, min(slots, pace.batch), pace.takeover_limit, *lanes]
        )
        claims = [claim for row in rows if (claim := _claim(row)) is not None]
        if claims:
            self._runner.hold(claims)
            self._loop.call_soon_threadsafe(self._runner.start, claims)
        self.claims_left = left > 0
        if left and self._runner.free_slots:
            return 0.0
        return (int(next_look) - int(now)) / 1000 if next_look else LONGEST_WAIT_S

    def _call(self, script: Any, args: list[Any]) -> Any:
        return script(keys=[self._prefix], args=[self._instance, *args], client=self._client)


def _readable(taken: list[tuple[str, str]]) -> list[tuple[str, str, ScheduleState]]:
    """Return what was taken with its states; one that another version wrote must not stop the others."""
    found = []
    for schedule_id, text in taken:
        try:
            found.append((schedule_id, text, ScheduleState.model_validate_json(text)))
        except ValueError as error:
            log.error("schedule %s is left to others: its state cannot be read: %s", schedule_id, error)  # noqa: TRY400
    return found


def _claim(row: list[Any]) -> Claim | None:
    """Return what claim.lua says of one run; None for one that cannot be read: it lapses, and others take it over."""
    tag, rest, data, lane, attempt, retries, token = row
    try:
        spec = join_spec(tag, rest)
    except ValueError as error:
        log.error("a claimed run is left to others: {%s} cannot be read: %s", tag, error)  # noqa: TRY400
        return None
    return Claim(spec=spec, data=data, lane=lane, attempt=attempt, retries=retries, token=token)


def _dropped_event(schedule_id: str, state: ScheduleState, planned: Plan) -> str:
    if not planned.dropped:
        return ""
    since = at(state.due).isoformat().replace("+00:00", "Z")
    return json.dumps({"id": schedule_id, "why": "missed", "count": planned.dropped, "since": since})
