"""EC2's part of the stand-in: DescribeInstances and DescribeInstanceStatus, as strict as EC2."""

import fnmatch
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from aws_fake.fleet import FakeInstance, Fleet
from aws_fake.query import Refusal, numbered

MOST_IDS = 100
MOST_FILTER_VALUES = 200
LEAST_RESULTS = 5
MOST_RESULTS = 1_000
CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


def describe_instances(fleet: Fleet, region: str, form: dict[str, str]) -> str:
    """Answer DescribeInstances."""
    ids, size = numbered(form, "InstanceId"), _page_size(form)
    if ids and size:
        raise Refusal("InvalidParameterCombination", "The parameter instancesSet cannot be used with maxResults")
    has = fleet.visible(region)
    _refuse_unknown(fleet, ids, has)
    filters = _filters(form)
    names = ids or filters.get("instance-id")
    some = has.values() if names is None else [has[name] for name in names if name in has]
    found = [one for one in some if _passes(one, filters)]
    page, token = _page(fleet, found, form, size)
    items = "".join(_reservation(one) for one in page)
    return f"<reservationSet>{items}</reservationSet>{token}"


def describe_instance_status(fleet: Fleet, region: str, form: dict[str, str]) -> str:
    """Answer DescribeInstanceStatus: running ones alone, unless asked for all."""
    ids, size = numbered(form, "InstanceId"), _page_size(form)
    if ids and size:
        raise Refusal("InvalidParameterCombination", "The parameter instancesSet cannot be used with maxResults")
    if len(ids) > MOST_IDS:
        raise Refusal("InvalidParameterValue", f"The maximum number of instance IDs is {MOST_IDS}")
    has = fleet.visible(region)
    _refuse_unknown(fleet, ids, has)
    with_all = form.get("IncludeAllInstances") == "true"
    found = [has[name] for name in ids] if ids else list(has.values())
    found = [one for one in found if with_all or one.state == "running"]
    page, token = _page(fleet, found, form, size)
    items = "".join(_status(one) for one in page)
    return f"<instanceStatusSet>{items}</instanceStatusSet>{token}"


def _refuse_unknown(fleet: Fleet, ids: list[str], has: dict[str, FakeInstance]) -> None:
    unknown = [name for name in ids if name not in has]
    if not unknown:
        return
    if not fleet.names_unknown_ids:
        raise Refusal("InvalidInstanceID.NotFound", "The instance IDs do not exist")
    named = f"ID '{unknown[0]}' does" if len(unknown) == 1 else f"IDs '{', '.join(unknown)}' do"
    raise Refusal("InvalidInstanceID.NotFound", f"The instance {named} not exist")


def _page_size(form: dict[str, str]) -> int:
    if "MaxResults" not in form:
        return 0
    size = int(form["MaxResults"])
    if not LEAST_RESULTS <= size <= MOST_RESULTS:
        raise Refusal("InvalidParameterValue", f"Value ( {size} ) for parameter maxResults is invalid.")
    return size


def _filters(form: dict[str, str]) -> dict[str, list[str]]:
    filters = {}
    for number in range(1, 51):
        if (name := form.get(f"Filter.{number}.Name")) is None:
            break
        values = numbered(form, f"Filter.{number}.Value")
        if len(values) > MOST_FILTER_VALUES:
            raise Refusal("FilterLimitExceeded", f"The maximum number of filter values is {MOST_FILTER_VALUES}")
        filters[name] = values
    return filters


def _passes(one: FakeInstance, filters: dict[str, list[str]]) -> bool:
    for name, values in filters.items():
        if name == "instance-id":
            has = one.id
        elif name == "instance-state-name":
            has = one.state
        elif name.startswith("tag:"):
            has = one.tags.get(name[4:], "\0")
        else:
            raise Refusal("InvalidParameterValue", f"The filter '{name}' is invalid")
        if has not in values and not any(fnmatch.fnmatchcase(has, value) for value in values if set(value) & set("*?")):
            return False
    return True


def _page(fleet: Fleet, found: list[FakeInstance], form: dict[str, str], size: int) -> tuple[list[FakeInstance], str]:
    start = int(form.get("NextToken", "0"))
    end = start + min(size or fleet.page, fleet.page)
    return found[start:end], f"<nextToken>{end}</nextToken>" if end < len(found) else ""


def _reservation(one: FakeInstance) -> str:
    tags = "".join(
        f"<item><key>{escape(name)}</key><value>{escape(value)}</value></item>" for name, value in one.tags.items()
    )
    launched = datetime.fromtimestamp(one.launched_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    monitoring = "enabled" if one.is_detailed else "disabled"
    return (
        f"<item><reservationId>r-1</reservationId><instancesSet><item><instanceId>{one.id}</instanceId>"
        f"<instanceState><code>{CODES[one.state]}</code><name>{one.state}</name></instanceState>"
        f"<instanceType>{one.kind}</instanceType><launchTime>{launched}</launchTime>"
        f"<placement><availabilityZone>{one.zone}</availabilityZone></placement>"
        f"<monitoring><state>{monitoring}</state></monitoring><tagSet>{tags}</tagSet></item></instancesSet></item>"
    )


def _status(one: FakeInstance) -> str:
    runs = one.state == "running"
    named = {"systemStatus": one.system, "instanceStatus": one.instance, "attachedEbsStatus": one.attached_ebs}
    checks = "".join(
        f"<{name}><status>{status if runs else 'not-applicable'}</status></{name}>" for name, status in named.items()
    )
    return (
        f"<item><instanceId>{one.id}</instanceId><instanceState><code>{CODES[one.state]}</code>"
        f"<name>{one.state}</name></instanceState>{checks}</item>"
    )
