"""A job store played by hand: jobs are enqueued, claimed and settled one step after the other, on a real server."""

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from application.jobs.publishing import UNNAMED, Accepted, JobPattern, NewJob
from domain.jobs.queue import QueueRules, Queues
from domain.runs.outcome import Outcome
from domain.runs.run import Claim, RunReason, RunSpec
from infrastructure.jobs.publisher import InProcessPublisher
from infrastructure.jobs.store import RedisJobs
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.records import join_spec
from infrastructure.runs.scripts import Retention, source
from infrastructure.runs.settling import settle_arguments
from infrastructure.runs.store import RedisRunStore

START = "2026-11-22T08:00:00Z"


class JobHands:
    """One instance that knows the jobs ``Import`` and ``Mail``."""

    def __init__(
        self, store: RedisStore, name: str = "one", rules: dict[str, Any] | None = None, kept: Retention | None = None
    ) -> None:
        self.store = store
        self.name = name
        self.rules = rules or {"queues": {}, "jobs": {}}
        kept = kept or Retention()
        self.runs = RedisRunStore(store, name, kept)
        self.jobs = RedisJobs(store, self.runs)
        self.publisher = InProcessPublisher(store, name, kept)
        self._scripts = {
            script: store.command.register_script(source(script, kept))
            for script in ("claim", "settle", "sweep", "exported")
        }
        self._numbers = count()
        self._batches = count(1)
        self.blocked = self.left = 0
        self.next_look = ""

    def job(self, job_id: str = "", task: str = "Import", queue: str = "free", **more: Any) -> NewJob:
        job_id = job_id or f"job-{self.name}-{next(self._numbers):04d}"
        facts = {name: more.pop(name) for name in ("priority", "user_id", "team_id", "correlation_id") if name in more}
        wish = {name: more.pop(name) for name in ("key", "digest") if name in more}
        spec = RunSpec(
            run_id=UNNAMED,
            job_id=UNNAMED,
            name=task,
            reason=RunReason.ONE_SHOT,
            fire_time=START,
            timeout_s=60,
            queue=queue,
            **facts,
        )
        ahead = Queues().ahead_ms(facts.get("priority", 0))
        return NewJob(job_id, JobPattern(spec, ahead_ms=ahead, **more), '{"customer":1}', **wish)

    async def enqueue(self, *jobs: NewJob, most_waiting: dict[str, int] | None = None) -> list[Accepted]:
        answers = await self.publisher.publish(jobs, most_waiting or {}, None)
        return [answer for answer in answers if isinstance(answer, Accepted)]

    async def put(self, number: int, **facts: Any) -> list[str]:
        """Enqueue so many like jobs; return their ids."""
        accepted = await self.enqueue(*[self.job(**facts) for _ in range(number)])
        assert {one.verdict for one in accepted} == {"created"}
        return [one.id for one in accepted]

    async def claim(self, limit: int = 10, lanes: Sequence[str] = ("Import@1", "Mail@1")) -> list[Claim]:
        reply = await self._call("claim", 60_000, limit, 5, json.dumps(self.rules), 0, "", *lanes)
        _, self.next_look, self.left, rows, _, self.blocked = reply
        claims = []
        for tag, payload, lane, attempt, retries, token in rows:
            spec, data = join_spec(tag, payload)
            claims.append(Claim(spec, data, lane, attempt, retries, token))
        return claims

    async def claimed(self, limit: int = 10) -> list[str]:
        return [claim.spec.run_id for claim in await self.claim(limit)]

    async def settle(self, claim: Claim, outcome: Outcome) -> str:
        return str((await self._call("settle", next(self._batches), *settle_arguments(claim, outcome)))[0])

    async def sweep(self) -> None:
        await self._call("sweep", 1_000, "1")

    async def exported(self, *pairs: str | int) -> int:
        return int(await self._call("exported", *pairs))

    async def status(self, job_id: str) -> str:
        run = await self.runs.get(job_id)
        return "" if run is None else run.status.value

    async def _call(self, script: str, *args: Any) -> Any:
        return await self._scripts[script](keys=[f"{self.store.prefix}:"], args=[self.name, *args])


def rules(*, jobs: dict[str, Any] | None = None, **queues: QueueRules) -> dict[str, Any]:
    """Return rules as the program would write them."""
    return {
        "queues": {name: {"weight": rule.weight, **rule.as_rule()} for name, rule in queues.items()},
        "jobs": jobs or {},
    }
