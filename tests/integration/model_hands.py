"""The store under test as its model sees it: each step of the protocol by hand, and one look at everything.

All that knows the scripts' arguments and the layout of keys is here and in ``hands.py``.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from application.scheduling.store import Change, Changed, Statistics, Stored
from domain.runs.outcome import Outcome
from domain.runs.run import Claim, RunReason, RunSpec
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.presence import Presence
from infrastructure.runs.records import join_spec, lines_of, payload_of, split_spec
from infrastructure.runs.scripts import Retention, source
from infrastructure.runs.settling import settle_arguments
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore, _statistics

T = TypeVar("T")

JOBS = ("s", "t", "o", "p")
"""Two schedules and two one-shots; what one-shots are called, schedules may be called too."""
LANES = ("Note@1", "Note@2", "Once@1")
FAR = 99_999_999_999_999
LEASE_MS = 60_000
RETENTION = Retention(runs_kept_per_schedule=3)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def spec(run_id: str, job: str, reason: RunReason, incarnation: str = "", generation: int = 0) -> RunSpec:
    name = "Once" if reason is RunReason.ONE_SHOT else "Note"
    return RunSpec(
        run_id=run_id,
        job_id=job,
        name=name,
        reason=reason,
        fire_time=AT,
        timeout_s=9,
        incarnation=incarnation,
        generation=generation,
    )


@dataclass(frozen=True)
class Planned:
    """A run that a commit is to make."""

    run_id: str
    reason: RunReason
    order: int
    missed: int = 0


@dataclass(frozen=True)
class TakenPlan:
    """What a commit makes of one schedule that was taken; ``after`` is None when it ends."""

    schedule: RecurrentTaskDescriptor
    text: str
    after: ScheduleState | None
    planned: Sequence[Planned]
    dropped: int


@dataclass
class Seen:
    """What one look at the store found; ``places`` tells where each run is, ``scores`` its order where it has one."""

    states: dict[str, str]
    looks: dict[str, str]
    runs: dict[str, dict[str, str]]
    places: dict[str, str]
    scores: dict[str, float]
    backlog: dict[str, list[str]]
    active: dict[str, set[str]]
    history: dict[str, list[tuple[str, str, int]]]
    statistics: dict[str, Statistics]
    events: list[dict[str, Any]] = field(default_factory=list)


class Shared:
    """One namespace, one event loop, and the synchronous connection that all hands of an example share."""

    def __init__(self, url: str, namespace: str, runner: asyncio.Runner) -> None:
        self.store = RedisStore(url, namespace)
        self.client = self.store.threaded()
        self.runner = runner
        self.prefix = f"{self.store.prefix}:"
        self._last = {"job": "-", "schedule": "-"}

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        keys = self.all_keys()
        if keys:
            self.client.unlink(*(self.prefix + key for key in keys))
        self.client.close()
        self.wait(self.store.close())

    def all_keys(self) -> set[str]:
        return {key.removeprefix(self.prefix) for key in self.client.scan_iter(match=f"{self.prefix}*", count=10_000)}

    def comes_due(self, schedule_id: str, lane: str) -> None:
        self.client.zadd(f"{self.prefix}due:{lane}", {schedule_id: 1}, xx=True)

    def ripen(self) -> None:
        """Let the time of all that waits in ``later`` have come."""
        for run_id in self.client.zrange(f"{self.prefix}later", 0, -1):
            self.client.zadd(f"{self.prefix}later", {run_id: 1})

    def lapse(self, run_ids: Sequence[tuple[str, str]]) -> None:
        """Let leases (run, lane) be over, beside a store that was there all the time."""
        for run_id, lane in run_ids:
            self.client.zadd(f"{self.prefix}leases:{lane}", {run_id: 1}, xx=True)
        self.client.hset(f"{self.prefix}meta", "no_takeover_until", 0)

    def silence(self) -> None:
        """Let the last beat of anybody be long ago."""
        self.client.hset(f"{self.prefix}meta", "last_beat", 1)

    def look(self, run_ids: Sequence[str]) -> Seen:
        """Read everything that the model knows of, in one round trip."""
        pipe, prefix = self.client.pipeline(transaction=False), self.prefix
        pipe.time()
        pipe.hgetall(f"{prefix}states")
        pipe.hgetall(f"{prefix}stats")
        pipe.hgetall(f"{prefix}parked")
        pipe.zrange(f"{prefix}later", 0, -1)
        for lane in LANES:
            for kind in ("due", "ready", "leases"):
                pipe.zrange(f"{prefix}{kind}:{lane}", 0, -1, withscores=True)
        for job in JOBS:
            pipe.lrange(f"{prefix}backlog:{job}", 0, -1)
            pipe.smembers(f"{prefix}active:{job}")
            pipe.hget(f"{prefix}open", job)
            pipe.lrange(f"{prefix}history:{job}", 0, RETENTION.runs_kept_per_schedule - 1)
        for family, last in self._last.items():
            pipe.xrange(f"{prefix}ev:{family}", last if last == "-" else f"({last}")
        for run_id in run_ids:
            pipe.hget(f"{prefix}runs", run_id)
        pipe.hkeys(f"{prefix}runs")
        pipe.hkeys(f"{prefix}payloads")
        return self._seen(iter(pipe.execute()), run_ids)

    def _seen(self, replies: Any, run_ids: Sequence[str]) -> Seen:
        seconds, micros = next(replies)
        now = seconds * 1000 + micros // 1000
        states, stats, parked, later = (next(replies) for _ in range(4))
        seen = Seen(states, {}, {}, {}, {}, {}, {}, {}, {})
        self._place(seen, "parked", parked)
        self._place(seen, "later", later)
        for _ in LANES:
            for schedule_id, score in next(replies):
                seen.looks[schedule_id] = "now" if score <= now else "far"
            for place in ("ready", "leased"):
                found = dict(next(replies))
                self._place(seen, place, found)
                seen.scores.update(found)
        for job in JOBS:
            seen.backlog[job], seen.active[job] = next(replies), set(next(replies))
            if (first := next(replies)) is not None:
                assert first not in seen.active[job]
                seen.active[job].add(first)
            self._place(seen, "held", seen.backlog[job])
            seen.history[job] = [_settled(text) for text in next(replies)]
            if job in stats:
                seen.statistics[job] = _statistics(json.loads(stats[job]), sorted(seen.active[job]))
        for family in self._last:
            seen.events.extend(self._events(family, next(replies)))
        seen.runs = {run_id: _fields(text) for run_id in run_ids if (text := next(replies))}
        assert set(next(replies)) == set(next(replies)) == seen.runs.keys(), "runs, payloads and what is known differ"
        return seen

    def _place(self, seen: Seen, place: str, run_ids: Any) -> None:
        for run_id in run_ids:
            assert run_id not in seen.places, f"{run_id} is {seen.places[run_id]} and {place}"
            seen.places[run_id] = place

    def _events(self, family: str, entries: list[Any]) -> list[dict[str, Any]]:
        if entries:
            self._last[family] = entries[-1][0]
        return [{**json.loads(fields["d"]), "topic": fields["t"]} for _, fields in entries]


def _fields(text: str) -> dict[str, str]:
    """Return the lines of a run, and what is noted of it, of what is there."""
    lines = lines_of(text)
    noted = {name: str(value) for name, value in json.loads(lines.pop("more") or "{}").items()}
    return {name: value for name, value in (lines | noted).items() if value}


def _settled(text: str) -> tuple[str, str, int]:
    entry = json.loads(text)
    return entry["run_id"], entry["status"], entry["attempt"]


def _plan_head(plan: TakenPlan) -> list[Any]:
    job, policy = plan.schedule.id, plan.schedule.policy
    after, look = (plan.after.dump(), FAR) if plan.after else ("", "")
    event = json.dumps({"id": job, "why": "missed", "count": plan.dropped}) if plan.dropped else ""
    lane = ScheduleState.model_validate_json(plan.text).lane
    dropped = f"{plan.dropped} {event}" if plan.dropped else ""
    rule = f"{policy.overlap_mode} {policy.overlap_limit} {MOST_CAUGHT_UP}"
    return [job, plan.text, after, lane, look, rule, dropped, len(plan.planned)]


MOST_CAUGHT_UP = 999
"""More than the model ever lets wait."""


class ModelHand:
    """One instance whose steps are taken one by one; it knows the jobs of ``lanes``."""

    def __init__(self, shared: Shared, instance_id: str, lanes: Sequence[str]) -> None:
        self.id = instance_id
        self.lanes = lanes
        self.shared = shared
        self.batch = 0
        self.schedules = RedisJobStore(shared.store, instance_id, RETENTION)
        self.runs = RedisRunStore(shared.store, instance_id, RETENTION)

    def _call(self, script: str, *args: Any) -> Any:
        loaded = self.shared.client.register_script(source(script, RETENTION))
        return loaded(keys=[self.shared.prefix], args=[self.id, *args])

    def take(self, hide_ms: int, limit: int) -> list[tuple[str, str]]:
        return [(found[0], found[1]) for found in self._call("take", hide_ms, limit, *self.lanes)[2]]

    def commit(self, plans: Sequence[TakenPlan], free: int) -> tuple[int, list[Claim]]:
        """Commit plans in one call; return how many were refused, and the runs that are the caller's at once."""
        args, made = [], []
        for plan in plans:
            args.extend(_plan_head(plan))
            state = ScheduleState.model_validate_json(plan.text)
            for run in plan.planned:
                wanted = spec(run.run_id, plan.schedule.id, run.reason, state.incarnation, state.generation)
                made.append((wanted, state.lane))
                tag, rest = split_spec(wanted)
                about = f"{run.reason.value} {run.order} {run.missed}"
                args.extend([run.run_id, about, tag, payload_of(rest, "{}")])
        _, stale, tokens = self._call("commit", free, LEASE_MS, *args)
        owned = [(wanted, lane, token) for (wanted, lane), token in zip(made, tokens, strict=True) if token]
        return int(stale), [
            Claim(wanted, "{}", lane, attempt=1, retries=0, token=token) for wanted, lane, token in owned
        ]

    def claim(self, limit: int, takeovers: int) -> tuple[int, list[Claim]]:
        """Return the store's time and what was claimed."""
        now, _, _, rows, *_ = self._call("claim", LEASE_MS, limit, takeovers, "", 0, "", *self.lanes)
        return int(now), [
            Claim(*join_spec(tag, payload), lane=lane, attempt=attempt, retries=retries, token=token)
            for tag, payload, lane, attempt, retries, token in rows
        ]

    def settle(self, number: int, batch: Sequence[tuple[Claim, Outcome]]) -> list[str]:
        args = [part for claim, outcome in batch for part in settle_arguments(claim, outcome)]
        return [str(verdict) for verdict in self._call("settle", number, *args)[:-1]]

    def call_too_late(self) -> None:
        """Ask for everything with calls whose caller has given them up long ago: none does anything."""
        given_up = f"{LEASE_MS}@1"
        assert self._call("take", given_up, 10, *self.lanes)[2] == []
        assert self._call("claim", given_up, 10, 9, "", 0, "", *self.lanes)[3] == []

    def renew(self, claims: Sequence[Claim]) -> list[str]:
        args = [part for claim in claims for part in (claim.spec.run_id, claim.lane, claim.token)]
        facts = {"host": "h", "pid": 1, "role": "all", "version": "1", "claimed": 0, "lanes": LANES}
        words = Presence(self.id, LEASE_MS, lambda: facts).words()[1:]
        return list(self._call("renew", *words, *args)[3])

    def get(self, schedule_id: str) -> Stored | None:
        return self.shared.wait(self.schedules.get(schedule_id))

    def now(self) -> int:
        return self.shared.wait(self.schedules.now())

    def change(self, change: Change) -> Changed:
        return self.shared.wait(self.schedules.change(change))
