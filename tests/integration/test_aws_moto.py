"""The real calls, against moto in server mode: what the strict stand-in was written by us, moto was not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aioboto3
import pytest
from moto.server import ThreadedMotoServer

from aws_kit import REGION, use_key, worker
from domain.monitoring.errors import CollectionFailed
from domain.monitoring.found import ImportFilters, ImportRequest
from domain.monitoring.worker import WorkerStatus
from infrastructure.monitoring.aws.provider import AwsProvider
from infrastructure.monitoring.aws.settings import AwsSettings
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import RedisStore

ROLE = "arn:aws:iam::123456789012:role/watcher"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def ec2(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    use_key(monkeypatch)
    async with aioboto3.Session().client("ec2", region_name=REGION, endpoint_url=moto_url) as client:
        yield client


@pytest.fixture
async def provider(ec2: Any, moto_url: str, store: RedisStore) -> AsyncIterator[AwsProvider]:
    account = {"name": "default", "role_arn": ROLE, "external_id": "shared-word"}
    settings = AwsSettings.model_validate({"endpoint_url": moto_url, "accounts": [{"name": "plain"}, account]})
    made = AwsProvider(settings, MonitoringScripts(store, "i1"), "i1")
    yield made
    await made.stop()


async def launch(ec2: Any, count: int = 1, **tags: str) -> list[str]:
    named = [{"Key": name, "Value": value} for name, value in tags.items()]
    answer = await ec2.run_instances(
        ImageId="ami-12c6146b",
        InstanceType="t3.micro",
        MinCount=count,
        MaxCount=count,
        TagSpecifications=[{"ResourceType": "instance", "Tags": named}] if named else [],
    )
    return [one["InstanceId"] for one in answer["Instances"]]


async def test_an_instance_is_described_checked_and_measured(ec2: Any, moto_url: str, provider: AwsProvider) -> None:
    (name,) = await launch(ec2, Name="web")
    now = datetime.now(UTC)
    async with aioboto3.Session().client("cloudwatch", region_name=REGION, endpoint_url=moto_url) as cloudwatch:
        end = int((now.timestamp() - 120) // 300 * 300)
        inside = datetime.fromtimestamp(end - 150, UTC)
        for namespace, metric, value in (("AWS/EC2", "CPUUtilization", 50.0), ("CWAgent", "mem_used_percent", 25.0)):
            point = {
                "MetricName": metric,
                "Dimensions": [{"Name": "InstanceId", "Value": name}],
                "Timestamp": inside,
                "Value": value,
            }
            await cloudwatch.put_metric_data(Namespace=namespace, MetricData=[point])
    sample = await provider.collect(worker(name, now), now)
    assert sample.status is WorkerStatus.RUNNING
    assert sample.status_checks.system == "ok"
    assert sample.metrics.cpu_utilization == 0.5
    assert sample.metrics.memory_utilization == 0.25
    assert sample.missing["network_rx_bytes_per_s"] == "CloudWatch has no value of this instance for the last periods"


async def test_the_status_follows_the_instance_to_its_end(ec2: Any, provider: AwsProvider) -> None:
    stopped, terminated, running = await launch(ec2, 3)
    await ec2.stop_instances(InstanceIds=[stopped])
    await ec2.terminate_instances(InstanceIds=[terminated])
    now = datetime.now(UTC)
    unknown = "i-0123456789abcdef0"
    looks = [provider.collect(worker(name, now), now) for name in (stopped, terminated, running, unknown)]
    *samples, failed = await asyncio.gather(*looks, return_exceptions=True)
    assert [sample.status for sample in samples] == ["stopped", "terminated", "running"]  # type: ignore[union-attr]
    assert isinstance(failed, CollectionFailed)
    assert "EC2 has no instance i-0123456789abcdef0 in eu-west-1 (account 'default')" in str(failed)


async def test_instances_are_found_by_tags_and_states(ec2: Any, provider: AwsProvider) -> None:
    wanted, stopped = await launch(ec2, 2, team="moto-search", Name="one")
    (other,) = await launch(ec2, team="another")
    await ec2.stop_instances(InstanceIds=[stopped])

    async def found(**filters: Any) -> set[str]:
        request = ImportRequest(provider="aws", region=REGION, filters=ImportFilters(**filters))
        return {one.instance_id async for page in provider.discover(request) for one in page}

    assert await found(tags={"team": "moto-search"}) == {wanted, stopped}
    assert await found(tags={"team": "moto-search"}, states=("running",)) == {wanted}
    assert {wanted, stopped, other} <= await found()
    assert await found(instance_ids=(other,)) == {other}


async def test_detailed_monitoring_is_seen(ec2: Any, provider: AwsProvider) -> None:
    answer = await ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=1, MaxCount=1, InstanceType="t3.micro", Monitoring={"Enabled": True}
    )
    name = answer["Instances"][0]["InstanceId"]
    now = datetime.now(UTC)
    sample = await provider.collect(worker(name, now, account="plain"), now)
    assert sample.period_s in (60.0, 300.0)
    assert now - sample.observed_at < timedelta(seconds=120 + 600)
