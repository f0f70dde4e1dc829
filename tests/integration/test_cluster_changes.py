"""Changes of schedules that have runs, old versions and other changes beside them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from application.scheduling import (
    Injected,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    SchedulePolicy,
    backgroundjob,
)
from cluster import Cluster, Instance
from domain.runs.errors import InvalidData, UnknownVersion
from domain.runs.outcome import Failed, Retry, Succeeded
from domain.runs.run import Claim
from domain.scheduling.schedule import ScheduleCounts, ScheduleInfo
from hands import Hands, schedule
from sample_jobs import Ledger
from support import wait_until


@backgroundjob(task_type="recurrent", name="Note", version=2)
class NewerNote(RecurrentBackgroundJob):
    """A ``Note`` of the next release: it wants to be told how loud it is."""

    label: str = "plain"
    hold: bool = False
    fail: str = ""
    end: bool = False
    loud: bool = False
    ledger: Injected[Ledger]

    async def run_every(self) -> None:
        self.ledger.gate(f"{self.label} {self.loud}").set()


@backgroundjob(task_type="recurrent", name="Note", version=3)
class DemandingNote(RecurrentBackgroundJob):
    """A ``Note`` whose data must name a colour."""

    colour: str
    ledger: Injected[Ledger]

    async def run_every(self) -> None: ...


async def info(instance: Instance, schedule_id: str = "s") -> ScheduleInfo:
    found = await instance.scheduler.get_task_info(schedule_id)
    assert isinstance(found, ScheduleInfo)
    return found


async def test_two_changes_at_once_of_different_fields_both_hold(cluster: Cluster) -> None:
    one, other = await cluster.start(executes=False), await cluster.start(executes=False)
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=60))
    for n in range(1, 11):
        await asyncio.gather(
            one.scheduler.modify("s", {"interval": 60 + n}),
            other.scheduler.modify("s", {"data": {"label": f"{n}"}}),
            other.scheduler.modify("s", {"policy": {"jitter_s": n}}),
            one.scheduler.modify("s", {"policy": {"timeout_s": n}}),
        )
        descriptor = (await info(one)).descriptor
        assert descriptor is not None
        policy = descriptor.policy
        assert (descriptor.interval, descriptor.data["label"]) == (60 + n, f"{n}")
        assert (policy.jitter_s, policy.timeout_s) == (n, n)


async def test_a_change_leaves_the_callers_own_wishes_alone(cluster: Cluster) -> None:
    one = await cluster.start(executes=False)
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=60))
    wishes = {"interval": 30, "policy": {"jitter_s": 2}}
    await one.scheduler.modify("s", wishes)
    assert wishes == {"interval": 30, "policy": {"jitter_s": 2}}


async def test_a_change_after_a_deploy_takes_the_schedule_along_to_the_new_version(cluster: Cluster) -> None:
    old = await cluster.start(executes=False)
    await old.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", data={"label": "x"}, interval=3600))
    new = await cluster.start(jobs=[NewerNote])
    changed = await new.scheduler.modify("s", {"interval": 0.05})
    assert isinstance(changed.info, ScheduleInfo)
    assert changed.info.descriptor is not None
    assert (changed.info.descriptor.version, changed.info.descriptor.data["loud"]) == (2, False)
    await wait_until(lambda: cluster.ledger.gate("x False").is_set())


async def test_a_change_by_an_older_program_takes_nothing_back(cluster: Cluster) -> None:
    new = await cluster.start(executes=False, jobs=[NewerNote])
    await new.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=3600))
    old = await cluster.start(executes=False)
    with pytest.raises(UnknownVersion):
        await old.scheduler.modify("s", {"interval": 60})
    assert (await info(new)).generation == 1


async def test_data_that_the_new_version_refuses_is_told_to_who_changes_the_schedule(cluster: Cluster) -> None:
    old = await cluster.start(executes=False)
    await old.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=3600))
    new = await cluster.start(executes=False, jobs=[DemandingNote])
    with pytest.raises(InvalidData, match="colour"):
        await new.scheduler.modify("s", {"interval": 60})
    changed = await new.scheduler.modify("s", {"interval": 60, "data": {"colour": "red"}})
    assert isinstance(changed.info, ScheduleInfo)
    assert changed.info.descriptor is not None
    assert changed.info.descriptor.version == 3


@pytest.mark.parametrize("outcome", [Succeeded(), Failed("x"), Retry("x", 0.0)])
async def test_a_run_of_a_schedule_that_was_made_anew_since_counts_for_the_old_one(
    hands: tuple[Hands, Hands], outcome: Succeeded | Failed | Retry
) -> None:
    a, b = hands
    await schedule(a, interval=3600)
    await a.instance.scheduler.run_now("s")
    (claim,) = a.claim()
    await b.instance.scheduler.stop_task("s")
    await schedule(b, interval=3600)
    assert a.settle(claim, outcome) == "settled"
    found = await info(b.instance)
    assert (found.counts, found.last_outcome) == (ScheduleCounts(), None)
    assert await b.instance.scheduler.runs("s") == []


async def several(hand: Hands, overlap: str, runs: int) -> list[str]:
    """Schedule what was hourly for many hours, and fill back so many runs."""
    now = datetime.now(UTC)
    policy = SchedulePolicy(overlap=overlap, start=now - timedelta(hours=20))
    await hand.instance.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=3600, policy=policy))
    since = now - timedelta(hours=runs - 0.5)
    return await hand.instance.scheduler.backfill("s", since, now)


def settle(hand: Hands, claims: list[Claim]) -> None:
    for claim in claims:
        assert hand.settle(claim, Succeeded()) == "settled"


async def test_a_lower_overlap_limit_holds_for_what_waits_already(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    made = await several(a, "allow(3)", 8)
    assert len(made) == 8
    first = a.claim()
    assert len(first) == 3
    await a.instance.scheduler.modify("s", {"policy": {"overlap": "skip"}})
    settle(a, first[:2])
    assert a.claim() == []
    settle(a, first[2:])
    for run_id in made[3:]:
        (claim,) = a.claim()
        assert claim.spec.run_id == run_id
        settle(a, [claim])


async def test_a_higher_overlap_limit_lets_what_waits_go_at_once(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    made = await several(a, "skip", 6)
    assert len(a.claim()) == 1
    await a.instance.scheduler.modify("s", {"policy": {"overlap": "allow(4)"}})
    more = a.claim()
    assert [claim.spec.run_id for claim in more] == made[1:4]
    settle(a, more[:1])
    assert [claim.spec.run_id for claim in a.claim()] == made[4:5]


async def test_a_parked_run_is_shown_with_its_reason_and_keeps_its_place_until_somebody_resumes_it(
    hands: tuple[Hands, Hands],
) -> None:
    a, b = hands
    await schedule(a, interval=3600)
    run_id = await a.instance.scheduler.run_now("s")
    assert len(a.claim()) == 1
    b.lapse("Note@1")
    assert b.claim(takeovers=0) == []
    found = await info(b.instance)
    assert found.running == []
    assert list(found.parked_runs) == [run_id]
    assert "owners" in found.parked_runs[run_id]
    listed = (await b.instance.scheduler.list_tasks()).items[0]
    assert isinstance(listed, ScheduleInfo)
    assert listed.parked_runs == found.parked_runs
    a.fire("s@x.1")
    assert (await info(b.instance)).counts.skipped == 1
    await b.instance.scheduler.resume("s")
    assert (await info(b.instance)).parked_runs == {}
    (claim,) = a.claim()
    settle(a, [claim])
    a.fire("s@x.2")
    assert [claim.spec.run_id for claim in a.claim()] == ["s@x.2"]
