"""Sessions of botocore that know only what is called, and so cost little: memory, and time of the event loop."""

import importlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from infrastructure.monitoring.aws.settings import AwsAccount

OPERATIONS = {
    "ec2": ("DescribeInstances", "DescribeInstanceStatus"),
    "cloudwatch": ("GetMetricData", "ListMetrics"),
}
"""What is called of each service. botocore makes a method of each operation for each client, of which EC2 has seven
hundred: 50 ms on the event loop, for each region."""
MEMBERS = {
    "Instance": ("InstanceId", "State", "InstanceType", "LaunchTime", "Placement", "Monitoring", "Tags"),
    "InstanceStatus": ("InstanceId", "SystemStatus", "InstanceStatus", "AttachedEbsStatus"),
    "InstanceStatusSummary": ("Status",),
    "EbsStatusSummary": ("Status",),
}
"""What is read of answers: botocore looks for each member that a shape has, of which an instance has sixty."""


def make_session(account: AwsAccount, loader: Any) -> tuple[Any, Any]:
    """Import botocore, read files and models. For a thread: all of it blocks."""
    aioboto3 = importlib.import_module("aioboto3")
    session = aioboto3.Session(profile_name=account.profile or None)
    inner = session._session  # noqa: SLF001 - aioboto3 shows its botocore session nowhere else
    if loader is None:
        loader = _small_loader(inner.get_component("data_loader"))
    inner.register_component("data_loader", loader)
    inner.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return session, loader


def _moment(value: Any) -> datetime:
    """Read a time as EC2 and CloudWatch write it; botocore's own reader takes ten times as long."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return importlib.import_module("botocore.utils").parse_timestamp(value)  # type: ignore[no-any-return]


def _trimmed(model: dict[str, Any], operations: Iterable[str]) -> dict[str, Any]:
    shapes = dict(model["shapes"])
    for shape, names in MEMBERS.items():
        if shape in shapes:
            members = shapes[shape]["members"]
            shapes[shape] = {**shapes[shape], "members": {name: members[name] for name in names if name in members}}
    return {**model, "operations": {name: model["operations"][name] for name in operations}, "shapes": shapes}


def _small_loader(loader: Any) -> Any:
    """Have a loader know only what is called, read all of that now, and let go of the rest."""
    whole, kept = loader.load_service_model, {}
    for service, names in OPERATIONS.items():
        for kind in ("service-2", "endpoint-rule-set-1"):
            found = whole(service, kind)
            kept[service, kind] = _trimmed(found, names) if kind == "service-2" else found

    def load_service_model(service: str, kind: str, api_version: str | None = None) -> Any:
        return kept[service, kind] if (service, kind) in kept else whole(service, kind, api_version)

    loader._cache.clear()  # noqa: SLF001 - the whole model of EC2 is tens of megabytes
    loader.load_service_model = load_service_model
    for kind in ("service-2", "endpoint-rule-set-1"):
        whole("sts", kind)
    loader.load_data_with_path("endpoints")
    return loader
