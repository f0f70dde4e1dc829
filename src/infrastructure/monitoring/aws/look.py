"""One look at the instances of a region: describe them, check them, measure them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from infrastructure.monitoring.aws.agent import Agents
from infrastructure.monitoring.aws.calls import RegionCalls
from infrastructure.monitoring.aws.metrics import MetricReader, without_values
from infrastructure.monitoring.aws.seen import Checks, Instance, Seen, Values
from infrastructure.monitoring.aws.trouble import AwsTrouble

ASK_AGAIN_S = 60.0
"""A period of which CloudWatch had nothing yet is asked for again after this: each question is paid for."""


class RegionLook:
    """Look at many instances with few calls."""

    def __init__(self, calls: RegionCalls, agents: Agents, delay_s: float) -> None:
        self._calls = calls
        self._agents = agents
        self._delay_s = delay_s
        self._reader = MetricReader(calls, delay_s)

    async def at(self, before: Mapping[str, Seen | None], now: datetime) -> dict[str, Seen]:
        """Return what is seen of each instance, with what was seen of it before at hand.

        Raises ``AwsTrouble`` when the instances cannot be described. Checks or metrics that cannot be had are null,
        with the reason.
        """
        found = await self._calls.describe(before)
        checks, why = await self._checks([one.id for one in found.values() if one.state != "terminated"])
        values = await self._values(found, before, now)
        return {
            name: Seen(
                at=now,
                instance=found[name],
                checks=checks.get(name),
                checks_missing="" if name in checks else why,
                values=values[name],
            )
            if name in found
            else Seen.absent(before[name], now)
            for name in before
        }

    async def stop(self) -> None:
        """End what goes on between two looks."""
        await self._agents.stop()

    async def _checks(self, ids: Sequence[str]) -> tuple[dict[str, Checks], str]:
        try:
            return await self._calls.checks(ids), "EC2 tells no status of this instance now"
        except AwsTrouble as trouble:
            return {}, trouble.why

    async def _values(
        self, found: Mapping[str, Instance], before: Mapping[str, Seen | None], now: datetime
    ) -> dict[str, Values]:
        values: dict[str, Values] = {}
        to_read = []
        for name, instance in found.items():
            known = _still_true(instance, before[name], self._reader.end_for(instance, now), now)
            if instance.state != "running":
                why = f"the instance is {instance.state}, and CloudWatch has values of running ones"
                values[name] = without_values(instance, now, self._delay_s, why)
            elif known is not None:
                values[name] = known
            else:
                to_read.append(instance)
        if to_read:
            agents, why_not = await self._agents.of([one.id for one in to_read], now)
            values |= await self._reader.read(to_read, agents, why_not, now)
        return values


def _still_true(instance: Instance, before: Seen | None, end: int, now: datetime) -> Values | None:
    """Return values that need not be asked for, and paid for, again: those of the newest closed period."""
    known = before.values if before else None
    if known is None or before is None or before.instance is None or before.instance.state != "running":
        return None
    if known.period_s != instance.period_s or known.asked_end != end:
        return None
    is_whole = known.end == end and not known.is_empty
    return known if is_whole or (now - known.asked_at).total_seconds() < ASK_AGAIN_S else None
