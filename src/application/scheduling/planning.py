"""Plan what a due schedule does: pure, bounded, never one step per missed fire."""

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from application.scheduling.combined import BothTimes
from application.scheduling.moments import milliseconds
from application.scheduling.triggers import IntervalTrigger, Trigger
from domain.runs.run import RunReason
from domain.scheduling.policy import SchedulePolicy

COUNT_LIMIT = 1000
"""Missed fires of a cron line are counted one by one up to here; beyond it "at least so many"."""


@dataclass(slots=True)  # not frozen, nor is the plan: one is made for each fire, and freezing costs three times as much
class PlannedRun:
    """A run to make: its nominal due time (ms) and how many earlier fires it stands for."""

    due: int
    missed: int
    reason: RunReason


@dataclass(slots=True)
class Plan:
    """What to commit. ``dropped`` fires get no run; ``next_due`` is None when the schedule has ended.

    It is None too when the search for the next fire was given up at ``gave_up_at``: then the schedule is to be parked.
    """

    runs: tuple[PlannedRun, ...]
    dropped: int
    next_due: int | None
    gave_up_at: int | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """The fires that are due: the latest in order, as many as catch-up wants, and how many there were at least."""

    latest: tuple[int, ...]
    count: int


def jitter_ms(schedule_id: str, due: int, policy: SchedulePolicy) -> int:
    """Return by how much this fire is late on purpose: decided by schedule and due time alone, so it never drifts."""
    if not policy.jitter_s:
        return 0
    digest = hashlib.blake2b(f"{schedule_id}@{due}".encode(), digest_size=8).digest()
    return int(policy.jitter_s * 1000 * int.from_bytes(digest, "big") / 2**64)


def look_at(schedule_id: str, due: int, policy: SchedulePolicy) -> int:
    """Return when (ms) a schedule that is next due at ``due`` is to be taken."""
    return due + jitter_ms(schedule_id, due, policy)


def first_due(trigger: Trigger, policy: SchedulePolicy, now: int) -> int | None:
    """Return the first due time of a new schedule, or None when it would never fire."""
    after = now
    if policy.start is not None:
        after = max(now, milliseconds(policy.start) - 1)
    return _bounded(trigger.next_after(after), policy)


def plan(schedule_id: str, trigger: Trigger, policy: SchedulePolicy, due: int, now: int, on_time_ms: int) -> Plan:
    """Decide about the fires from ``due`` to ``now``; under catch-up ``none``, up to ``on_time_ms`` late is in time."""
    planned = _plan(schedule_id, trigger, policy, due, now, on_time_ms)
    if planned.next_due is None and isinstance(trigger, BothTimes) and trigger.gave_up_at is not None:
        return replace(planned, gave_up_at=_bounded(trigger.gave_up_at, policy))
    return planned


def _plan(schedule_id: str, trigger: Trigger, policy: SchedulePolicy, due: int, now: int, on_time_ms: int) -> Plan:
    if look_at(schedule_id, due, policy) > now:
        return Plan((), 0, due)
    following = trigger.next_after(due)
    if following is not None and following > now:  # one fire, in time: what nearly always is
        if policy.catch_up == "none" and now - look_at(schedule_id, due, policy) > on_time_ms:
            return Plan((), 1, _bounded(following, policy))
        return Plan((PlannedRun(due, 0, RunReason.FIRE),), 0, _bounded(following, policy))
    late = _late(schedule_id, trigger, policy, due, now)
    following = _bounded(trigger.next_after(late.latest[-1]), policy)
    limit = policy.catch_up_limit
    if limit == 0:
        in_time = now - look_at(schedule_id, late.latest[-1], policy) <= on_time_ms
        if not in_time:
            return Plan((), late.count, following)
        return Plan((PlannedRun(late.latest[-1], 0, RunReason.FIRE),), late.count - 1, following)
    if limit == 1 and policy.catch_up == "one":
        return Plan((PlannedRun(late.latest[-1], late.count - 1, RunReason.FIRE),), 0, following)
    return Plan(_all(late), max(late.count - limit, 0), following)


def late_fires(schedule_id: str, trigger: Trigger, policy: SchedulePolicy, due: int, now: int) -> int:
    """Return how many fires from ``due`` on should have been taken by ``now``; of a cron line some thousand at most."""
    return 0 if look_at(schedule_id, due, policy) > now else _late(schedule_id, trigger, policy, due, now).count


def _all(late: Late) -> tuple[PlannedRun, ...]:
    """Return a run for each of the latest fires; those before the last are caught up in order, one at a time."""
    *before, last = late.latest
    return (*(PlannedRun(due, 0, RunReason.CATCH_UP) for due in before), PlannedRun(last, 0, RunReason.FIRE))


def _late(schedule_id: str, trigger: Trigger, policy: SchedulePolicy, due: int, now: int) -> Late:
    """Return what is due by ``now``, ``due`` included. What jitter still holds back, and all after it, is not."""
    end = now if policy.end is None else min(now, milliseconds(policy.end))
    sure = max(due, end - round(policy.jitter_s * 1000))
    late = _between(trigger, due, sure, policy.catch_up_limit)
    latest, count = deque(late.latest, maxlen=max(policy.catch_up_limit, 1)), late.count
    for fire in islice(_fires(trigger, latest[-1], end), COUNT_LIMIT):
        if look_at(schedule_id, fire, policy) > now:
            break
        latest.append(fire)
        count += 1
    return Late(tuple(latest), count)


def _between(trigger: Trigger, first: int, until: int, wanted: int) -> Late:
    """Return the last ``wanted`` fires in [first, until] and their count; ``first`` is a fire."""
    wanted = max(wanted, 1)
    if isinstance(trigger, IntervalTrigger):
        count = (until - first) // trigger.interval_ms + 1
        last = first + (count - 1) * trigger.interval_ms
        return Late(tuple(last - i * trigger.interval_ms for i in reversed(range(min(wanted, count)))), count)
    fires = [first, *islice(_fires(trigger, first, until), COUNT_LIMIT)]
    if len(fires) <= COUNT_LIMIT:
        return Late(tuple(fires[-wanted:]), len(fires))
    return Late(_last(trigger, first, until, wanted), len(fires))


def _last(trigger: Trigger, first: int, until: int, wanted: int) -> tuple[int, ...]:
    """Find the last ``wanted`` of more than ``COUNT_LIMIT`` fires by bisection for a window that is not too full.

    The window may hold a thousand fires more than are wanted: so doubling it seldom goes too far.
    """
    full, empty, start = first, until, until - 60_000
    fires: list[int] = []
    while empty - full > 1:
        fires = list(islice(_fires(trigger, start, until), COUNT_LIMIT + wanted + 1))
        if len(fires) > COUNT_LIMIT + wanted:
            full = start
            start = (start + empty) // 2
        elif len(fires) < wanted:
            empty = start
            start = max(until - 2 * (until - start), (full + start) // 2)
        else:
            break
    return tuple(fires[-wanted:])


def _fires(trigger: Trigger, after: int, until: int) -> Iterator[int]:
    fire = trigger.next_after(after)
    while fire is not None and fire <= until:
        yield fire
        fire = trigger.next_after(fire)


def _bounded(due: int | None, policy: SchedulePolicy) -> int | None:
    if due is None or (policy.end is not None and due > milliseconds(policy.end)):
        return None
    return due
