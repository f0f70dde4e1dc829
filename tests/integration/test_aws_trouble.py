"""What goes wrong with AWS: it is told in words that help, harms nobody else, and passes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from aws_fake import FakeInstance, Fault
from aws_kit import REGION, AwsSite, aws_site, gather_briefly, use_key, worker
from domain.monitoring.errors import CollectionFailed, InvalidWorker, WorkerVanished
from domain.monitoring.found import ImportRequest
from domain.monitoring.import_errors import InvalidImport, ProviderFailed
from infrastructure.monitoring.aws import connections, loader
from infrastructure.monitoring.aws.settings import AwsSettings
from support import wait_until

ONE = "i-0123456789abcdef0"
ROLE = "arn:aws:iam::123456789012:role/watcher"


@pytest.fixture
async def site(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsSite]:
    use_key(monkeypatch)
    gather_briefly(monkeypatch)
    async with aws_site(redis_url, namespace) as made:
        made.fleet.add(REGION, FakeInstance(ONE))
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, and try once: how botocore pauses between its tries is its own affair."""
    monkeypatch.setattr(connections, "ATTEMPTS", 1)
    monkeypatch.setattr(connections, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.5)


async def refusal(site: AwsSite, **settings: object) -> str:
    with pytest.raises(CollectionFailed) as caught:
        await site.look(await site.provider(**settings), ONE)
    return str(caught.value)


async def test_throttling_is_waited_for(site: AwsSite) -> None:
    site.fleet.faults += [
        Fault("RequestLimitExceeded", action="DescribeInstances", times=2),
        Fault("ThrottlingException", action="GetMetricData", times=1),
    ]
    sample = await site.look(await site.provider(), ONE)
    assert sample.metrics.cpu_utilization == 0.125
    assert site.fleet.refused == {"RequestLimitExceeded": 2, "ThrottlingException": 1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("RequestLimitExceeded", "region eu-west-1 (account 'default') throttles DescribeInstances"),
        ("unavailable", "region eu-west-1 (account 'default') cannot answer DescribeInstances now (HTTP 503)"),
        ("cut", "region eu-west-1 (account 'default') did not answer DescribeInstances"),
        ("hang", "region eu-west-1 (account 'default') did not answer DescribeInstances"),
        ("InvalidParameterValue", "DescribeInstances was refused in region eu-west-1 (account 'default'): Invalid"),
        ("ExpiredToken", "the credentials of account 'default' have expired; renew them where they come from"),
        ("AuthFailure", "AWS does not accept the credentials of account 'default' in region eu-west-1"),
        ("UnauthorizedOperation", "the permission ec2:DescribeInstances is missing for the account 'default'"),
    ],
)
async def test_what_is_wrong_is_told_in_words(site: AwsSite, kind: str, why: str) -> None:
    site.fleet.faults.append(Fault(kind, action="DescribeInstances"))
    assert why in await refusal(site)


async def test_a_region_that_nobody_answers_for_is_told(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ATTEMPTS", 1)
    assert "did not answer DescribeInstances; it may be down" in await refusal(site, endpoint_url="http://127.0.0.1:9")


@pytest.mark.usefixtures("impatient")
async def test_one_region_that_is_down_harms_no_other(site: AwsSite) -> None:
    site.fleet.add("us-east-1", FakeInstance("i-00000001"))
    site.fleet.faults.append(Fault("hang", region=REGION))
    provider = await site.provider()
    down, up = await asyncio.gather(
        site.look(provider, ONE), site.look(provider, "i-00000001", region="us-east-1"), return_exceptions=True
    )
    assert isinstance(down, CollectionFailed)
    assert not isinstance(up, BaseException)
    assert up.metrics.cpu_utilization == 0.125


@pytest.mark.usefixtures("impatient")
async def test_what_is_wrong_for_all_is_asked_once_and_told_to_all(site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, 20)
    site.fleet.faults.append(Fault("unavailable", action="DescribeInstances"))
    one, two = await site.provider(), await site.provider()
    looks = [site.look(provider, name) for provider, name in zip([one, two] * 10, ids, strict=True)]
    failed = await asyncio.gather(*looks, return_exceptions=True)
    assert all(isinstance(error, CollectionFailed) for error in failed)
    assert site.fleet.count("DescribeInstances") == 1


@pytest.mark.usefixtures("impatient")
async def test_a_process_without_credentials_is_served_by_one_that_has_them(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fleet.faults.append(Fault("ExpiredToken", key="AKIAOLD"))
    use_key(monkeypatch, "AKIAOLDOLDOLDOLDOLDO")
    poor = await site.provider()
    with pytest.raises(CollectionFailed, match="have expired"):
        await site.look(poor, ONE)
    use_key(monkeypatch, "AKIANEWNEWNEWNEWNEWN")
    rich = await site.provider()
    monkeypatch.setattr(loader, "SULK_PATIENCE_S", 60.0)  # for slow machines: it waits until the other has looked
    seen, served = await asyncio.gather(site.look(rich, ONE), site.look(poor, ONE))
    assert seen == served
    assert site.fleet.keys_seen["AKIAOLDOLDOLDOLDOLDO"] == 1, "it left looking to the other"


@pytest.mark.usefixtures("impatient")
async def test_credentials_that_were_renewed_are_read_anew(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "SULK_S", 0.0)
    site.fleet.faults.append(Fault("ExpiredToken", key="AKIAOLD"))
    use_key(monkeypatch, "AKIAOLDOLDOLDOLDOLDO")
    provider = await site.provider()
    with pytest.raises(CollectionFailed, match="have expired"):
        await site.look(provider, ONE)
    use_key(monkeypatch, "AKIANEWNEWNEWNEWNEWN")
    assert (await site.look(provider, ONE)).status == "running"


async def test_without_credentials_it_says_where_to_give_them(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no credentials for the account 'default' were found; give this process a role" in await refusal(site)


async def test_a_profile_gives_the_credentials(site: AwsSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[prod]\naws_access_key_id = AKIAPRODPRODPRODPROD\naws_secret_access_key = s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    provider = await site.provider(accounts=[{"name": "prod", "profile": "prod"}])
    assert (await site.look(provider, ONE)).status == "running"
    assert set(site.fleet.keys_seen) == {"AKIAPRODPRODPRODPROD"}
    why = await refusal(site, accounts=[{"name": "test", "profile": "none-such"}])
    assert "the credentials of account 'test' cannot be read: The config profile (none-such) could not be found" in why


async def test_a_role_is_assumed_with_its_external_id(site: AwsSite) -> None:
    site.fleet.external_ids[ROLE] = "shared-word"
    account = {"name": "prod", "role_arn": ROLE}
    why = await refusal(site, accounts=[account])
    assert "the permission sts:AssumeRole is missing for the account 'prod'" in why
    provider = await site.provider(accounts=[{**account, "external_id": "shared-word"}])
    assert (await site.look(provider, ONE)).status == "running"
    assert site.fleet.keys_seen["ASIAwatcher"] >= 3
    assert "shared-word" not in repr(
        AwsSettings.model_validate({"accounts": [{**account, "external_id": "shared-word"}]})
    )


async def test_a_role_is_assumed_again_before_it_expires(site: AwsSite) -> None:
    site.fleet.external_ids[ROLE] = ""
    site.fleet.role_expires_s = 60.0  # botocore renews what has less than some minutes left
    provider = await site.provider(accounts=[{"name": "prod", "role_arn": ROLE}])
    await site.look(provider, ONE)
    before = site.fleet.count("AssumeRole")
    await site.forget_looks()
    await site.look(provider, ONE)
    assert site.fleet.count("AssumeRole") > before


async def test_no_key_is_ever_shown(site: AwsSite, caplog: pytest.LogCaptureFixture) -> None:
    said = (
        "Credential=AKIATESTTESTTESTTEST/x and the signature wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYaa0000 do not match"
    )
    site.fleet.faults.append(Fault("Strange", action="DescribeInstances", message=said))
    with caplog.at_level(logging.DEBUG):
        why = await refusal(site)
    assert "Strange: Credential=…/x and the signature … do not match" in why
    shown = why + "".join(record.getMessage() for record in caplog.records if not record.name.startswith("boto"))
    assert "AKIATEST" not in shown
    assert "a-secret-that-nobody" not in shown


async def test_an_instance_that_ec2_does_not_have_yet_is_not_dead(site: AwsSite) -> None:
    provider = await site.provider()
    long_ago = await site.now() - timedelta(days=1)
    for _ in range(4):  # often enough, and registered long ago: but all within seconds
        with pytest.raises(CollectionFailed, match=r"EC2 has no instance i-0000000a in eu-west-1 .* may take minutes"):
            await site.look(provider, "i-0000000a", created_at=long_ago)
        await site.forget_looks()


async def test_an_instance_that_is_absent_again_and_again_has_vanished(site: AwsSite) -> None:
    provider = await site.provider()
    now = await site.now()
    for _ in range(3):
        with pytest.raises(CollectionFailed):
            await site.look(provider, "i-0000000a")
        await site.forget_looks()
        await absent_longer(site, "i-0000000a")
    with pytest.raises(WorkerVanished, match="EC2 has no instance i-0000000a in eu-west-1"):
        await site.look(provider, "i-0000000a", created_at=now - timedelta(hours=1))
    await site.forget_looks()
    site.fleet.add(REGION, FakeInstance("i-0000000a"))
    assert (await site.look(provider, "i-0000000a")).status == "running", "who comes back is there"


async def absent_longer(site: AwsSite, name: str) -> None:
    """Move the first absence a minute into the past."""
    command, key = site._stores[0].command, site._stores[0].key("mon", "aws_seen", f"default/{REGION}", name)
    at, _, text = (await command.get(key)).partition(" ")
    seen = loader.Seen.model_validate_json(text)
    assert seen.absent_since is not None
    earlier = seen.model_copy(update={"absent_since": seen.absent_since - timedelta(minutes=1)})
    await command.set(key, f"{at} {earlier.model_dump_json(exclude_defaults=True)}", keepttl=True)


async def test_an_outage_between_two_absences_does_not_begin_the_count_anew(site: AwsSite) -> None:
    provider = await site.provider()
    with pytest.raises(CollectionFailed):
        await site.look(provider, "i-0000000a")
    await site.forget_looks()
    site.fleet.faults.append(Fault("InvalidParameterValue", action="DescribeInstances", times=1))
    with pytest.raises(CollectionFailed, match="was refused"):
        await site.look(provider, "i-0000000a")
    store = site._stores[0]
    text = await store.command.get(store.key("mon", "aws_seen", f"default/{REGION}", "i-0000000a"))
    assert loader.Seen.model_validate_json(text.partition(" ")[2]).absences == 1


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"instance_id": "web-1"}, "instance_id is 'web-1', and must be one of EC2, such as i-0abc12345def67890"),
        ({"instance_id": None}, "instance_id is None"),
        ({"region": None}, "region is None, and must be one of AWS, such as eu-west-1"),
        ({"region": "Ireland"}, "region is 'Ireland'"),
        ({"region": "us-east-1"}, r"the region us-east-1 is not in monitoring.aws.regions \(there: eu-west-1\)"),
        ({"account": "prod"}, r"there is no account 'prod' in monitoring.aws.accounts \(there: default\)"),
    ],
)
async def test_a_worker_that_could_never_be_measured_is_refused(
    site: AwsSite, facts: dict[str, str | None], why: str
) -> None:
    provider = await site.provider(regions=[REGION])
    wrong = worker(ONE, await site.now()).model_copy(update=facts)
    with pytest.raises(InvalidWorker, match=why):
        provider.check(wrong)
    with pytest.raises(CollectionFailed, match=why):  # its settings may have changed since
        await provider.collect(wrong, await site.now())


async def test_searching_tells_what_is_wrong(site: AwsSite) -> None:
    provider = await site.provider()
    with pytest.raises(InvalidImport, match="region is None"):
        [page async for page in provider.discover(ImportRequest(provider="aws"))]
    site.fleet.faults.append(Fault("UnauthorizedOperation"))
    with pytest.raises(ProviderFailed, match="the permission ec2:DescribeInstances is missing"):
        [page async for page in provider.discover(ImportRequest(provider="aws", region=REGION))]


async def test_stop_closes_all_and_is_fine_twice(site: AwsSite) -> None:
    provider = await site.provider()
    await provider.stop()
    await site.look(provider, ONE)
    assert provider.connections.opened == 2
    look = asyncio.ensure_future(site.look(provider, "i-00000001"))
    await wait_until(
        lambda: any("i-00000001" in loader._waiting for loader in provider._loaders.values()), "a loader to be asked"
    )
    await provider.stop()
    await provider.stop()
    with pytest.raises(asyncio.CancelledError):
        await look
    assert provider.connections.opened == 0
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    assert not [name for name in names if name.startswith("RegionLoader")]
