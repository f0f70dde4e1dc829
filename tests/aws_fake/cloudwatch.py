"""CloudWatch's part of the stand-in: GetMetricData and ListMetrics, with periods, limits and pages."""

from datetime import UTC, datetime
from xml.sax.saxutils import escape

from aws_fake.fleet import OPEN_PERIOD_CPU, FakeInstance, Fault, Fleet
from aws_fake.query import Refusal

MOST_QUERIES = 500
METRICS_A_PAGE = 500
BASIC_S = 300
DETAILED_S = 60


def get_metric_data(fleet: Fleet, region: str, form: dict[str, str], fault: Fault | None) -> str:
    """Answer GetMetricData."""
    queries = _queries(form)
    if not 1 <= len(queries) <= MOST_QUERIES:
        raise Refusal(
            "ValidationError", f"The collection MetricDataQueries must not have a size greater than {MOST_QUERIES}"
        )
    if len({query["Id"] for query in queries}) < len(queries):
        raise Refusal("ValidationError", "The values for parameter id in MetricDataQueries are not unique")
    start, end = _seconds(form["StartTime"]), _seconds(form["EndTime"])
    if start >= end:
        raise Refusal("ValidationError", "The parameter StartTime must be less than the parameter EndTime")
    first = int(form.get("NextToken", "0"))
    if not first:
        fleet.queries += len(queries)
    last = first + min(fleet.page, MOST_QUERIES)
    has = fleet.regions.get(region, {})
    results = "".join(_result(fleet, has, query, start, end, fault) for query in queries[first:last])
    token = f"<NextToken>{last}</NextToken>" if last < len(queries) else ""
    return f"<MetricDataResults>{results}</MetricDataResults>{token}"


def list_metrics(fleet: Fleet, region: str, form: dict[str, str]) -> str:
    """Answer ListMetrics for the metrics of the agent."""
    if form.get("RecentlyActive", "PT3H") != "PT3H":
        raise Refusal("InvalidParameterValue", "RecentlyActive must be PT3H")
    name = form.get("MetricName", "")
    first = int(form.get("NextToken", "0"))
    if not first:  # the pages that follow are of the same list
        fleet.listed[region, name] = [
            dimensions
            for one in fleet.regions.get(region, {}).values()
            for dimensions in _agent_dimensions(one)
            if ("path" in dimensions) is (name == "disk_used_percent")
        ]
    found = fleet.listed.get((region, name), [])
    last = first + min(METRICS_A_PAGE, fleet.page)
    items = "".join(_metric(form.get("Namespace", ""), name, dimensions) for dimensions in found[first:last])
    token = f"<NextToken>{last}</NextToken>" if last < len(found) else ""
    return f"<Metrics>{items}</Metrics>{token}"


def _queries(form: dict[str, str]) -> list[dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for name, value in form.items():
        if name.startswith("MetricDataQueries.member."):
            number, _, rest = name[len("MetricDataQueries.member.") :].partition(".")
            found.setdefault(int(number), {})[rest] = value
    return [found[number] for number in sorted(found)]


def _dimensions(query: dict[str, str]) -> dict[str, str]:
    found = {}
    number = 1
    while (name := query.get(f"MetricStat.Metric.Dimensions.member.{number}.Name")) is not None:
        found[name] = query[f"MetricStat.Metric.Dimensions.member.{number}.Value"]
        number += 1
    return found


def _result(
    fleet: Fleet, has: dict[str, FakeInstance], query: dict[str, str], start: float, end: float, fault: Fault | None
) -> str:
    period = int(query["MetricStat.Period"])
    if period % 60:
        raise Refusal("ValidationError", "The parameter Period must be a multiple of 60")
    if fault is not None:
        status = {"partial": "PartialData", "internal": "InternalError"}[fault.kind]
        said = f"<member><Code>{status}</Code><Value>{escape(fault.message)}</Value></member>" if fault.message else ""
        return f"<member><Id>{query['Id']}</Id><StatusCode>{status}</StatusCode><Messages>{said}</Messages></member>"
    dimensions = _dimensions(query)
    one = has.get(dimensions.get("InstanceId", ""))
    points = [] if one is None else _points(fleet, one, query, dimensions, period, start, end)
    times = "".join(f"<member>{_text(at)}</member>" for at, _ in points)
    values = "".join(f"<member>{value}</member>" for _, value in points)
    return (
        f"<member><Id>{query['Id']}</Id><Label>x</Label><Timestamps>{times}</Timestamps><Values>{values}</Values>"
        "<StatusCode>Complete</StatusCode></member>"
    )


def _points(
    fleet: Fleet,
    one: FakeInstance,
    query: dict[str, str],
    dimensions: dict[str, str],
    period: int,
    start: float,
    end: float,
) -> list[tuple[float, float]]:
    """Return the values of the periods that begin in the window, the newest first."""
    value = _value(one, query, dimensions, period)
    if value is None or one.state != "running":
        return []
    is_agent = query["MetricStat.Metric.Namespace"] == "CWAgent"
    native = DETAILED_S if one.is_detailed or is_agent else BASIC_S
    step = max(period, native)  # with basic monitoring there is one value in five minutes, however it is asked
    at = (end - 1) // step * step
    points = []
    while at >= start // step * step:
        is_right = at + step + fleet.lag_s <= fleet.now
        if at >= one.launched_at and at < fleet.now:
            points.append((at, value if is_right else OPEN_PERIOD_CPU))
        at -= step
    return points


def _value(one: FakeInstance, query: dict[str, str], dimensions: dict[str, str], period: int) -> float | None:
    """Return what a metric has in each period; None where no series has exactly these dimensions."""
    metric, statistic = query["MetricStat.Metric.MetricName"], query["MetricStat.Stat"]
    if query["MetricStat.Metric.Namespace"] == "CWAgent":
        if dimensions not in _agent_dimensions(one) or statistic != "Average":
            return None
        return one.memory if metric == "mem_used_percent" else one.disks.get(dimensions.get("path", ""))
    if dimensions != {"InstanceId": one.id} or not one.has_metrics:
        return None
    sums = {"NetworkIn": one.bytes_in, "NetworkOut": one.bytes_in / 2}
    if metric in sums:
        return sums[metric] * period / 60 if statistic == "Sum" else None
    return one.cpu if metric == "CPUUtilization" and statistic == "Average" else None


def _agent_dimensions(one: FakeInstance) -> list[dict[str, str]]:
    own = {"InstanceId": one.id, **one.agent_dimensions}
    found = [own] if one.memory is not None else []
    found += [{**own, "path": "/run", "device": "tmpfs", "fstype": "tmpfs"}] if one.disks else []
    return found + [{**own, "path": mount, "device": "nvme0n1p1", "fstype": "xfs"} for mount in one.disks]


def _metric(namespace: str, name: str, dimensions: dict[str, str]) -> str:
    items = "".join(
        f"<member><Name>{escape(key)}</Name><Value>{escape(value)}</Value></member>"
        for key, value in dimensions.items()
    )
    return (
        f"<member><Namespace>{escape(namespace)}</Namespace><MetricName>{escape(name)}</MetricName>"
        f"<Dimensions>{items}</Dimensions></member>"
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
