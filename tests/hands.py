"""The protocol's steps by hand: each is one call to the store, taken when the test wants it."""

import json
from collections.abc import Sequence
from typing import Any

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Instance
from domain.runs.outcome import Outcome
from domain.runs.run import Claim, RunStatus
from infrastructure.runs.presence import Presence
from infrastructure.runs.records import join_spec, lines_of, payload_of
from infrastructure.runs.scripts import Retention, source
from infrastructure.runs.settling import settle_arguments

LANES = ["Note@1", "Once@1"]
FAR = "99999999999999"


class Hands:
    """One instance whose steps the test takes one by one."""

    def __init__(self, instance: Instance) -> None:
        self.id = instance.id
        self.client = instance.store.threaded()
        self.prefix = f"{instance.store.prefix}:"
        self.instance = instance
        self.batch = 0

    def call(self, script: str, *args: Any) -> Any:
        return self.client.register_script(source(script, Retention()))(keys=[self.prefix], args=[self.id, *args])

    def claim(self, limit: int = 10, lease_ms: int = 60_000, takeovers: int = 5) -> list[Claim]:
        rows = self.call("claim", lease_ms, limit, takeovers, "", 0, "", *LANES)[3]
        return [
            Claim(*join_spec(tag, payload), lane=lane, attempt=attempt, retries=retries, token=token)
            for tag, payload, lane, attempt, retries, token in rows
        ]

    def settle(self, claim: Claim, outcome: Outcome, *, again: bool = False) -> str:
        self.batch += 0 if again else 1
        return str(self.call("settle", self.batch, *settle_arguments(claim, outcome))[0])

    def renew(self, *claims: Claim, lease_ms: int = 60_000) -> list[str]:
        args = [part for claim in claims for part in (claim.spec.run_id, claim.lane, claim.token)]
        return list(self.call("renew", *self.words(lease_ms), *args)[3])

    def announce(self, lease_ms: int = 60_000, lanes: Sequence[str] = LANES) -> str:
        return str(self.call("announce", *self.words(lease_ms, lanes))[2][0])

    def words(self, lease_ms: int, lanes: Sequence[str] = LANES) -> list[Any]:
        facts = {"host": "h", "pid": 1, "role": "all", "version": "1", "claimed": 0, "lanes": lanes}
        return Presence(self.id, lease_ms, lambda: facts).words()[1:]

    def take(self, hide_ms: int = 60_000) -> list[Any]:
        return list(self.call("take", hide_ms, 100, *LANES)[2])

    def commit(self, schedule_id: str, state: str, next_state: str = "x", runs: int = 0) -> list[int]:
        plan = planned(schedule_id, state, next_state)
        return list(self.call("commit", 0, 60_000, *plan[:-1], runs)[:2])

    def fire(self, run_id: str, overlap: str = "skip", limit: int = 1, missed: int = 0) -> None:
        """Commit one fire of the schedule ``s``, whatever its rhythm says."""
        state = self.client.hget(f"{self.prefix}states", "s")
        fire = planned_run(run_id, "s", missed=missed)
        self.call("commit", 0, 60_000, *planned("s", state, state, fire, rule=f"{overlap} {limit} 999"))

    def rewrite(self, run_id: str, **lines: str) -> None:
        """Change lines of a run in the store, as nobody may."""
        known = lines_of(self.client.hget(f"{self.prefix}runs", run_id) or "")
        assert known.keys() > lines.keys()
        self.client.hset(f"{self.prefix}runs", run_id, "\n".join((known | lines).values()))

    def lapse(self, lane: str = "Once@1") -> None:
        """Let all leases of a lane be over, as if their owners had died long ago beside a living store."""
        for run_id in self.client.zrange(f"{self.prefix}leases:{lane}", 0, -1):
            self.client.zadd(f"{self.prefix}leases:{lane}", {run_id: 1})
        self.client.hset(f"{self.prefix}meta", "no_takeover_until", 0)


def planned_run(run_id: str, job_id: str, reason: str = "fire", order: int = 5, missed: int = 0) -> list[str]:
    """Return the arguments of commit.lua for one run of the job Note."""
    names = {"run_id": run_id, "job_id": job_id, "name": "Note", "reason": reason, "fire_time": "2026-01-01T00:00:00Z"}
    return [run_id, f"{reason} {order} {missed}", json.dumps(names)[1:-1], payload_of('"timeout_s":9', "{}")]


def planned(
    schedule_id: str, state: str, next_state: str, *runs: list[str], look: str = FAR, rule: str = "skip 1 999"
) -> list[Any]:
    """Return the arguments of commit.lua for one schedule in the lane Note@1."""
    if not rule:  # as a batch says what most schedules have: one fire, on time or late
        ((run_id, why, tag, payload),) = runs
        on_time = why.endswith(" 0")
        how = ("fire", run_id, why.split()[1]) if on_time else ("late", run_id, why)
        return [schedule_id, state, next_state, "Note@1", look, *how, tag, payload]
    head = [schedule_id, state, next_state, "Note@1", look, rule, "", len(runs)]
    return [*head, *(part for run in runs for part in run)]


async def one_shot(hand: Hands, task_id: str = "o", **options: Any) -> None:
    await hand.instance.bus.schedule_task(ScheduledTaskDescriptor(id=task_id, name="Once", **options))


async def schedule(hand: Hands, task_id: str = "s", interval: float = 0.01) -> None:
    await hand.instance.bus.schedule_task(RecurrentTaskDescriptor(id=task_id, name="Note", interval=interval))


async def status(hand: Hands, run_id: str) -> RunStatus | None:
    run = await hand.instance.runs.get(run_id)
    return run.status if run else None
