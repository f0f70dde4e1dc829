"""The protocol's steps by hand, in the orders that faults bring about (docs/decisions/001)."""

import asyncio

import pytest

from application.runs.registry import JobRegistry
from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor, SchedulePolicy
from cluster import Cluster
from domain.runs.outcome import Failed, Retry, Succeeded, Terminated
from domain.runs.run import RunStatus
from domain.scheduling.errors import NotResumable, ScheduleNotFound
from hands import LANES, Hands, one_shot, schedule, status
from infrastructure.runs.scripts import Retention, source
from sample_jobs import Note, Once
from support import wait_until


async def test_a_commit_is_refused_whole_when_the_schedule_changed_after_the_take(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a)
    ((_, state),) = await wait_until(a.take)
    await b.instance.scheduler.pause("s")
    assert a.commit("s", state) == [0, 1]
    assert (await a.instance.scheduler.get_task_info("s")).status == "paused"


async def test_of_two_commits_of_one_fire_the_first_counts(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a)
    ((_, state),) = await wait_until(lambda: a.take(hide_ms=0))
    ((_, same),) = await wait_until(b.take)
    assert same == state
    next_state = state.replace('"due":', '"due":1')
    assert b.commit("s", state, next_state) == [0, 0]
    assert a.commit("s", state, next_state) == [0, 1]


async def test_a_take_hides_and_shows_again_when_its_taker_dies(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a)
    taken = await wait_until(lambda: a.take(hide_ms=200))
    assert b.take() == []
    assert await wait_until(b.take) == taken


async def test_a_removed_schedule_is_not_taken_and_its_late_commit_makes_nothing(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a)
    ((_, state),) = await wait_until(a.take)
    await b.instance.scheduler.stop_task("s")
    assert a.commit("s", state) == [0, 1]
    with pytest.raises(ScheduleNotFound):
        await a.instance.scheduler.get_task_info("s")


async def test_a_lapsed_run_is_taken_over_and_its_first_owner_settles_nothing(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    await one_shot(a)
    (first,) = a.claim()
    assert b.claim() == []
    b.lapse()
    (second,) = b.claim()
    assert (first.attempt, second.attempt) == (1, 2)
    assert int(second.token) > int(first.token)
    assert a.renew(first) == ["o"]
    assert a.settle(first, Succeeded('"late"')) == "lost"
    assert b.settle(second, Succeeded('"good"')) == "settled"
    run = await a.instance.runs.get("o")
    assert run is not None
    assert (run.status, run.result) == (RunStatus.SUCCEEDED, "good")
    (lost,) = await cluster.events("job", "job.lost")
    assert (lost["attempt"], lost["instance_id"], lost["taken_over_by"]) == (1, a.id, b.id)


async def test_an_owner_whose_lapsed_run_nobody_took_renews_and_settles_late(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a)
    (claim,) = a.claim()
    a.lapse()
    assert a.renew(claim) == []
    assert b.claim() == []
    a.lapse()
    assert a.settle(claim, Succeeded()) == "settled"


async def test_after_a_silence_of_all_nobody_is_overtaken_for_one_lease(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a)
    (claim,) = a.claim()
    a.lapse()
    a.client.hset(f"{a.prefix}meta", "last_beat", 1)
    assert b.claim(lease_ms=60_000) == []
    assert a.renew(claim) == []
    a.lapse()
    assert [taken.attempt for taken in b.claim()] == [2]


async def test_a_settle_that_is_sent_again_gets_the_same_answer_and_changes_nothing(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, _ = hands
    await one_shot(a)
    (claim,) = a.claim()
    assert a.settle(claim, Succeeded()) == "settled"
    assert a.settle(claim, Succeeded(), again=True) == "settled"
    assert a.settle(claim, Failed("later")) == "lost"
    assert len(await cluster.events("job", "job.succeeded")) == 1


async def test_tokens_grow_even_when_the_clock_of_the_store_is_behind(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a)
    (claim,) = a.claim()
    ahead = str(int(claim.token) + 10**12)
    a.rewrite("o", token=ahead)
    b.lapse()
    (taken,) = b.claim()
    assert int(taken.token) == int(ahead) + 1


async def test_a_run_that_outlives_its_owners_again_and_again_is_parked_with_its_story(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    await one_shot(a)
    a.claim()
    for taker in (b, a):
        taker.lapse()
        assert len(taker.claim(takeovers=2)) == 1
    b.lapse()
    assert b.claim(takeovers=2) == []
    run = await a.instance.runs.get("o")
    assert run is not None
    assert run.parked is not None
    assert "3 owners" in run.parked
    assert [(past.attempt, past.instance) for past in run.attempts] == [(1, a.id), (2, b.id), (3, a.id)]
    assert {past.error for past in run.attempts} == {"lost: the lease of its owner lapsed"}
    assert all(past.started_at is not None and past.started_at <= past.ended_at for past in run.attempts)
    (parked,) = await cluster.events("job", "job.parked")
    assert [past["attempt"] for past in parked["attempts"]] == [1, 2, 3]
    b.lapse()
    assert b.claim(takeovers=2) == []
    await a.instance.scheduler.resume("o")
    (resumed,) = b.claim(takeovers=2)
    assert resumed.attempt == 4
    with pytest.raises(NotResumable):
        await a.instance.scheduler.resume("o")


async def test_the_story_of_a_run_holds_the_errors_of_its_retries(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a, max_retries=30)
    for n in range(25):
        (claim,) = a.claim()
        assert a.settle(claim, Retry(f"error {n}", 0.0)) == "settled"
    a.claim()
    b.lapse()
    (claim,) = b.claim()
    run = await a.instance.runs.get("o")
    assert run is not None
    assert [past.error for past in run.attempts] == [
        *(f"error {n}" for n in range(6, 25)),
        "lost: the lease of its owner lapsed",
    ]
    assert run.attempts[-1].attempt == 26 == claim.attempt - 1


async def test_a_lease_from_before_the_clock_was_put_back_does_not_hold_its_run_for_hours(
    hands: tuple[Hands, Hands],
) -> None:
    """A fail-over may lead to a server whose clock is behind; what the old one wrote lies in the future."""
    a, b = hands
    await one_shot(a)
    a.claim()
    hour_ms = 3_600_000
    now = await a.instance.schedules.now()
    b.client.hset(f"{b.prefix}meta", mapping={"last_beat": now + hour_ms, "no_takeover_until": now + hour_ms})
    b.client.zadd(f"{b.prefix}leases:Once@1", {"o": now + hour_ms})
    assert b.claim(lease_ms=500) == [], "the owner may renew first"
    (taken,) = await wait_until(lambda: b.claim(lease_ms=500), "the run to be taken over")
    assert taken.attempt == 2


async def test_cancel_revokes_a_claim_and_the_owner_cannot_make_it_succeed(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a)
    (claim,) = a.claim()
    assert await b.instance.runs.cancel(["o", "nothing"], "not needed") == {"o": "running", "nothing": ""}
    assert a.settle(claim, Succeeded()) == "lost"
    assert await status(a, "o") is RunStatus.CANCELLED
    assert await b.instance.runs.cancel(["o"], "again") == {"o": "cancelled"}


async def test_a_run_whose_schedule_was_stopped_does_not_retry(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a, interval=3600)
    run_id = await a.instance.scheduler.run_now("s")
    (claim,) = a.claim()
    assert (await b.instance.scheduler.stop_task("s")).running == [run_id]
    assert a.settle(claim, Retry("later", 3600.0)) == "settled"
    (failed,) = await cluster.events("job", "job.failed")
    assert (failed["run_id"], failed["stopped"]) == (run_id, True)
    assert a.client.zcard(f"{a.prefix}later") == 0


async def test_a_retry_waits_and_does_not_count_a_take_over_as_retry(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a, max_retries=3)
    a.claim()
    b.lapse()
    (second,) = b.claim()
    assert (second.attempt, second.retries) == (2, 0)
    assert b.settle(second, Retry("later", 0.0)) == "settled"
    assert await status(a, "o") is RunStatus.RETRYING
    (third,) = await wait_until(a.claim)
    assert (third.attempt, third.retries) == (3, 1)


async def test_claims_go_oldest_first_and_no_further_than_the_slots(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    for n in range(5):
        await one_shot(a, f"o{n}")
        await asyncio.sleep(0.002)
    assert [claim.spec.run_id for claim in a.claim(limit=2)] == ["o0", "o1"]
    assert [claim.spec.run_id for claim in b.claim(limit=2)] == ["o2", "o3"]
    assert [claim.spec.run_id for claim in a.claim(limit=9)] == ["o4"]


async def test_termination_spares_a_schedule_that_was_changed_since(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, interval=3600)
    await a.instance.scheduler.run_now("s")
    (claim,) = a.claim()
    await a.instance.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=1800))
    assert a.settle(claim, Terminated("the old worker is gone")) == "settled"
    assert (await a.instance.scheduler.get_task_info("s")).generation == 2


async def test_a_settled_run_of_a_removed_schedule_leaves_nothing_behind(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, interval=3600)
    await a.instance.scheduler.run_now("s")
    (claim,) = a.claim()
    await a.instance.scheduler.stop_task("s")
    assert a.settle(claim, Succeeded()) == "settled"
    keys = a.client.keys(f"{a.prefix}*")
    left = [key for key in keys if ":ev:" not in key and ":batch:" not in key and not key.endswith((":meta", ":lanes"))]
    assert left == []


async def test_a_process_never_takes_what_it_does_not_know(cluster: Cluster) -> None:
    knows_once = await cluster.start(jobs=[Once])
    api = await cluster.start(executes=False)
    await api.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.01))
    await api.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
    await wait_until(lambda: cluster.ledger.of("o"))
    assert (await api.scheduler.get_task_info("s")).counts.fired == 0
    await knows_once.stop()
    await cluster.start(jobs=[Note])
    await wait_until(lambda: cluster.ledger.of("s"))


async def test_scripts_are_loaded_again_after_a_flush(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.02))
    await wait_until(lambda: cluster.ledger.of("s"))
    await cluster.redis.command.script_flush()
    seen = len(cluster.ledger.of("s"))
    await wait_until(lambda: len(cluster.ledger.of("s")) > seen + 3)


def test_lua_carries_the_machine_of_the_domain() -> None:
    text = source("claim", Retention())
    assert "['queued>running']=true" in text
    assert "['succeeded>running']" not in text
    assert JobRegistry([Note, Once]).lanes == tuple(LANES)


async def test_lua_refuses_a_transition_that_the_machine_lacks(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await one_shot(a)
    a.rewrite("o", status="retrying")  # where no ready run can be
    assert a.claim() == []
    assert await status(a, "o") is RunStatus.RETRYING


async def test_policies_are_stored_as_they_were_given(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    policy = SchedulePolicy(overlap="queue_one", catch_up="all(7)", jitter_s=2.5, max_retries=1, timeout_s=9)
    await a.instance.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", cron="@daily", policy=policy))
    info = await hands[1].instance.scheduler.get_task_info("s")
    assert info.descriptor.policy == policy
