"""A fire whose instance has a free slot is that instance's own from the commit on."""

import json
from typing import Any

import pytest
from redis.exceptions import ResponseError

from cluster import Cluster
from domain.runs.outcome import Retry, Succeeded
from domain.runs.run import RunStatus
from hands import LANES, Hands, planned, planned_run, schedule, status


def commit(hand: Hands, free: int, *schedule_ids: str) -> list[str]:
    """Commit one fire of each schedule; return the token of each run, or ''."""
    args: list[Any] = []
    for schedule_id in schedule_ids:
        state = hand.client.hget(f"{hand.prefix}states", schedule_id)
        incarnation = json.loads(state)["incarnation"]
        run_id = f"{schedule_id}@{incarnation}.7"
        args += planned(schedule_id, state, state, planned_run(run_id, schedule_id, order=7))
    _, _, tokens = hand.call("commit", free, 60_000, *args)
    return list(tokens)


async def run_of(hand: Hands, schedule_id: str) -> str:
    (run,) = await hand.instance.scheduler.runs(schedule_id)
    return run.run_id


async def test_as_many_as_there_are_free_slots_are_its_own_and_the_rest_is_ready(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    for schedule_id in ("s1", "s2", "s3"):
        await schedule(a, schedule_id, interval=3600)
    first, second, third = commit(a, 2, "s1", "s2", "s3")
    assert first
    assert second
    assert third == ""
    statuses = [await status(a, await run_of(a, schedule_id)) for schedule_id in ("s1", "s2", "s3")]
    assert statuses == [RunStatus.RUNNING, RunStatus.RUNNING, RunStatus.QUEUED]
    (claim,) = b.claim()
    assert (claim.spec.job_id, claim.attempt) == ("s3", 1)
    topics = [(event["topic"], event["attempt"]) for event in await cluster.events("job") if event["job_id"] == "s1"]
    assert topics == [("job.started", 1)]


async def test_a_fire_that_is_planned_again_while_it_waits_for_a_retry_does_not_begin_anew(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, _ = hands
    await schedule(a, "s1", interval=3600)
    commit(a, 0, "s1")
    (claim,) = a.claim()
    a.settle(claim, Retry("no luck", 3600.0))
    assert commit(a, 9, "s1") == [""]
    topics = [event["topic"] for event in await cluster.events("job")]
    assert topics == ["job.queued", "job.started", "job.retrying", "job.failed"]
    assert await status(a, claim.spec.run_id) is None
    assert a.claim() == []


async def test_its_own_run_is_renewed_settled_and_taken_over_like_a_claimed_one(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a, "s1", interval=3600)
    (token,) = commit(a, 9, "s1")
    run_id = await run_of(a, "s1")
    assert a.call("renew", *a.words(60_000), run_id, LANES[0], token, run_id, LANES[0], f"{token}1")[3] == [run_id]
    b.lapse(LANES[0])
    (taken,) = b.claim()
    assert taken.attempt == 2
    assert int(taken.token) > int(token)
    assert b.settle(taken, Succeeded()) == "settled"
    counts = (await a.instance.scheduler.get_task_info("s1")).counts  # type: ignore[union-attr]
    assert (counts.fired, counts.lost, counts.succeeded) == (1, 1, 1)


async def test_nothing_overtakes_what_is_ready_already(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    for schedule_id in ("s1", "s2"):
        await schedule(a, schedule_id, interval=3600)
    assert commit(a, 0, "s1") == [""]
    assert commit(a, 9, "s2") == [""]
    assert [claim.spec.job_id for claim in a.claim()] == ["s1", "s2"]


async def test_no_more_caught_up_fires_wait_than_the_policy_wants(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, "s1", interval=3600)

    def catch_up(*dues: int) -> None:
        """Commit late fires under ``all(2)``; a body runs longer than they are apart."""
        state = a.client.hget(f"{a.prefix}states", "s1")
        runs = [planned_run(f"s1@x.catch_up.{due}", "s1", "catch_up", due) for due in dues]
        a.call("commit", 9, 60_000, *planned("s1", state, state, *runs, rule="skip 1 2"))

    catch_up(1, 2)
    assert await cluster.events("schedule", "schedule.fire_skipped") == []
    catch_up(3, 4)
    (skipped,) = await cluster.events("schedule", "schedule.fire_skipped")
    assert skipped["run_id"] == "s1@x.catch_up.4"
    catch_up(5)
    assert len(await cluster.events("schedule", "schedule.fire_skipped")) == 2
    assert len(await a.instance.scheduler.runs("s1")) == 3


async def test_a_refused_commit_gives_no_token(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a, "s1", interval=3600)
    state = a.client.hget(f"{a.prefix}states", "s1")
    await b.instance.scheduler.pause("s1")
    assert a.call("commit", 9, 60_000, *planned("s1", state, state, planned_run("s1@x.7", "s1"))) == [0, 1, [""]]
    assert await status(a, "s1@x.7") is None


async def test_a_commit_that_a_strangers_key_refuses_leaves_the_fire_as_it_was(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, "s1", interval=3600)
    state = a.client.hget(f"{a.prefix}states", "s1")
    a.client.set(f"{a.prefix}active:s1", "a stranger's")
    plan = planned("s1", state, state.replace('"due":', '"due":1'), planned_run("s1@x.7", "s1"))
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        a.call("commit", 9, 60_000, *plan)
    assert a.client.hget(f"{a.prefix}states", "s1") == state
    assert await status(a, "s1@x.7") is None
    a.client.delete(f"{a.prefix}active:s1")
    assert a.call("commit", 9, 60_000, *plan)[1] == 0
    assert await status(a, "s1@x.7") is RunStatus.RUNNING
