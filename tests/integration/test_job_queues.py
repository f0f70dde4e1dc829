"""Who is next: queues by weight, jobs by priority and age, limits of queues, of job classes and of keys."""

from collections import Counter

import pytest

from cluster import Cluster
from domain.jobs.queue import QueueRules
from domain.runs.outcome import Cancelled, Failed, Released, Retry, Succeeded
from integration.jobs_kit import JobHands, rules
from support import wait_until

DONE = Succeeded("null")


@pytest.fixture
async def one(cluster: Cluster) -> JobHands:
    return JobHands(cluster.redis)


async def test_a_job_is_claimed_with_its_queue_and_its_data(one: JobHands) -> None:
    (job_id,) = await one.put(1, queue="pro", user_id="u1", team_id="t1", correlation_id="c1", priority=3)
    (claim,) = await one.claim()
    assert (claim.spec.run_id, claim.lane, claim.data) == (job_id, "Import@1#pro", '{"customer":1}')
    assert (claim.spec.queue, claim.spec.priority, claim.spec.user_id, claim.spec.team_id) == ("pro", 3, "u1", "t1")
    run = await one.runs.get(job_id)
    assert run is not None
    assert (run.queue, run.team_id, run.correlation_id, run.status) == ("pro", "t1", "c1", "running")


async def test_queues_get_starts_in_proportion_to_their_weights(one: JobHands) -> None:
    one.rules = rules(free=QueueRules(weight=1), enterprise=QueueRules(weight=4))
    free, paid = set(await one.put(100, queue="free")), set(await one.put(100, queue="enterprise"))
    first = await one.claimed(50)
    assert (len(free.intersection(first)), len(paid.intersection(first))) == (10, 40)
    one_by_one = [job for _ in range(20) for job in await one.claimed(1)]
    assert (len(free.intersection(one_by_one)), len(paid.intersection(one_by_one))) == (4, 16)


async def test_no_queue_starves_however_much_comes_to_the_others(one: JobHands) -> None:
    one.rules = rules(free=QueueRules(weight=1), enterprise=QueueRules(weight=50))
    (poor,) = await one.put(1, queue="free")
    for _ in range(4):
        await one.put(60, queue="enterprise")
        if poor in await one.claimed(40):
            return
    raise AssertionError("the free queue got nothing of 160 starts")


async def test_a_queue_that_was_empty_is_not_paid_back_its_idle_time(one: JobHands) -> None:
    one.rules = rules(free=QueueRules(weight=1), pro=QueueRules(weight=1), business=QueueRules(weight=1))
    for queue in ("pro", "business"):  # with one alone nobody counts
        await one.put(100, queue=queue)
    await one.claimed(60)
    free = set(await one.put(100, queue="free"))
    assert len(free.intersection(await one.claimed(30))) in (9, 10, 11)


async def test_slots_that_one_queue_does_not_need_go_to_the_others(one: JobHands) -> None:
    one.rules = rules(free=QueueRules(weight=1), enterprise=QueueRules(weight=9))
    await one.put(30, queue="free")
    assert len(await one.claimed(20)) == 20


async def test_work_that_is_in_no_queue_takes_part(one: JobHands) -> None:
    one.rules = rules(free=QueueRules(weight=1))
    await one.put(50, queue="free")
    spec = one.job().pattern.spec.model_copy(update={"run_id": "plain", "job_id": "plain", "queue": None})
    await one.runs.submit(spec, "{}")
    assert "plain" in await one.claimed(5)


async def test_priority_goes_before_age_within_a_queue_and_age_wins_in_the_end(one: JobHands) -> None:
    await one.put(3)
    (urgent,) = await one.put(1, priority=1)
    assert (await one.claimed(1)) == [urgent]
    # A job that has waited for more than a step of priority goes before an urgent one that has just come.
    (old,) = await one.put(1, queue="pro")
    key = one.store.key("ready", "Import@1#pro")
    await one.store.command.zincrby(key, -61_000, old)
    (late,) = await one.put(1, queue="pro", priority=1)
    await one.store.command.delete(one.store.key("ready", "Import@1#free"))
    assert await one.claimed(2) == [old, late]


async def test_equal_jobs_go_in_the_order_in_which_they_came(one: JobHands) -> None:
    ids = await one.put(20)
    assert await one.claimed(20) == ids


async def test_a_queue_has_at_most_so_many_running_over_all_instances(cluster: Cluster, one: JobHands) -> None:
    one.rules = rules(free=QueueRules(max_running=3))
    other = JobHands(cluster.redis, "two", one.rules)
    await one.put(5, queue="free")
    await one.put(5, queue="free", task="Mail")
    claims = await one.claim(2)
    assert len(await other.claim(10)) == 1
    assert (await other.claim(10), other.left, other.blocked) == ([], 0, 7)
    assert await one.settle(claims[0], DONE) == "settled"
    assert len(await other.claim(10)) == 1


async def test_a_job_class_has_at_most_so_many_running_in_whatever_queues(one: JobHands) -> None:
    one.rules = rules(jobs={"Import": {"limit": 2}}, free=QueueRules(), pro=QueueRules())
    await one.put(3, queue="free")
    await one.put(3, queue="pro")
    mails = await one.put(3, queue="pro", task="Mail")
    claims = await one.claim(10)
    assert Counter(claim.spec.name for claim in claims) == {"Import": 2, "Mail": len(mails)}
    assert (one.left, one.blocked) == (0, 4)


async def test_a_rate_lets_so_many_start_and_says_when_the_next_may(one: JobHands) -> None:
    one.rules = rules(free=QueueRules(rate_per_s=5, burst=3))
    await one.put(10, queue="free")
    assert len(await one.claimed(10)) == 3
    now = await one.jobs.now()
    assert now < int(one.next_look) <= now + 400
    more: list[str] = []

    async def claimed() -> bool:
        more.extend(await one.claimed(10))
        return bool(more)

    await wait_until(claimed, "the next token")
    assert len(more) == 1


async def test_what_a_limit_holds_back_is_not_left_for_want_of_slots(one: JobHands) -> None:
    one.rules = rules(free=QueueRules(max_running=1), pro=QueueRules())
    await one.put(3, queue="free")
    await one.put(3, queue="pro")
    assert len(await one.claim(2)) == 2
    assert one.left > 0
    await one.claim(10)
    assert (one.left, one.blocked) == (0, 2)


async def test_of_one_key_so_many_execute_at_a_time(one: JobHands) -> None:
    first, second, third = await one.put(3, limit_key="Import:[7]")
    (other,) = await one.put(1, limit_key="Import:[8]")
    claims = {claim.spec.run_id: claim for claim in await one.claim(10)}
    assert set(claims) == {first, other}
    assert await one.claimed() == []
    await one.settle(claims[first], DONE)
    (claim,) = await one.claim(10)
    assert claim.spec.run_id == second
    await one.settle(claim, Failed("broken"))
    assert await one.claimed() == [third]


async def test_a_retry_that_waits_leaves_the_place_of_its_key_to_the_next(one: JobHands) -> None:
    first, second = await one.put(2, limit_key="k")
    (claim,) = await one.claim(10)
    await one.settle(claim, Retry("no luck", 3600.0))
    assert (await one.status(first), await one.claimed()) == ("retrying", [second])


@pytest.mark.parametrize("outcome", [Released(started=True), Cancelled("why")])
async def test_whoever_gives_up_its_place_lets_the_next_go(one: JobHands, outcome: Released | Cancelled) -> None:
    ids = await one.put(2, limit_key="k")
    (claim,) = await one.claim(10)
    await one.settle(claim, outcome)
    assert len(set(await one.claimed()).intersection(ids)) == 1


async def test_a_job_that_waits_for_its_key_can_be_cancelled(one: JobHands) -> None:
    first, second, third = await one.put(3, limit_key="k", at_once=1)
    (claim,) = await one.claim(10)
    assert await one.runs.cancel([second], "no longer wanted") == {second: "queued"}
    await one.settle(claim, DONE)
    assert claim.spec.run_id == first
    assert await one.claimed() == [third]


async def test_two_may_execute_where_two_are_allowed(one: JobHands) -> None:
    await one.put(4, limit_key="k", at_once=2)
    assert len(await one.claim(10)) == 2
    assert await one.claim(10) == []


async def test_many_that_wait_for_one_key_do_not_hold_up_what_is_behind_them(one: JobHands) -> None:
    await one.put(30, limit_key="k")
    (free,) = await one.put(1)
    claimed = await one.claimed(5)
    for _ in range(10):
        if free in claimed:
            return
        assert one.left > 0, "the tick would not come again at once"
        claimed += await one.claimed(5)
    raise AssertionError("what is behind was never reached")
