"""Read CloudWatch: 500 metrics a call, one window a call, closed periods only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infrastructure.monitoring.aws.agent import DISK, MEMORY, NAMESPACE, AgentSeries, Dimensions
from infrastructure.monitoring.aws.buckets import closed_end, is_closed, window
from infrastructure.monitoring.aws.calls import RegionCalls, all_of, in_parts
from infrastructure.monitoring.aws.seen import Instance, Values
from infrastructure.monitoring.aws.trouble import AwsTrouble, scrub

QUERIES_A_CALL = 500
EC2 = "AWS/EC2"
NOT_YET = "CloudWatch has no value of this instance for the last periods"
NO_AGENT = "the CloudWatch agent is not installed or reports other dimensions"
NO_DISKS = "the CloudWatch agent reports no file system of this instance, or its file systems are not read"
SILENT_AGENT = "the CloudWatch agent sent no value in this period"

FROM_EC2 = {
    "cpu_utilization": ("CPUUtilization", "Average", 0.01),
    "network_rx_bytes_per_s": ("NetworkIn", "Sum", None),
    "network_tx_bytes_per_s": ("NetworkOut", "Sum", None),
}
"""Field → metric, statistic, and what a value is multiplied by; None: divided by the seconds of its period."""
PERCENT = 0.01


@dataclass(frozen=True)
class Query:
    """One metric of one instance, for its period; ``mount`` for a file system."""

    instance: Instance
    field: str
    namespace: str
    metric: str
    dimensions: Dimensions
    statistic: str
    factor: float
    mount: str = ""

    def request(self, number: int) -> dict[str, Any]:
        """Return it as GetMetricData wants it."""
        dimensions = [{"Name": name, "Value": value} for name, value in sorted(self.dimensions.items())]
        metric = {"Namespace": self.namespace, "MetricName": self.metric, "Dimensions": dimensions}
        stat = {"Metric": metric, "Period": self.instance.period_s, "Stat": self.statistic}
        return {"Id": f"q{number}", "MetricStat": stat, "ReturnData": True}


@dataclass
class Result:
    """The values of one query by the end of their period, and why there are none."""

    values: dict[int, float]
    why: str = ""


class MetricReader:
    """The metrics of the instances of one region."""

    def __init__(self, calls: RegionCalls, delay_s: float) -> None:
        self._calls = calls
        self._delay_s = delay_s

    def end_for(self, instance: Instance, now: datetime) -> int:
        """Return the end of the newest closed period of an instance."""
        return closed_end(now, instance.period_s, self._delay_s)

    async def read(
        self, instances: Sequence[Instance], agents: Mapping[str, AgentSeries], why_no_agents: str | None, now: datetime
    ) -> dict[str, Values]:
        """Return the newest closed period of each that has values, and null with a reason for what has none.

        A call that fails costs its own metrics alone.
        """
        queries = [query for one in instances for query in _queries(one, agents.get(one.id))]
        # Those of one length together, so that few calls need a window for both.
        queries.sort(key=lambda query: query.instance.period_s)
        results = [
            found
            for part in await all_of(self._call(part, now) for part in in_parts(queries, QUERIES_A_CALL))
            for found in part
        ]
        by_instance: dict[str, list[tuple[Query, Result]]] = {}
        for query, result in results:
            by_instance.setdefault(query.instance.id, []).append((query, result))
        without = f"the CloudWatch agents are not known: {why_no_agents}" if why_no_agents else NO_AGENT
        return {one.id: self._values(one, by_instance[one.id], without, now) for one in instances}

    async def _call(self, queries: Sequence[Query], now: datetime) -> list[tuple[Query, Result]]:
        start, end = window(now, {query.instance.period_s for query in queries}, self._delay_s)
        requests = [query.request(number) for number, query in enumerate(queries)]
        try:
            answers = await self._calls.metric_data(requests, start, end)
        except AwsTrouble as trouble:
            return [(query, Result({}, trouble.why)) for query in queries]
        results = [Result({}) for _ in queries]
        for answer in answers:
            number = int(answer["Id"].removeprefix("q"))
            self._add(results[number], answer, queries[number].instance, now)
        return list(zip(queries, results, strict=True))

    def _add(self, result: Result, answer: Mapping[str, Any], instance: Instance, now: datetime) -> None:
        """Add one page of a query's values. What lies in a period that is still open is no value yet."""
        end = self.end_for(instance, now)
        for start, value in zip(answer.get("Timestamps", []), answer.get("Values", []), strict=False):
            if is_closed(start, instance.period_s, end):
                result.values[round(start.timestamp()) + instance.period_s] = float(value)
        result.why = _told(answer)

    def _values(
        self, instance: Instance, results: Sequence[tuple[Query, Result]], without: str, now: datetime
    ) -> Values:
        asked_end = self.end_for(instance, now)
        # All values of a sample are of one period: the newest that has the instance's own, or else any.
        ends = [max(result.values) for query, result in results if result.values and query.namespace == EC2]
        ends = ends or [max(result.values) for _, result in results if result.values]
        end = max(ends, default=asked_end)
        metrics: dict[str, float] = {}
        mounts: dict[str, float] = {}
        missing = {"memory_utilization": without, "filesystems": NO_DISKS if without == NO_AGENT else without}
        for query, result in results:
            value = result.values.get(end)
            if value is None:
                name = f"filesystems.{query.mount}" if query.mount else query.field
                missing[name] = result.why or (NOT_YET if query.namespace == EC2 else SILENT_AGENT)
            elif query.mount:
                mounts[query.mount] = min(max(value * query.factor, 0.0), 1.0)
            else:
                metrics[query.field] = max(value * query.factor, 0.0)
        return Values(
            end=end,
            period_s=instance.period_s,
            asked_end=asked_end,
            asked_at=now,
            metrics=metrics,
            filesystems=mounts,
            missing={name: why for name, why in missing.items() if name not in metrics},
            is_empty=not ends,
        )


def without_values(instance: Instance, now: datetime, delay_s: float, why: str) -> Values:
    """Return the newest closed period of an instance that has no values, as it does not run."""
    end = closed_end(now, instance.period_s, delay_s)
    missing = dict.fromkeys((*FROM_EC2, "memory_utilization", "filesystems"), why)
    return Values(
        end=end, period_s=instance.period_s, asked_end=end, asked_at=now.astimezone(UTC), missing=missing, is_empty=True
    )


def _queries(instance: Instance, agent: AgentSeries | None) -> Iterable[Query]:
    own = {"InstanceId": instance.id}
    for field, (metric, statistic, factor) in FROM_EC2.items():
        yield Query(instance, field, EC2, metric, own, statistic, factor or 1 / instance.period_s)
    if agent is None:
        return
    if agent.memory is not None:
        yield Query(instance, "memory_utilization", NAMESPACE, MEMORY, agent.memory, "Average", PERCENT)
    for mount, dimensions in agent.filesystems.items():
        yield Query(instance, "filesystems", NAMESPACE, DISK, dimensions, "Average", PERCENT, mount)


def _told(answer: Mapping[str, Any]) -> str:
    """Return why a query has no or not all values, as CloudWatch says it."""
    status = answer.get("StatusCode", "Complete")
    said = "; ".join(scrub(str(message.get("Value", ""))) for message in answer.get("Messages", []))
    words = {
        "Forbidden": "CloudWatch may not show this metric: the permission cloudwatch:GetMetricData is missing",
        "InternalError": "CloudWatch had an error of its own with this metric",
        "PartialData": "CloudWatch returned a part of its data, and not this",
    }
    why = words.get(status, "")
    return f"{why}: {said}" if why and said else why or said
