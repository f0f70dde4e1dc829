"""A fleet on the stand-in for AWS, watched by one program or by two that share the store."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import redis

from application.monitoring.phases import aligned_start
from benchmarks.contestants.monitoring import MonitoringCase
from benchmarks.measuring import percentile
from benchmarks.monitoring_site import AwsProcess, Receiver
from benchmarks.process import ContestantFailed, ContestantProcess
from benchmarks.server import Server
from infrastructure.events.wire import decode, entry

REGIONS = ("eu-west-1", "us-east-1", "eu-central-1", "us-west-2", "ap-south-1", "sa-east-1", "ca-central-1")
LEAD_S = 2.0
"""A window begins, and ends, so long before the first region is due."""
A_START = 1_000
"""Workers of one bulk start."""
FIRST_WITHIN_S = 120.0
STILL_S = 20.0
"""What was not told for so long after the last message is not told."""
HOT, CALM = 97.0, 12.5
"""CPU in percent."""
PAGE = 5_000
FAMILIES = ("worker", "alert")
EVENTS = "{{roundsman}}:ev:{}"
MONITORED = "worker.metrics.collected"


@dataclass(frozen=True)
class Fleet:
    """How many workers, in how many regions, watched by how many programs, for how many intervals.

    ``hot`` of them run hot in the last interval but one, and are calm in the last. Without intervals only the first
    look at each is measured, and the hot ones are so from the beginning.
    """

    workers: int
    regions: int
    programs: int
    intervals: int
    interval_s: int
    hot: int


class MonitoringProcess(ContestantProcess):
    """A program that watches a fleet."""

    module = "benchmarks.contestants.monitoring"

    async def ask(self, do: str, **facts: Any) -> dict[str, Any]:
        """Let it do something, and return its answer."""
        await self.tell(do=do, **facts)
        return await self.expect("done")


class Site:
    """Everything that takes part: the fleet, the programs, the store and the receiver."""

    def __init__(self, server: Server, fleet: Fleet, aws: AwsProcess, receiver: Receiver) -> None:
        self.server, self.fleet, self.aws, self.receiver = server, fleet, aws, receiver
        self.programs: list[MonitoringProcess] = []
        self.hot: list[tuple[str, str]] = []
        """Region and instance."""
        self._client = redis.Redis.from_url(server.url)
        self._last = dict.fromkeys(FAMILIES, "0")
        self.told: list[tuple[str, str, float, dict[str, Any]]] = []
        """Topic, worker, when (Unix seconds, by the store), payload: events of workers and alerts, in order."""

    @property
    def regions(self) -> Sequence[str]:
        """The names of the regions."""
        return REGIONS[: self.fleet.regions]

    async def grow(self) -> None:
        """Put instances into the regions."""
        await self.aws.control("reset")
        facts = {"is_detailed": True, "memory": 40.0, "disks": {"/": 30.0}, "launched_at": time.time() - 86_400}
        instances = [
            {"id": f"i-{number:017x}", "tags": {"Name": f"w-{number:06d}"}, **facts}
            for number in range(self.fleet.workers)
        ]
        for number, region in enumerate(self.regions):
            await self.aws.control("add", region=region, instances=instances[number :: self.fleet.regions])
        step = max(self.fleet.workers // self.fleet.hot, 1)
        chosen = range(0, self.fleet.workers, step)[: self.fleet.hot]
        self.hot = [(self.regions[number % self.fleet.regions], str(instances[number]["id"])) for number in chosen]

    async def heat(self, cpu: float) -> None:
        """Give those that run hot, or no longer do, another CPU."""
        for region, name in self.hot:
            await self.aws.control("change", region=region, id=name, cpu=cpu)

    async def read(self) -> None:
        """Read the events that are new."""
        await asyncio.to_thread(self._read)

    def _read(self) -> None:
        for name in FAMILIES:
            while found := self._client.xrange(EVENTS.format(name), f"({self._last[name]}", "+", count=PAGE):
                for raw_id, fields in found:
                    event = decode(name, entry(raw_id, fields))
                    self.told.append((event.topic, event.data.get("worker_id", ""), event.time.timestamp(), event.data))
                self._last[name] = found[-1][0].decode()

    def first(self, wanted: str, begin: float, end: float) -> dict[str, float]:
        """Return worker -> when its first event of a topic came in a time."""
        first: dict[str, float] = {}
        for topic, worker_id, at, _ in self.told:
            if topic == wanted and begin <= at < end:
                first.setdefault(worker_id, at)
        return first

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


@asynccontextmanager
async def site(server: Server, fleet: Fleet) -> AsyncIterator[Site]:
    """Empty the server, and give everything that a measurement needs."""
    await asyncio.to_thread(server.reset)
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(AwsProcess())
        receiver = stack.enter_context(Receiver())
        here = Site(server, fleet, aws, receiver)
        stack.callback(here.close)
        await here.grow()
        case = MonitoringCase(server.url, aws.url, receiver.url, fleet.interval_s)
        for _ in range(fleet.programs):
            here.programs.append(await stack.enter_async_context(MonitoringProcess(case)))
        yield here
        for program in here.programs:
            await program.ask("close")


async def watched(server: Server, fleet: Fleet) -> dict[str, Any]:
    """Import a fleet, start to watch it, and measure some intervals."""
    async with site(server, fleet) as here:
        if not fleet.intervals:
            await here.heat(HOT)
        first = await _first_look(here)
        found = await _intervals(here) if fleet.intervals else {}
        kinds = ("firing", "resolved") if fleet.intervals > 1 else ("firing",)
        latency = {kind: await _latency(here, kind, found.get(f"{kind}_from", 0.0)) for kind in kinds}
        return {**fleet.__dict__, "first": first, **found, "latency": latency}


async def _first_look(here: Site) -> dict[str, Any]:
    """Import and start all, and wait until each has its first sample."""
    began = time.time()
    for program in here.programs:
        await program.ask("watch")
    imported = await here.programs[0].ask("import", regions=list(here.regions))
    started = time.time()
    answers = [
        await here.programs[0].ask("start", first=first, count=A_START)
        for first in range(0, here.fleet.workers, A_START)
    ]
    start_s = sum(one["seconds"] for one in answers)
    while len(here.first(MONITORED, 0, time.time())) < here.fleet.workers:
        if time.time() - started > start_s + FIRST_WITHIN_S:
            break
        await asyncio.sleep(0.5)
        await here.read()
    sampled = here.first(MONITORED, 0, time.time())
    ended = [await program.ask("tell") for program in here.programs]
    return {
        "import_s": imported["seconds"],
        "start_s": start_s,
        "started": sum(one["started"] for one in answers),
        "sampled": len(sampled),
        "last_s": max(sampled.values(), default=started) - started,
        "cpu_s": sum(one["cpu_s"] for one in ended),
        "stall_max": max(one["stalls"][-1] for one in ended),
        "failed": Counter(topic for topic, *_ in here.told).get("worker.collection.failed", 0),
        "calls": await here.aws.calls(),
        "seconds": time.time() - began,
    }


def _next_due(region: str, interval_s: int, after: float) -> float:
    """Return when the workers of a region are due next."""
    start = aligned_start("aws", f"default/{region}", interval_s).timestamp()
    return start + ((after - start) // interval_s + 1) * interval_s


async def _intervals(here: Site) -> dict[str, Any]:
    """Measure whole intervals, from a moment before all are due."""
    fleet = here.fleet
    # Not the first one: the first looks have just seen the period that it would see.
    due = _next_due(here.regions[0], fleet.interval_s, time.time() + LEAD_S + fleet.interval_s)
    await asyncio.sleep(due - LEAD_S - time.time())
    await here.read()
    for program in here.programs:
        await program.ask("watch")
    server, aws_cpu_s, begin = here.server.reading(), here.aws.cpu_s(), time.time()
    rounds, marks = [], {}
    for number in range(fleet.intervals):
        left = fleet.intervals - number
        if left == min(2, fleet.intervals):
            await here.heat(HOT)
            marks["firing_from"] = time.time()
        elif left == 1:
            await here.heat(CALM)
            marks["resolved_from"] = time.time()
        rounds.append(await _one_interval(here, due + number * fleet.interval_s))
    seconds = time.time() - begin
    ended = [await program.ask("tell") for program in here.programs]
    spent = here.server.reading().since(server).cpu_s
    return {
        **marks,
        "rounds": rounds,
        "cpu_share": [one["cpu_s"] / seconds for one in ended],
        "server_cpu_share": spent / seconds,
        "aws_cpu_share": (here.aws.cpu_s() - aws_cpu_s) / seconds,
        "rss": [one["rss_most"] for one in ended],
        "server_memory": await asyncio.to_thread(here.server.used),
        "stall_max": max(one["stalls"][-1] for one in ended),
        "stall_p999": max(_p999(one) for one in ended),
    }


def _p999(one: dict[str, Any]) -> float:
    """Return the percentile of all, of which only the longest hundredth was told."""
    return float(one["stalls"][-max(one["naps"] // 1000, 1)])


async def _one_interval(here: Site, due: float) -> dict[str, Any]:
    """Wait for the end of an interval; return what happened in it."""
    calls, begin = await here.aws.calls(), time.time()
    seen = len(here.told)
    await asyncio.sleep(due + here.fleet.interval_s - LEAD_S - time.time())
    after = await here.aws.calls()
    await here.read()
    end = time.time()
    sampled = here.first(MONITORED, begin, end)
    offsets = sorted(at - due for at in sampled.values())
    topics = Counter(topic for topic, *_ in here.told[seen:])
    return {
        "calls": {name: times - calls.get(name, 0) for name, times in after.items() if times > calls.get(name, 0)},
        "stored": len(sampled),
        "missed": here.fleet.workers - len(sampled),
        "failed": topics.get("worker.collection.failed", 0),
        "after_p50": percentile(offsets, 50),
        "after_last": offsets[-1] if offsets else None,
    }


async def _latency(here: Site, kind: str, since: float) -> dict[str, Any]:
    """Return how long after its sample was stored each alert was told at the receiver."""
    hot = {f"aws-{name}" for _, name in here.hot}
    heard, deadline = -1, time.monotonic() + STILL_S
    while len(told := here.receiver.told(kind)) < len(hot) and time.monotonic() < deadline:
        if len(told) != heard:
            heard, deadline = len(told), time.monotonic() + STILL_S
        await asyncio.sleep(0.2)
    await here.read()
    sampled, decided = (here.first(topic, since, time.time()) for topic in (MONITORED, f"alert.{kind}"))
    known = [name for name in told if name in sampled and name in decided and name in hot]
    if not known:
        raise ContestantFailed(f"no alert was told as '{kind}'")
    return {
        "expected": len(hot),
        "told": len(known),
        **_spread(told[name] - sampled[name] for name in known),
        "to_event": _spread(decided[name] - sampled[name] for name in known),
        "from_event": _spread(told[name] - decided[name] for name in known),
    }


def _spread(waits: Iterable[float]) -> dict[str, float]:
    waited = sorted(waits)
    return {"p50": percentile(waited, 50), "p99": percentile(waited, 99), "max": waited[-1]}
