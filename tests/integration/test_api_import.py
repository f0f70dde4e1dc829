"""Workers are imported over HTTP: what a provider has is registered, once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from dependency_injector import providers

from api_kit import API_KEYS, Api, problem_type
from application.monitoring.providers import MetricsProviders
from aws_fake import FakeInstance, Fault
from aws_kit import REGION, AwsSite, aws_site, use_key
from domain.monitoring.worker import WorkerStatus

GONE = WorkerStatus.TERMINATED
ALL = {"provider": "aws", "region": REGION}


@pytest.fixture
async def site(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsSite]:
    use_key(monkeypatch)
    async with aws_site(redis_url, namespace) as made:
        yield made


@pytest.fixture
async def api(site: AwsSite, redis_url: str, namespace: str) -> AsyncIterator[Api]:
    made = Api(redis_url, namespace)
    container = made.instance.container
    known = MetricsProviders([await site.provider(), made.instance.provider])
    container.metrics_providers.override(providers.Object(known))
    container.monitoring.reset()
    container.registry.reset()
    made.services = made.instance.services(made.services.health)
    async with made as running:
        yield running


async def imported(api: Api, **more: Any) -> dict[str, Any]:
    answer = await api.post("/workers/import", {**ALL, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def counts(result: dict[str, Any]) -> tuple[int, int, int]:
    return result["created"], result["updated"], result["unchanged"]


def web(number: int, **facts: Any) -> FakeInstance:
    tags = {"Name": f"web  {number}", "team": "web", "aws:autoscaling:groupName": "web", "2nd": "x"}
    return FakeInstance(f"i-{number:017x}", **{"tags": tags, **facts})


async def test_what_is_there_is_registered_with_names_and_labels(api: Api, site: AwsSite) -> None:
    site.fleet.add(REGION, web(1), FakeInstance("i-00000002", state="stopped"), web(3, state="terminated"))
    site.fleet.add("us-east-1", web(4))
    result = await imported(api)
    assert counts(result) == (2, 0, 0)
    assert {item["id"]: item["outcome"] for item in result["items"]} == {
        "aws-i-00000000000000001": "created",
        "aws-i-00000002": "created",
    }
    one = (await api.get("/workers/aws-i-00000000000000001")).json()
    assert one["name"] == "web 1"
    assert (one["account"], one["region"], one["instance_id"]) == ("default", REGION, "i-00000000000000001")
    assert one["labels"] == {
        "team": "web",
        "aws_autoscaling_groupName": "web",
        "_2nd": "x",
        "ec2.type": "m7g.large",
        "ec2.zone": "eu-west-1a",
    }
    assert (one["status"], one["monitoring"]) == ("running", None)
    assert one["status_reason"] == "seen by the provider 'aws' when it was imported"
    two = (await api.get("/workers/aws-i-00000002")).json()
    assert (two["name"], two["status"]) == ("i-00000002", "stopped")


async def test_the_same_again_changes_nothing(api: Api, site: AwsSite) -> None:
    site.fleet.add(REGION, web(1), web(2))
    await imported(api)
    before = (await api.get("/workers")).json()
    assert counts(await imported(api)) == (0, 0, 2)
    assert (await api.get("/workers")).json() == before
    entries = (await api.get("/audit")).json()["items"]
    assert [entry["action"] for entry in entries] == ["worker.registered"] * 2, (
        "an import that changes nothing is no deed"
    )


async def test_names_and_labels_follow_the_provider_and_what_people_added_stays(api: Api, site: AwsSite) -> None:
    site.fleet.add(REGION, web(1))
    await imported(api)
    await api.patch("/workers/aws-i-00000000000000001", {"labels": {"pager": "ann"}})
    site.fleet.regions[REGION]["i-00000000000000001"].tags |= {"Name": "shop", "team": "shop"}
    assert counts(await imported(api)) == (0, 1, 0)
    one = (await api.get("/workers/aws-i-00000000000000001")).json()
    assert one["name"] == "shop"
    assert (one["labels"]["team"], one["labels"]["pager"]) == ("shop", "ann")
    changed = (await api.get("/audit?action=worker.changed")).json()["items"][0]
    assert changed["reason"] == "imported"


async def test_a_machine_that_a_person_registered_is_not_registered_twice(api: Api, site: AwsSite) -> None:
    site.fleet.add(REGION, web(1))
    by_hand = {**ALL, "id": "shop", "name": "The shop", "instance_id": "i-00000000000000001"}
    assert (await api.post("/workers", by_hand)).status_code == 201
    result = await imported(api)
    assert counts(result) == (0, 1, 0)
    assert result["items"][0]["id"] == "shop"
    (one,) = (await api.get("/workers")).json()["items"]
    assert (one["name"], one["labels"]["team"]) == ("The shop", "web")


async def test_all_pages_are_imported_and_monitored(api: Api, site: AwsSite) -> None:
    site.fleet.grow(REGION, 230)
    site.fleet.page = 100
    result = await imported(api, monitor=True)
    assert counts(result) == (230, 0, 0)
    assert {item["monitoring"] for item in result["items"]} == {"created"}
    one = (await api.get("/workers/aws-i-00000000000000001/monitoring")).json()
    assert one["interval_s"] == 60
    again = await imported(api, monitor=True)
    assert counts(again) == (0, 0, 230)
    assert {item["monitoring"] for item in again["items"]} == {"unchanged"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"tags": {"team": "web"}}, {1, 2}),
        ({"tags": {"team": "w*"}, "states": ["stopped"]}, {2}),
        ({"states": ["running"]}, {1, 3}),
        ({"instance_ids": ["i-00000000000000003", "i-0000000000000000f"]}, {3}),
        ({"tags": {"team": "none"}}, set()),
    ],
)
async def test_filters_let_through_what_they_say(
    api: Api, site: AwsSite, filters: dict[str, Any], expected: set[int]
) -> None:
    site.fleet.add(REGION, web(1), web(2, state="stopped"), web(3, tags={}))
    result = await imported(api, filters=filters)
    assert {int(item["instance_id"][2:], 16) for item in result["items"]} == expected


async def test_many_instance_ids_are_asked_for_in_parts(api: Api, site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, 250)
    assert counts(await imported(api, filters={"instance_ids": ids})) == (250, 0, 0)
    assert site.fleet.count("DescribeInstances") == 2


async def test_more_tags_than_labels_are_cut_off(api: Api, site: AwsSite) -> None:
    site.fleet.add(REGION, web(1, tags={f"tag{number:02}": "x" * 256 for number in range(50)}))
    await imported(api)
    mine = {f"mine{number}": "" for number in range(12)}
    assert (await api.patch("/workers/aws-i-00000000000000001", {"labels": mine})).status_code == 200
    site.fleet.regions[REGION]["i-00000000000000001"].tags = {f"other{number}": "y" for number in range(50)}
    assert counts(await imported(api)) == (0, 0, 1), "there is room for no more"


async def test_a_worker_that_is_terminated_here_says_what_to_do(api: Api, site: AwsSite) -> None:
    site.fleet.add(REGION, web(1))
    await imported(api)
    workers = api.instance.container.workers()
    now = await workers.now()
    await workers.change("aws-i-00000000000000001", lambda worker: worker.observe(GONE, "vanished", now))
    (item,) = (await imported(api, monitor=True))["items"]
    assert item["problem"] == "it is terminated here, and that is for ever: remove the worker, and import again"
    assert item["monitoring"] is None


@pytest.mark.parametrize(
    ("body", "problem", "why"),
    [
        ({"provider": "aws"}, "invalid-import", "region is None, and must be one of AWS, such as eu-west-1"),
        ({**ALL, "region": "Dublin"}, "invalid-import", "region is 'Dublin'"),
        ({**ALL, "account": "prod"}, "invalid-import", "there is no account 'prod'"),
        ({"provider": "scripted"}, "import-not-supported", "The provider 'scripted' does not list its workers"),
        ({"provider": "azure"}, "provider-not-supported", "The provider 'azure' is not supported"),
        ({**ALL, "filters": {"states": ["terminated"]}}, "invalid-request", ""),
        ({**ALL, "filters": {"instance_ids": ["i-1"] * 5_001}}, "invalid-request", ""),
        ({**ALL, "tags": {}}, "invalid-request", ""),
        ({"region": REGION}, "invalid-request", ""),
    ],
)
async def test_what_cannot_be_imported_is_refused(api: Api, body: dict[str, Any], problem: str, why: str) -> None:
    answer = await api.post("/workers/import", body)
    assert (answer.status_code, problem_type(answer)) == (422, problem)
    assert why in answer.json()["detail"]


async def test_what_was_imported_before_a_failure_stays_and_asking_again_goes_on(api: Api, site: AwsSite) -> None:
    site.fleet.grow(REGION, 30)
    site.fleet.page = 10
    described = site.fleet.fault

    def fault(region: str, action: str, key: str) -> Fault | None:
        return Fault("UnauthorizedOperation") if site.fleet.count(action) == 3 else described(region, action, key)

    site.fleet.fault = fault  # type: ignore[method-assign]
    failed = await api.post("/workers/import", ALL)
    assert (failed.status_code, problem_type(failed)) == (502, "provider-failed")
    assert "the permission ec2:DescribeInstances is missing for the account 'default'" in failed.json()["detail"]
    assert len((await api.get("/workers?limit=100")).json()["items"]) == 20
    assert counts(await imported(api)) == (10, 0, 20)


async def test_only_an_admin_imports(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        assert (await api.post("/workers/import", ALL, key="operator")).status_code == 403
        assert (await api.post("/workers/import", {"provider": "x"}, key="admin")).status_code == 422
