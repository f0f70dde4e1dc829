"""Time stands still until the test moves it, for schedules, retries, timeouts and bodies."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.scheduling import JobContext, RecurrentBackgroundJob, RecurrentTaskDescriptor, backgroundjob
from application.scheduling import ScheduledTaskDescriptor as OneShot
from testing import JobKit
from testing.errors import ClockGoesForward, KitNotOpen, LoopUnusable
from testkit.sample_kit_jobs import Digest, Mailer, Reminder

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def digest(**fields: Any) -> RecurrentTaskDescriptor:
    data = {"to": "eve", **fields.pop("data", {})}
    return RecurrentTaskDescriptor.model_validate({"id": "d", "name": "Digest", "data": data, **fields})


def kit_of(*jobs: type, **options: Any) -> JobKit:
    return JobKit(*(jobs or (Digest,)), given={"mailer": Mailer()}, **options)


async def test_a_schedule_fires_when_its_time_comes() -> None:
    async with kit_of() as kit:
        await kit.schedule(digest(cron="0 10 * * *"))
        assert await kit.advance(minutes=59) == []
        (run,) = await kit.advance(minutes=1)
        assert (run.record.fire_time, kit.now) == (START + timedelta(hours=1),) * 2
        assert len(await kit.advance(days=365)) == 365


@pytest.mark.parametrize(
    ("day", "fires"),
    [
        ("2026-03-29T00:00:00+01:00", ["2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]),
        ("2026-10-25T00:00:00+02:00", ["2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00"]),
    ],
)
async def test_both_daylight_saving_changes_can_be_reached(day: str, fires: list[str]) -> None:
    async with kit_of(at=day) as kit:
        await kit.schedule(digest(cron="30 2 * * *", timezone="Europe/Brussels"))
        runs = await kit.advance(days=2)
        assert [run.record.fire_time.isoformat() for run in runs] == fires


async def test_bodies_that_sleep_take_the_kits_time() -> None:
    async with kit_of() as kit:
        await kit.schedule(digest(interval=60, data={"takes_s": 90}))
        assert await kit.advance(149) == []
        assert kit.runs("d")[0].status == "running"
        (run,) = await kit.advance(1)
        assert run.record.ended_at == START + timedelta(seconds=150)
        info: Any = await kit.scheduler.get_task_info("d")
        assert (info.counts.fired, info.counts.skipped) == (1, 1)


@backgroundjob(task_type="recurrent", timeout_s=20)
class Careful(RecurrentBackgroundJob):
    """Bodies ask the loop for the time, wait with timeouts, and in several tasks at once."""

    hang: bool = False

    async def run_every(self, ctx: JobContext) -> list[float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self.hang:
            await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.sleep(3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), 1.5)
        async with asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(asyncio.sleep(n))
        await asyncio.wait([asyncio.create_task(asyncio.sleep(9))], timeout=0.5)
        return [loop.time() - began, (ctx.deadline - ctx.fire_time).total_seconds()]


async def test_everything_that_waits_in_a_body_waits_for_the_kits_time() -> None:
    async with JobKit(Careful) as kit:
        await kit.schedule(RecurrentTaskDescriptor(id="c", name="Careful", interval=3600))
        (run,) = await kit.advance(hours=1, seconds=8)
        assert run.result == [2 + 1.5 + 4 + 0.5, 20.0]


@backgroundjob(task_type="recurrent")
class Outside(RecurrentBackgroundJob):
    """Wait for something real, for a while of the kit's time."""

    async def run_every(self) -> str:
        async with asyncio.timeout(5):
            return await asyncio.to_thread(real_work)


def real_work() -> str:
    time.sleep(0.05)
    return "done"


async def test_time_waits_for_real_work() -> None:
    async with JobKit(Outside) as kit:
        await kit.schedule(RecurrentTaskDescriptor(id="o", name="Outside", interval=3600))
        (run,) = await kit.advance(hours=1, minutes=59)
        assert (run.result, run.record.ended_at) == ("done", START + timedelta(hours=1))


async def test_a_body_that_hangs_is_timed_out() -> None:
    async with JobKit(Careful, patience_s=0.01) as kit:
        await kit.schedule(RecurrentTaskDescriptor(id="c", name="Careful", data={"hang": True}, interval=3600))
        (run,) = await kit.advance(hours=1, seconds=20)
        assert run.error == "TimeoutError: the body did not end within its timeout of 20 s"
        assert run.record.ended_at == START + timedelta(hours=1, seconds=20)


async def test_the_test_itself_keeps_real_time() -> None:
    loop = asyncio.get_running_loop()
    own = vars(loop).copy()
    async with kit_of() as kit:
        await kit.schedule(digest(interval=60))
        real = loop.time()
        async with asyncio.timeout(600):
            await kit.advance(hours=5)
        assert loop.time() - real < 600
        await asyncio.sleep(0.001)
    assert vars(loop) == own


async def test_retries_wait_for_their_backoff() -> None:
    mailer = Mailer(fails=2)
    async with JobKit(Digest, given={"mailer": mailer}) as kit:
        await kit.schedule(digest(interval=3600))
        await kit.advance(hours=1)
        assert (kit.runs()[0].status, mailer.sent) == ("retrying", [])
        await kit.advance(29.999)
        assert kit.runs()[0].attempt == 1
        await kit.advance(0.001)
        assert kit.runs()[0].attempt == 2
        (run,) = await kit.drain()
        assert (run.attempt, kit.now) == (3, START + timedelta(hours=1, seconds=90))


async def test_drain_runs_what_is_open_and_then_stops() -> None:
    async with kit_of(Digest, Reminder) as kit:
        await kit.schedule(digest(cron="0 * * * *"))
        await kit.schedule(
            OneShot(id="r", name="Reminder", data={"text": "x"}, scheduled_at=START + timedelta(hours=3))
        )
        runs = await kit.drain()
        assert [run.record.job_id for run in runs] == ["d", "d", "d", "r"]
        assert kit.now == START + timedelta(hours=3)
        assert await kit.drain() == []


async def test_a_drain_without_an_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testing.kit.DRAIN_LIMIT", 20)
    async with kit_of() as kit:
        await kit.schedule(digest(interval=10, data={"takes_s": 15}, policy={"overlap": "allow(3)"}))
        await kit.advance(10)
        with pytest.raises(AssertionError, match="drain has no end: it made 20 runs"):
            await kit.drain()


async def test_after_an_outage_fires_are_caught_up_as_their_policy_says() -> None:
    async with kit_of() as kit:
        await kit.schedule(digest(interval=60, policy={"catch_up": "all(2)"}))
        runs = await kit.outage(minutes=5, seconds=30)
        assert [run.record.fire_time.minute for run in runs] == [4, 5]
        kit.assert_published("schedule.fire_skipped", {"why": "missed", "count": 3})
        runs = await kit.outage(until=START + timedelta(minutes=10))
        assert len(runs) == 2


async def test_time_does_not_go_back() -> None:
    async with kit_of() as kit:
        with pytest.raises(ClockGoesForward, match=r"2026-01-05T09:00:00\+00:00 and cannot go back to 2025"):
            await kit.advance_to("2025-12-31T00:00:00Z")
        with pytest.raises(ClockGoesForward):
            await kit.advance(-1)
        with pytest.raises(ClockGoesForward):
            await kit.outage(seconds=-1)
    with pytest.raises(ValueError, match="no timezone"):
        kit_of(at="2026-01-05T09:00:00")


async def test_a_kit_that_is_not_open_says_so() -> None:
    kit = kit_of()
    for call in (kit.run_due(), kit.advance(1), kit.drain(), kit.outage(seconds=1)):
        with pytest.raises(KitNotOpen, match="async with JobKit"):
            await call
    async with kit:
        pass
    await kit.__aexit__(None, None, None)
    with pytest.raises(KitNotOpen):
        await kit.run_due()


def test_a_loop_whose_time_cannot_be_kept_is_refused() -> None:
    class Stubborn(asyncio.SelectorEventLoop):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "call_at":
                raise AttributeError(name)
            super().__setattr__(name, value)

    async def open_one() -> None:
        async with kit_of():
            pass

    with asyncio.Runner(loop_factory=Stubborn) as runner, pytest.raises(LoopUnusable, match="this loop is a Stubborn"):
        runner.run(open_one())


async def test_bodies_that_still_execute_at_the_end_are_cancelled() -> None:
    async with kit_of() as kit:
        await kit.schedule(digest(interval=60, data={"takes_s": 90}))
        await kit.advance(60)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")] == []


async def test_two_kits_keep_two_times() -> None:
    own = vars(asyncio.get_running_loop()).copy()
    async with kit_of() as one, kit_of(at="2030-01-01T00:00:00Z") as other:
        for kit in (one, other):
            await kit.schedule(digest(interval=60, data={"takes_s": 30}))
        assert len(await one.advance(90)) == 1
        assert other.runs() == []
        assert len(await other.advance(90)) == 1
    assert vars(asyncio.get_running_loop()) == own


async def test_many_fires_come_in_their_order() -> None:
    async with kit_of() as kit:
        await kit.schedule(digest(interval=3600, data={"takes_s": 200}))
        runs = await kit.advance(days=10)
        times = [run.record.fire_time for run in runs]
        assert times == [START + timedelta(hours=n) for n in range(1, 240)]
        assert {run.status for run in runs} == {"succeeded"}
