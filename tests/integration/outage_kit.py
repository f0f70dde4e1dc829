"""Two instances at work through a proxy on a server of their own, and what must be true whatever happens to it."""

import asyncio
from collections import Counter
from contextlib import suppress

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from domain.errors import RoundsmanError
from external_server import ExternalServer
from fault_proxy import FaultProxy
from support import wait_until

SCHEDULES = 6
PERIOD_S = 0.1


class AtWork:
    """Schedules that fire all the time, a body that goes on all the time, and somebody who asks for more."""

    def __init__(self, server: ExternalServer, proxy: FaultProxy, cluster: Cluster) -> None:
        self.server = server
        self.proxy = proxy
        self.cluster = cluster
        self.said_yes: set[str] = set()
        self.refusals: Counter[str] = Counter()
        self._asking: asyncio.Task[None] | None = None

    @property
    def one(self) -> Instance:
        return self.cluster.instances[0]

    @property
    def ledger(self) -> list[tuple[str, int]]:
        return [(entry.run_id, entry.attempt) for entry in self.cluster.ledger.entries]

    async def begin(self, lease_ms: int = 2_000) -> "AtWork":
        for _ in range(2):
            await self.cluster.start(lease_ms=lease_ms)
        for number in range(SCHEDULES):
            descriptor = RecurrentTaskDescriptor(id=f"s{number}", name="Note", interval=PERIOD_S)
            await self.one.bus.schedule_task(descriptor)
        await self.one.bus.schedule_task(ScheduledTaskDescriptor(id="long", name="Once", data={"hold": True}))
        await self.goes_on()
        self._asking = asyncio.create_task(self._ask_for_more())
        return self

    async def _ask_for_more(self) -> None:
        """Submit one one-shot after the other; every refusal must be one that a caller can understand."""
        number = 0
        while True:
            number += 1
            await asyncio.sleep(0.02)
            try:
                await self.one.bus.schedule_task(ScheduledTaskDescriptor(id=f"o{number}", name="Once"))
            except RoundsmanError as error:
                if error.status != 503:
                    raise
                self.refusals[type(error).__name__] += 1
            else:
                self.said_yes.add(f"o{number}")

    async def goes_on(self) -> None:
        """Return when each schedule has run again, and the long body is under way."""
        begun = Counter(entry.job_id for entry in self.cluster.ledger.entries)

        def again() -> bool:
            now = Counter(entry.job_id for entry in self.cluster.ledger.entries)
            return all(now[f"s{number}"] > begun[f"s{number}"] for number in range(SCHEDULES)) and now["long"] > 0

        await wait_until(again, "all schedules to run again")

    async def refused(self, kind: str) -> None:
        """Return when somebody was refused in this way since now."""
        before = self.refusals[kind]
        await wait_until(lambda: self.refusals[kind] > before, f"a {kind}; so far {dict(self.refusals)}")

    async def refused_no_more(self) -> None:
        """Return when somebody was told yes again."""
        before = len(self.said_yes)
        await wait_until(lambda: len(self.said_yes) > before, "a yes")

    async def tell(self, *command: object) -> object:
        """Send the server one command, past the proxy."""
        return await asyncio.to_thread(self.server.tell, *command)

    async def end(self, *, long_attempts: int = 1) -> None:
        """Stop asking, and check what must be true."""
        assert self._asking is not None
        asked = self._asking
        if asked.done():
            await asked  # raises what no caller should meet
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        await wait_until(self._all_settled, "all that was acknowledged to be settled")
        self.cluster.ledger.gate("plain").set()
        await wait_until(lambda: self._is_settled("long"), "the long body to be settled")
        await self._check_events(long_attempts)
        doubled = [attempt for attempt, count in Counter(self.ledger).items() if count > 1]
        story = [event for event in await self.cluster.events("job") if (event["run_id"], event["attempt"]) in doubled]
        assert doubled == [], f"an attempt was begun twice: {story}"

    async def _all_settled(self) -> bool:
        for run_id in self.said_yes:
            if not await self._is_settled(run_id):
                return False
        return True

    async def _is_settled(self, run_id: str) -> bool:
        run = await self.one.runs.get(run_id)
        assert run is not None, f"{run_id} was acknowledged and is not there"
        return run.ended_at is not None

    async def _check_events(self, long_attempts: int) -> None:
        events = await self.cluster.events("job")
        settled = Counter(event["run_id"] for event in events if event["topic"] == "job.succeeded")
        assert {run_id for run_id, count in settled.items() if count > 1} == set(), "settled twice"
        taken_over = Counter(event["run_id"] for event in events if event["topic"] == "job.lost")
        given_back = {event["run_id"] for event in events if "answer to the claim" in event.get("why", "")}
        again = {run_id for run_id, attempt in self.ledger if attempt > 1}
        assert again <= set(taken_over) | given_back, "run again without a word"
        assert taken_over["long"] < long_attempts, "the long body was taken over"
