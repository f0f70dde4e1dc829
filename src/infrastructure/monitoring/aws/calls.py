"""The calls to one region in one account, within AWS's limits."""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from domain.monitoring.sample import CheckStatus
from infrastructure.monitoring.aws.connections import AwsConnections
from infrastructure.monitoring.aws.seen import Checks, Instance
from infrastructure.monitoring.aws.trouble import AwsTrouble, Kind

IDS_A_FILTER = 200
"""Values that a filter of DescribeInstances takes."""
IDS_A_STATUS_CALL = 100
INSTANCES_A_PAGE = 1_000
MOST_PAGES = 1_000
"""Where a service would page for ever, somebody is told."""

T = TypeVar("T")


async def all_of(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what all give; when one fails, cancel the rest and raise its error alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to ``size`` items."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


class RegionCalls:
    """One region in one account. Every method raises ``AwsTrouble``."""

    def __init__(self, connections: AwsConnections, account: str, region: str) -> None:
        self.account = account
        self.region = region
        self._connections = connections

    async def describe(self, ids: Collection[str]) -> dict[str, Instance]:
        """Return those of the instances that EC2 has.

        They are asked for with a filter: asked for by id, one that is unknown makes the whole call fail.
        """
        parts = in_parts(sorted(ids), IDS_A_FILTER)
        found = await all_of(self._all([{"Name": "instance-id", "Values": part}]) for part in parts)
        return {instance.id: instance for some in found for instance in some}

    async def find(self, filters: Sequence[dict[str, Any]]) -> AsyncIterator[list[Instance]]:
        """Yield all instances that the filters let through, a page at a time."""
        async for page in self._pages("ec2", "describe_instances", Filters=list(filters), MaxResults=INSTANCES_A_PAGE):
            reserved = page.get("Reservations", [])
            yield [_instance(one) for reservation in reserved for one in reservation.get("Instances", [])]

    async def checks(self, ids: Collection[str]) -> dict[str, Checks]:
        """Return the status checks of those instances that EC2 has."""
        found = await all_of(self._checks(part) for part in in_parts(sorted(ids), IDS_A_STATUS_CALL))
        return {name: checks for some in found for name, checks in some.items()}

    async def metric_data(self, queries: Sequence[dict[str, Any]], start: int, end: int) -> list[dict[str, Any]]:
        """Return the results of up to 500 queries over one window, the pages of one query one after the other."""
        asked = {"MetricDataQueries": list(queries), "StartTime": start, "EndTime": end}
        pages = self._pages("cloudwatch", "get_metric_data", ScanBy="TimestampDescending", **asked)
        return [result async for page in pages for result in page.get("MetricDataResults", [])]

    async def metrics(self, namespace: str, name: str) -> AsyncIterator[list[dict[str, str]]]:
        """Yield the dimensions of every series of a metric that had values lately, a page at a time."""
        async for page in self._pages(
            "cloudwatch", "list_metrics", Namespace=namespace, MetricName=name, RecentlyActive="PT3H"
        ):
            yield [{one["Name"]: one["Value"] for one in metric["Dimensions"]} for metric in page.get("Metrics", [])]

    async def _all(self, filters: Sequence[dict[str, Any]]) -> list[Instance]:
        return [instance async for page in self.find(filters) for instance in page]

    async def _checks(self, ids: Sequence[str]) -> dict[str, Checks]:
        """Ask for up to 100; those that EC2 does not know (any more, or yet) are left out and the rest asked again."""
        if not ids:
            return {}
        try:
            pages = self._pages("ec2", "describe_instance_status", InstanceIds=list(ids), IncludeAllInstances=True)
            found = [one async for page in pages for one in page.get("InstanceStatuses", [])]
        except AwsTrouble as trouble:
            if trouble.kind is not Kind.UNKNOWN_INSTANCE:
                raise
            return await self._checks_without(ids, trouble)
        return {one["InstanceId"]: _checks(one) for one in found}

    async def _checks_without(self, ids: Sequence[str], trouble: AwsTrouble) -> dict[str, Checks]:
        known = [name for name in ids if name not in trouble.names]
        if len(known) < len(ids):
            return await self._checks(known)
        if len(ids) == 1:
            return {}
        # The message named none of them: the halves find out which it is.
        middle = len(ids) // 2
        return {**await self._checks(ids[:middle]), **await self._checks(ids[middle:])}

    async def _pages(self, service: str, operation: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        for _ in range(MOST_PAGES):
            page = await self._connections.call(self.account, self.region, service, operation, **arguments)
            yield page
            token = page.get("NextToken")
            if not token:
                return
            arguments["NextToken"] = token
        raise AwsTrouble(Kind.REFUSED, f"{operation} has more than {MOST_PAGES} pages in {self.region}")


def _instance(found: dict[str, Any]) -> Instance:
    return Instance(
        id=found["InstanceId"],
        state=found["State"]["Name"],
        kind=found.get("InstanceType", ""),
        zone=found.get("Placement", {}).get("AvailabilityZone", ""),
        launched_at=found.get("LaunchTime"),
        is_detailed=found.get("Monitoring", {}).get("State") in ("enabled", "pending"),
        tags={tag["Key"]: tag.get("Value", "") for tag in found.get("Tags", [])},
    )


def _checks(found: dict[str, Any]) -> Checks:
    return Checks(
        system=_status(found.get("SystemStatus")),
        instance=_status(found.get("InstanceStatus")),
        attached_ebs=_status(found.get("AttachedEbsStatus")),
    )


def _status(found: dict[str, Any] | None) -> CheckStatus:
    """Return EC2's word as ours; one that is new to us is no verdict."""
    word = (found or {}).get("Status", "not-applicable").replace("-", "_")
    return CheckStatus(word) if word in set(CheckStatus) else CheckStatus.INSUFFICIENT_DATA
