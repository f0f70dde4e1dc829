"""Search for instances to import: filters as EC2 wants them, and what is found as workers."""

import re
from collections.abc import Iterator
from typing import Any

from domain.monitoring.found import FoundWorker, ImportFilters
from domain.monitoring.worker import MAX_LABELS
from infrastructure.monitoring.aws.calls import IDS_A_FILTER, in_parts
from infrastructure.monitoring.aws.picture import status_of
from infrastructure.monitoring.aws.seen import Instance

STATES = ("pending", "running", "stopping", "stopped")
LONGEST_NAME = 63
LONGEST_VALUE = 255


def filters_for(wanted: ImportFilters) -> Iterator[list[dict[str, Any]]]:
    """Yield the filters of each search: one, or one for each 200 instance ids. What is going is in none."""
    states = [state for state in STATES if not wanted.states or state in wanted.states]
    filters: list[dict[str, Any]] = [{"Name": "instance-state-name", "Values": states}]
    filters += [{"Name": f"tag:{name}", "Values": [value]} for name, value in sorted(wanted.tags.items())]
    if not wanted.instance_ids:
        yield filters
    for part in in_parts(sorted(set(wanted.instance_ids)), IDS_A_FILTER):
        yield [*filters, {"Name": "instance-id", "Values": part}]


def found_worker(instance: Instance, account: str, region: str) -> FoundWorker:
    """Return an instance as a worker: named by its tag ``Name``, with its tags as labels."""
    named = " ".join(instance.tags.get("Name", "").split())
    labels = {label_of(name): value[:LONGEST_VALUE] for name, value in sorted(instance.tags.items()) if name != "Name"}
    facts = {"ec2.type": instance.kind, "ec2.zone": instance.zone}
    labels |= {name: value for name, value in facts.items() if value}
    return FoundWorker(
        id=f"aws-{instance.id}",
        name=(named or instance.id)[:200],
        account=account,
        region=region,
        instance_id=instance.id,
        labels=dict(list(labels.items())[-MAX_LABELS:]),
        status=status_of(instance),
    )


def label_of(tag: str) -> str:
    """Return the name of a tag as a label may be named: others of its characters become ``_``."""
    name = re.sub(r"[^A-Za-z0-9_.\-/]", "_", tag)
    return (name if re.match(r"[A-Za-z_]", name) else f"_{name}")[:LONGEST_NAME]
