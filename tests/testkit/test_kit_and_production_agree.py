"""The same plays on the kit and on the real scheduler with a real Valkey end alike, step by step and event by event."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from application.scheduling import RetryPolicy, ScheduledTaskDescriptor
from application.scheduling.moments import milliseconds
from cluster import Cluster
from domain.errors import RoundsmanError
from sample_jobs import Ledger, LedgerContainer, Note
from support import wait_until
from testing import JobKit
from testkit.fragile_job import BROKEN
from testkit.parity_kit import JOBS, OnKit, Stage, Step, play, real_instance, repeating

START = datetime.fromisoformat("2026-01-05T09:00:00Z")
Play = Callable[..., Awaitable[None]]


@pytest.fixture
async def run_play(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Play]:
    async def run(*steps: Step, at: datetime = START) -> None:
        ledger = Ledger()
        real = await real_instance(cluster, monkeypatch, milliseconds(at))
        options: dict[str, Any] = {"container": LedgerContainer(ledger=ledger), "at": at, "patience_s": 0.05}
        async with JobKit(*JOBS, **options) as kit:
            try:
                await play(OnKit(kit, ledger), real, list(steps))
            finally:
                for gate in ledger.gates.values():
                    gate.set()

    yield run
    BROKEN.clear()


@pytest.fixture(name="cluster")
async def cluster_of_one(redis_url: str, namespace: str) -> AsyncIterator[Cluster]:
    async with Cluster(redis_url, namespace) as made:
        yield made


def put(**fields: Any) -> Step:
    async def step(stage: Stage) -> None:
        await stage.bus.schedule_task(repeating(**fields))

    return step


def once(**fields: Any) -> Step:
    async def step(stage: Stage) -> None:
        await stage.bus.schedule_task(ScheduledTaskDescriptor.model_validate({"id": "o", "name": "Once", **fields}))

    return step


def to(seconds: float, start: datetime = START) -> Step:
    async def step(stage: Stage) -> None:
        await stage.to(milliseconds(start + timedelta(seconds=seconds)))

    return step


def open_gate(label: str = "held") -> Step:
    async def step(stage: Stage) -> None:
        stage.ledger.gate(label).set()

    return step


def ask(method: str, *args: Any, **options: Any) -> Step:
    async def step(stage: Stage) -> None:
        await getattr(stage.scheduler, method)(*args, **options)

    return step


def refused(step: Step) -> Step:
    """Let a step be refused, and its error be known by what both stages have seen."""

    async def attempt(stage: Stage) -> None:
        with pytest.raises(RoundsmanError) as error:
            await step(stage)
        stage.ledger.gate(f"refused: {type(error.value).__name__}")

    return attempt


HELD = {"label": "held", "hold": True}


async def test_fires(run_play: Play) -> None:
    await run_play(put(interval=60), to(59.999), to(60), to(120), to(180.5))


async def test_fires_of_a_cron_line_with_jitter_start_and_end(run_play: Play) -> None:
    policy = {"jitter_s": 20, "start": START + timedelta(seconds=200), "end": START + timedelta(seconds=400)}
    await run_play(put(cron="* * * * *", policy=policy), *(to(second) for second in range(60, 480, 20)))


@pytest.mark.parametrize("day", ["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z"])
@pytest.mark.parametrize("line", ["30 2 * * *", "*/30 1-3 * * *"])
async def test_both_daylight_saving_changes(run_play: Play, day: str, line: str) -> None:
    start = datetime.fromisoformat(day)
    halves = [to(1800 * n, start) for n in range(22, 34)]  # 23:00 to 05:00 UTC
    await run_play(put(cron=line, timezone="Europe/Brussels"), *halves, at=start)


async def test_steps_of_the_calendar(run_play: Play) -> None:
    days = [to(86_400 * n) for n in (26, 27, 54, 55, 56, 85, 86)]
    await run_play(put(calendar={"months": 1, "day": 31, "hour": 10}, timezone="Europe/Brussels"), *days)


async def test_skip(run_play: Play) -> None:
    await run_play(put(interval=60, data=HELD), to(60), to(120), to(180), open_gate(), to(240))


async def test_queue_one(run_play: Play) -> None:
    policy = {"overlap": "queue_one"}
    await run_play(
        put(interval=60, data=HELD, policy=policy), to(60), to(120), to(180), to(240), ask("pause", "s"), open_gate()
    )


async def test_allow_two(run_play: Play) -> None:
    await run_play(
        put(interval=60, data=HELD, policy={"overlap": "allow(2)"}), to(60), to(120), to(180), open_gate(), to(240)
    )


@pytest.mark.parametrize("catch_up", ["one", "none", "all(3)"])
@pytest.mark.parametrize("overlap", ["skip", "queue_one", "allow(2)"])
async def test_catch_up(run_play: Play, catch_up: str, overlap: str) -> None:
    policy = {"catch_up": catch_up, "overlap": overlap, "timeout_s": 3600}
    steps = [put(interval=60, data=HELD, policy=policy), to(615), to(1240), open_gate(), to(1260)]
    await run_play(*steps)


async def test_catch_up_none_counts_what_is_a_little_late_as_in_time(run_play: Play) -> None:
    await run_play(put(interval=60, policy={"catch_up": "none"}), to(69.9), to(130.1), to(180))


async def test_retries_and_their_end(run_play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    retry(monkeypatch, max_retries=2, backoff_s=5)
    await run_play(put(interval=60, data={"fail": "no"}), to(60), to(64), to(65.5), to(76), to(120))


async def test_a_retry_gives_way_to_the_next_fire(run_play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    retry(monkeypatch, max_retries=2, backoff_s=90)
    await run_play(put(interval=60, data={"fail": "no"}), to(60), to(120), to(150), to(180), ask("run_now", "s"))


async def test_a_retry_keeps_its_place_under_queue_one(run_play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    retry(monkeypatch, max_retries=2, backoff_s=90)
    data = {"fail": "no", **HELD}
    await run_play(put(interval=60, data=data, policy={"overlap": "queue_one"}), to(60), to(120), open_gate(), to(170))


async def test_what_was_stopped_while_it_ran_is_not_tried_again(
    run_play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry(monkeypatch, max_retries=2, backoff_s=90)
    await run_play(put(interval=60, data={"fail": "no", **HELD}), to(60), ask("stop_task", "s"), open_gate(), to(200))


async def test_a_job_ends_itself(run_play: Play) -> None:
    await run_play(put(interval=60, data={"end": True}), to(60), to(120))


async def test_a_job_ends_itself_while_another_fire_waits(run_play: Play) -> None:
    data = {"end": True, **HELD}
    await run_play(put(interval=60, data=data, policy={"overlap": "queue_one"}), to(60), to(120), open_gate())


async def test_one_shots(run_play: Play) -> None:
    later = START + timedelta(seconds=90)
    again = refused(once(data={"label": "other"}))
    await run_play(once(), once(), again, once(id="p", scheduled_at=later), to(89), to(90), to(95))


async def test_a_one_shot_that_waits_can_be_changed_and_stopped(run_play: Play) -> None:
    later, latest = (START + timedelta(seconds=n) for n in (90, 120))
    await run_play(
        once(scheduled_at=later), once(scheduled_at=latest), refused(put(id="o", interval=9)), ask("stop_task", "o")
    )


async def test_a_one_shot_is_tried_again(run_play: Play) -> None:
    await run_play(once(data={"fail_times": 2}, max_retries=1), to(3))
    # its policy waits 0.05 s, then 0.1 s


async def test_a_held_one_shot_is_cancelled(run_play: Play) -> None:
    await run_play(once(data=HELD), ask("stop_task", "o"), ask("stop_task", "o", cancel_running=True))


async def test_run_now_and_backfill(run_play: Play) -> None:
    since, until = START + timedelta(seconds=30), START + timedelta(seconds=200)
    await run_play(
        put(interval=60, data=HELD),
        to(60),
        refused(ask("run_now", "s")),
        to(200),
        ask("backfill", "s", since, until),
        ask("backfill", "s", since, until),
        open_gate(),
        to(240),
    )


async def test_pause_resume_change_and_stop(run_play: Play) -> None:
    await run_play(
        put(interval=60),
        to(60),
        ask("pause", "s", "for a test"),
        ask("pause", "s", "again"),
        to(200),
        ask("resume", "s"),
        refused(ask("resume", "s")),
        to(240),
        ask("modify", "s", {"interval": 30, "data": HELD}),
        to(270),
        to(300),
        put(interval=30, data=HELD),
        ask("stop_task", "s"),
        refused(ask("stop_task", "s")),
        open_gate(),
        put(interval=60),
        to(400),
    )


async def test_data_that_does_not_load_parks_its_schedule(run_play: Play) -> None:
    async def break_it(stage: Stage) -> None:
        BROKEN.add("x")

    async def mend_it(stage: Stage) -> None:
        BROKEN.clear()

    fragile = put(name="Fragile", data={"label": "x"}, interval=60)
    await run_play(fragile, to(60), break_it, to(120), to(180), mend_it, ask("resume", "s"), to(240))


async def test_a_timeout(run_play: Play) -> None:
    async def begin_and_wait(stage: Stage) -> None:
        """The real body hangs for 2 s, during which the store's time goes on as the kit's does."""
        await stage.to(milliseconds(START + timedelta(seconds=60)))
        await wait_until(lambda: stage.ledger.entries, "the body to begin")
        await stage.to(milliseconds(START + timedelta(seconds=62)))

    await run_play(put(interval=60, data=HELD, policy={"timeout_s": 2}), begin_and_wait, open_gate())


def retry(monkeypatch: pytest.MonkeyPatch, **policy: Any) -> None:
    """Give the sample job a retry policy without jitter."""
    chosen = replace(Note.__definition__, retry=RetryPolicy(factor=2, jitter=False, **policy))
    monkeypatch.setattr(Note, "__definition__", chosen)


def test_the_parts_agree_on_what_every_event_of_a_run_says() -> None:
    from infrastructure.runs.records import TAG_FIELDS
    from testing.memory import TAG_FIELDS as OURS

    assert OURS == TAG_FIELDS
