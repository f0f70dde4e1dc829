"""Channels and deliveries over HTTP: how they are, whether they work, what was sent."""

from collections.abc import AsyncIterator

import pytest

from api_kit import API_KEYS, Api, problem_type
from application.monitoring.channels import Channels
from application.monitoring.outbox import Ending
from infrastructure.monitoring.channels.making import make_channels
from infrastructure.monitoring.channels.settings import LogChannelSettings, WebhookSettings
from integration.outbox_kit import Post
from receiver import Receiver, Reply
from unit.monitoring.messages import notification

SECRET = "k3y-of-the-hook-that-nobody-may-see"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


def channels_to(receiver: Receiver) -> Channels:
    hook = {"name": "hook", "type": "webhook", "url": receiver.url, "secret": SECRET, "severities": ["critical"]}
    return make_channels([LogChannelSettings(name="log", type="log"), WebhookSettings.model_validate(hook)])


@pytest.fixture
async def api(redis_url: str, namespace: str, receiver: Receiver) -> AsyncIterator[Api]:
    channels = channels_to(receiver)
    made = Api(redis_url, namespace, api_keys=API_KEYS)
    made.use_channels(channels)
    async with made as running:
        yield running
    await channels.stop()


async def test_channels_are_listed_with_how_they_are_and_without_secrets(api: Api, receiver: Receiver) -> None:
    post = Post(api.instance.store, failures=1)
    await post.put(notification(severity="critical"))
    (taken,) = await post.take()
    await post.outbox.settle(taken, Ending("again", "nobody answers"))
    answer = await api.get("/channels", key="viewer")
    log, hook = answer.json()["items"]
    assert (log["name"], log["type"], log["state"], log["why"], log["waiting"]) == (
        *("log", "log", "open", "nobody answers", 1),
    )
    assert (hook["target"], hook["severities"], hook["state"]) == (
        f"http://localhost:{receiver.port}/…",
        ["critical"],
        "closed",
    )
    assert SECRET not in answer.text
    assert "T0KEN" not in answer.text


async def test_a_channel_is_tried_and_that_is_written_down(api: Api, receiver: Receiver) -> None:
    answer = await api.post("/channels/hook/test", key="operator")
    assert (answer.status_code, answer.json()["outcome"], answer.json()["status"]) == (200, "sent", 200)
    assert receiver.received[0].json["text"].endswith("the-operator asked for it; nothing is wrong.")
    receiver.replies.append(Reply(403, {}, b"not with T0KEN-of-mine-12345"))
    failed = (await api.post("/channels/hook/test", key="operator")).json()
    assert (failed["outcome"], failed["why"], failed["answer"]) == ("given_up", "it answered 403", "not with (hidden)")
    second, first = (await api.get("/audit?action=channel.tested", key="viewer")).json()["items"]
    assert (first["actor"], first["target"], first["facts"]["outcome"]) == ("the-operator", "hook", "sent")
    assert second["facts"]["delivery"] == failed["id"]
    (newest, _) = (await api.get("/alerts/deliveries", key="viewer")).json()["items"]
    assert (newest["id"], newest["is_test"], newest["outcome"]) == (failed["id"], True, "given_up")


async def test_a_viewer_may_look_and_not_try(api: Api) -> None:
    assert (await api.get("/channels", key="viewer")).status_code == 200
    answer = await api.post("/channels/hook/test", key="viewer")
    assert (answer.status_code, problem_type(answer)) == (403, "role-too-low")


async def test_a_channel_that_is_not_there_is_named_with_those_that_are(api: Api) -> None:
    answer = await api.post("/channels/hoook/test", key="operator")
    assert (answer.status_code, problem_type(answer)) == (404, "channel-not-found")
    assert "there are: log, hook" in answer.json()["detail"]


async def test_deliveries_are_asked_for_in_pages_and_by_what_they_are(api: Api) -> None:
    post = Post(api.instance.store)
    for number in range(3):
        await post.put(notification(alert_id=f"alert{number}"))
        (taken,) = await post.take()
        await post.outbox.settle(taken, Ending("refused" if number == 1 else "sent", "it answered 400"))
    found = (await api.get("/alerts/deliveries?limit=2", key="viewer")).json()
    assert len(found["items"]) == 2
    rest = (await api.get(f"/alerts/deliveries?limit=2&cursor={found['next_cursor']}", key="viewer")).json()
    assert (len(rest["items"]), rest["next_cursor"]) == (1, None)
    (given_up,) = (await api.get("/alerts/deliveries?outcome=given_up", key="viewer")).json()["items"]
    assert [one["alert_id"] for one in given_up["alerts"]] == ["alert1"]
    (second,) = (await api.get("/alerts/deliveries?alert_id=alert2", key="viewer")).json()["items"]
    assert (second["outcome"], second["channel"]) == ("sent", "log")
    assert (await api.get("/alerts/deliveries?channel=hook", key="viewer")).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("cursor=17", 422, "invalid-delivery-cursor"),
        ("outcome=lost", 422, "invalid-request"),
        ("channel=a:b", 422, "invalid-request"),
        ("limit=0", 422, "invalid-request"),
        ("chanel=hook", 422, "invalid-request"),
    ],
)
async def test_a_wrong_question_is_refused(api: Api, query: str, status: int, kind: str) -> None:
    answer = await api.get(f"/alerts/deliveries?{query}", key="viewer")
    assert (answer.status_code, problem_type(answer)) == (status, kind)
