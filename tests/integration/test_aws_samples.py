"""What the provider ``aws`` sees of an instance, and what it says of the rest."""

import time
from collections.abc import AsyncIterator

import pytest

from aws_fake import FakeInstance, Fault
from aws_kit import AwsSite, aws_site, gather_briefly, use_key
from domain.monitoring.worker import WorkerStatus

ONE = "i-0123456789abcdef0"


@pytest.fixture
async def site(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsSite]:
    use_key(monkeypatch)
    gather_briefly(monkeypatch)
    async with aws_site(redis_url, namespace) as made:
        yield made


async def test_a_running_instance_is_measured(site: AwsSite) -> None:
    site.fleet.add(
        "eu-west-1", FakeInstance(ONE, launched_at=time.time() - 86_400, memory=41.0, disks={"/": 30.5, "/data": 7.0})
    )
    sample = await site.look(await site.provider(), ONE)
    assert sample.status is WorkerStatus.RUNNING
    assert sample.status_checks.model_dump() == {"system": "ok", "instance": "ok", "attached_ebs": "ok"}
    assert sample.metrics.cpu_utilization == 0.125
    assert sample.metrics.memory_utilization == 0.41
    assert sample.metrics.filesystems == {"/": 0.305, "/data": 0.07}
    assert sample.metrics.network_rx_bytes_per_s == 100
    assert sample.metrics.network_tx_bytes_per_s == 50
    assert sample.metrics.uptime_s is not None
    assert 86_400 - 1_000 < sample.metrics.uptime_s < 86_400
    assert sample.metrics.load_1m is None
    assert sample.missing["load_1m"] == "EC2 does not tell it"
    assert sample.sources == {"memory_utilization": "cwagent", "filesystems": "cwagent", "uptime_s": "launch time"}


@pytest.mark.parametrize(("is_detailed", "period_s"), [(False, 300), (True, 60)], ids=["basic", "detailed"])
async def test_only_closed_periods_are_read(site: AwsSite, is_detailed: bool, period_s: int) -> None:
    site.fleet.add("eu-west-1", FakeInstance(ONE, is_detailed=is_detailed))
    provider = await site.provider()
    before = await site.now()
    sample = await site.look(provider, ONE)
    after = await site.now()
    ends = {int((now.timestamp() - 120) // period_s * period_s) for now in (before, after)}
    assert sample.observed_at.timestamp() in ends
    assert sample.period_s == period_s
    assert sample.metrics.cpu_utilization == 0.125, "the open period has another value"
    assert before < sample.collected_at <= after


async def test_what_the_agent_does_not_tell_is_null_with_its_reason(site: AwsSite) -> None:
    site.fleet.add("eu-west-1", FakeInstance(ONE))
    sample = await site.look(await site.provider(), ONE)
    assert sample.metrics.memory_utilization is None
    assert sample.missing["memory_utilization"] == "the CloudWatch agent is not installed or reports other dimensions"
    assert "no file system" in sample.missing["filesystems"]


async def test_the_agents_exact_dimensions_are_found_out(site: AwsSite) -> None:
    odd = {"ImageId": "ami-1", "AutoScalingGroupName": "web & <more>"}
    site.fleet.add("eu-west-1", FakeInstance(ONE, memory=50.0, disks={"/": 10.0}, agent_dimensions=odd))
    sample = await site.look(await site.provider(), ONE)
    assert sample.metrics.memory_utilization == 0.5
    assert sample.metrics.filesystems == {"/": 0.1}


async def test_file_systems_that_are_paid_for_are_as_many_as_the_settings_say(site: AwsSite) -> None:
    disks = {"/": 10.0, "/var/lib/docker": 20.0, "/data": 30.0, "/boot/efi": 40.0}
    site.fleet.add("eu-west-1", FakeInstance(ONE, disks=disks))
    provider = await site.provider(filesystems_per_worker=2)
    assert (await site.look(provider, ONE)).metrics.filesystems == {"/": 0.1, "/data": 0.3}
    assert site.fleet.queries == 3 + 2


async def test_without_file_systems_none_is_asked_for(site: AwsSite) -> None:
    site.fleet.add("eu-west-1", FakeInstance(ONE, memory=1.0, disks={"/": 10.0}))
    sample = await site.look(await site.provider(filesystems_per_worker=0), ONE)
    assert sample.metrics.filesystems is None
    assert (site.fleet.queries, site.fleet.count("ListMetrics")) == (4, 1)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("pending", WorkerStatus.PENDING),
        ("stopping", WorkerStatus.STOPPING),
        ("stopped", WorkerStatus.STOPPED),
        ("shutting-down", WorkerStatus.SHUTTING_DOWN),
        ("terminated", WorkerStatus.TERMINATED),
    ],
)
async def test_the_status_follows_ec2_and_what_does_not_run_costs_nothing(
    site: AwsSite, state: str, status: WorkerStatus
) -> None:
    site.fleet.add("eu-west-1", FakeInstance(ONE, state=state))
    sample = await site.look(await site.provider(), ONE)
    assert sample.status is status
    assert sample.metrics.cpu_utilization is None
    assert sample.missing["cpu_utilization"] == f"the instance is {state}, and CloudWatch has values of running ones"
    assert sample.missing["uptime_s"] == "the instance is not running"
    assert site.fleet.queries == 0


async def test_impaired_checks_are_told(site: AwsSite) -> None:
    site.fleet.add(
        "eu-west-1", FakeInstance(ONE, system="impaired", instance="insufficient-data", attached_ebs="impaired")
    )
    checks = (await site.look(await site.provider(), ONE)).status_checks
    assert checks.model_dump() == {"system": "impaired", "instance": "insufficient_data", "attached_ebs": "impaired"}


async def test_a_young_instance_has_no_values_yet_and_says_so(site: AwsSite) -> None:
    site.fleet.add("eu-west-1", FakeInstance(ONE, launched_at=time.time() - 5))
    sample = await site.look(await site.provider(), ONE)
    assert sample.missing["cpu_utilization"] == "CloudWatch has no value of this instance for the last periods"
    assert sample.missing["uptime_s"] == "the instance was launched after this period"


async def test_a_value_that_comes_late_is_of_its_own_period(site: AwsSite) -> None:
    """The newest closed period has nothing yet: the one before it is the newest there is, and keeps its own time."""
    site.fleet.add("eu-west-1", FakeInstance(ONE, is_detailed=True))
    provider = await site.provider()
    end = int((await site.now()).timestamp() - 120) // 60 * 60
    site.fleet.fixed_now, site.fleet.lag_s = end - 60, 0.0
    sample = await site.look(provider, ONE)
    assert sample.metrics.cpu_utilization == 0.125
    assert sample.observed_at.timestamp() == end - 60


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("partial", "CloudWatch returned a part of its data, and not this: try later"),
        ("internal", "CloudWatch had an error of its own with this metric: try later"),
    ],
)
async def test_metrics_that_fail_in_part_are_null_with_what_cloudwatch_said(site: AwsSite, kind: str, why: str) -> None:
    site.fleet.add("eu-west-1", FakeInstance(ONE))
    site.fleet.faults.append(Fault(kind, action="GetMetricData", message="try later"))
    sample = await site.look(await site.provider(), ONE)
    assert sample.missing["cpu_utilization"] == why
    assert sample.status_checks.system == "ok"


@pytest.mark.parametrize(
    ("action", "field", "permission"),
    [
        ("GetMetricData", "cpu_utilization", "cloudwatch:GetMetricData"),
        ("ListMetrics", "memory_utilization", "cloudwatch:ListMetrics"),
        ("DescribeInstanceStatus", "status_checks.system", "ec2:DescribeInstanceStatus"),
    ],
)
async def test_a_missing_permission_costs_its_own_values_and_is_named(
    site: AwsSite, action: str, field: str, permission: str
) -> None:
    site.fleet.add("eu-west-1", FakeInstance(ONE, memory=40.0))
    site.fleet.faults.append(Fault("UnauthorizedOperation" if "Desc" in action else "AccessDenied", action=action))
    sample = await site.look(await site.provider(), ONE)
    assert f"the permission {permission} is missing for the account 'default'" in sample.missing[field]
    known = "network_rx_bytes_per_s" if action != "GetMetricData" else "uptime_s"
    assert getattr(sample.metrics, known) is not None
