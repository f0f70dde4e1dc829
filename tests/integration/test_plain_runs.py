"""A plain fire and a plain success are written as texts, by a short way that means the same as the long one."""

import json
from dataclasses import replace

from cluster import Cluster
from domain.runs.outcome import Succeeded
from domain.runs.run import Claim, RunStatus
from hands import Hands, planned, planned_run, schedule, status
from infrastructure.runs.records import join_spec


def fire(hand: Hands, due: int, schedule_id: str = "s", free: int = 9, rule: str = "", missed: int = 0) -> Claim | None:
    """Commit one fire; return its claim if it became the instance's own."""
    state = hand.client.hget(f"{hand.prefix}states", schedule_id)
    run = planned_run(f"{schedule_id}@{json.loads(state)['incarnation']}.{due}", schedule_id, order=due, missed=missed)
    _, _, (token,) = hand.call("commit", free, 60_000, *planned(schedule_id, state, state, run, rule=rule))
    return Claim(*join_spec(*run[2:]), lane="Note@1", attempt=1, retries=0, token=token) if token else None


def own(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def succeed(hand: Hands, claim: Claim | None) -> str:
    return hand.settle(own(claim), Succeeded("null"))


async def a_schedule_that_succeeded(hand: Hands) -> None:
    """Make one whose counters are all there: from now on a success is plain."""
    await schedule(hand, interval=3600)
    for due in (1, 2):
        assert succeed(hand, fire(hand, due)) == "settled"
    assert stats(hand).startswith('{"incarnation":')
    assert '"fired":2,"succeeded":2,"last_fire":2,"last_ended":' in stats(hand)


def stats(hand: Hands) -> str:
    return str(hand.client.hget(f"{hand.prefix}stats", "s"))


async def test_it_takes_a_free_slot_and_overtakes_nothing(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, "s1", interval=3600)
    await schedule(a, "s2", interval=3600)
    assert fire(a, 5, "s1", free=0) is None
    assert fire(a, 5, "s2", free=9) is None
    assert [claim.spec.job_id for claim in a.claim()] == ["s1", "s2"]


async def test_nothing_fires_beside_a_run_that_is_out(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    own(fire(a, 3))
    assert fire(a, 4) is None
    assert [
        event["why"] for event in await cluster.events("schedule") if event["topic"] == "schedule.fire_skipped"
    ] == ["overlap"]


async def test_only_the_token_of_the_claim_settles_it(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    claim = own(fire(a, 3))
    assert succeed(a, replace(claim, token="1")) == "lost"
    assert await status(a, claim.spec.run_id) is RunStatus.RUNNING
    assert succeed(a, claim) == "settled"
    assert succeed(a, claim) == "lost"


async def test_nothing_is_left_of_it_but_its_history(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    succeed(a, fire(a, 3))
    for key in ("open", "runs", "payloads", "leases:Note@1", "active:s", "parked"):
        assert not a.client.exists(f"{a.prefix}{key}"), key
    assert len(await a.instance.scheduler.runs("s")) == 3


async def test_who_waits_behind_it_goes(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    claim = own(fire(a, 3))
    assert fire(a, 4, rule="queue_one 1 1") is None
    assert a.claim() == []
    assert succeed(a, claim) == "settled"
    (following,) = a.claim()
    assert following.spec.run_id.endswith(".4")


async def test_the_last_fire_is_the_latest_and_not_the_one_that_ended_last(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    for due in (20, 10):
        succeed(a, fire(a, due))
    counted = json.loads(stats(a))
    assert (counted["last_fire"], counted["fired"], counted["succeeded"]) == (20, 4, 4)


async def test_a_run_of_an_older_schedule_is_not_counted(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    claim = own(fire(a, 3))
    known = json.loads(stats(a))
    newer = json.dumps({**known, "incarnation": "z" * len(known["incarnation"])}, separators=(",", ":"))
    a.client.hset(f"{a.prefix}stats", "s", newer)
    assert succeed(a, claim) == "settled"
    assert stats(a) == newer


async def test_what_else_is_counted_stays(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    a.client.hset(f"{a.prefix}stats", "s", stats(a)[:-1] + ',"missed":7,"last_error":"no \\"luck\\""}')
    succeed(a, fire(a, 3))
    counted = json.loads(stats(a))
    assert (counted["fired"], counted["missed"], counted["last_error"]) == (3, 7, 'no "luck"')


async def test_both_ways_tell_and_keep_the_same(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    succeed(a, fire(a, 3))
    succeed(a, fire(a, 4, rule="skip 1 999"))  # by the long way
    by_run: dict[str, list[object]] = {}
    for event in await cluster.events("job"):
        by_run.setdefault(event["run_id"], []).append((event["topic"], sorted(event)))
    assert len({json.dumps(told) for told in by_run.values()}) == 1
    history = [json.loads(text) for text in a.client.lrange(f"{a.prefix}history:s", 0, -1)]
    assert len({tuple(sorted(entry)) for entry in history}) == 1
    assert {entry["instance"] for entry in history} == {a.id}


async def test_a_late_fire_tells_counts_and_keeps_the_same_either_way(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    counted = []
    for due, rule in ((3, ""), (4, "skip 1 999"), (5, ""), (6, "skip 1 999")):
        claim = own(fire(a, due, rule=rule, missed=due))
        assert await status(a, claim.spec.run_id) is RunStatus.RUNNING
        assert succeed(a, claim) == "settled"
        counted.append(json.loads(stats(a))["missed"])
    assert counted == [3, 7, 12, 18]
    assert json.loads(stats(a))["succeeded"] == 6
    started = [event for event in await cluster.events("job", "job.started") if "missed" in event]
    assert [(event["missed"], event["attempt"]) for event in started] == [(3, 1), (4, 1), (5, 1), (6, 1)]
    assert len({tuple(sorted(event)) for event in started}) == 1


async def test_what_was_missed_by_a_schedule_without_counters_is_counted(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, interval=3600)
    own(fire(a, 3, missed=2))
    assert json.loads(stats(a))["missed"] == 2


async def test_what_an_older_schedule_missed_is_not_counted_as_the_newer_ones(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    newer = {**json.loads(stats(a)), "incarnation": "z" * 99, "missed": 1}
    a.client.hset(f"{a.prefix}stats", "s", json.dumps(newer, separators=(",", ":")))
    own(fire(a, 3, missed=2))
    assert json.loads(stats(a)) == newer


async def test_a_late_fire_that_finds_no_slot_waits_with_what_it_stands_for(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    assert fire(a, 3, free=0, missed=2) is None
    (queued,) = await cluster.events("job", "job.queued")
    assert queued["missed"] == 2
    assert json.loads(stats(a))["missed"] == 2
    (claim,) = a.claim()
    assert claim.spec.run_id.endswith(".3")


async def test_an_error_that_looks_like_a_counter_is_none(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await a_schedule_that_succeeded(a)
    error = json.dumps(',"missed":5')
    a.client.hset(f"{a.prefix}stats", "s", f'{stats(a)[:-1]},"last_error":{error}}}')
    own(fire(a, 3, missed=2))
    counted = json.loads(stats(a))
    assert (counted["missed"], counted["last_error"]) == (2, ',"missed":5')
