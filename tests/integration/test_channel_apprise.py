"""The channel of apprise, sending to real HTTP receivers by its scheme json://."""

import asyncio
import builtins
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from application.monitoring.channel import NotDelivered
from application.monitoring.channels import Channels
from domain.monitoring.message import make_message, make_test_message
from infrastructure.monitoring.channels.apprise import AppriseChannel
from infrastructure.monitoring.channels.errors import InvalidChannel
from infrastructure.monitoring.channels.making import make_channels
from infrastructure.monitoring.channels.settings import AppriseSettings
from integration.outbox_kit import load_apprise
from receiver import Receiver, Reply
from unit.monitoring.messages import notification

TOKEN = "T0KEN-in-the-path-0815"
MESSAGE = make_message("chat", "all", [notification(severity="critical"), notification("resolved", "w2")])


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    load_apprise()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


def settings(*urls: str, **facts: Any) -> AppriseSettings:
    made = {"name": "chat", "type": "apprise", "urls": urls, "schemes": ["json", "slack"], **facts}
    return AppriseSettings.model_validate(made)


def url(receiver: Receiver, more: str = "") -> str:
    return f"json://127.0.0.1:{receiver.port}/{TOKEN}/{more}"


@asynccontextmanager
async def channel_to(*urls: str, **facts: Any) -> AsyncIterator[AppriseChannel]:
    channel = AppriseChannel(settings(*urls, **facts))
    try:
        yield channel
    finally:
        await channel.close()


async def failure(channel: AppriseChannel) -> str:
    with pytest.raises(NotDelivered) as caught:
        await channel.send(MESSAGE)
    assert caught.value.verdict == "again"
    assert TOKEN not in caught.value.why
    return caught.value.why


async def test_a_message_arrives_with_title_text_and_colour(receiver: Receiver) -> None:
    async with channel_to(url(receiver)) as channel:
        answer = await channel.send(MESSAGE)
        await channel.send(make_test_message("chat", "msg_test_1", "ann"))
    alerts, test = (one.json for one in receiver.received)
    assert answer.text == "json://…[0]"
    assert (alerts["title"], alerts["message"], alerts["type"]) == (MESSAGE.title, MESSAGE.text, "failure")
    assert (test["title"], test["type"]) == ("[TEST] Roundsman", "info")


@pytest.mark.parametrize(
    ("kinds", "colour"),
    [
        ([("firing", "warning")], "warning"),
        ([("resolved", "critical")], "success"),
        ([("firing", "critical")], "failure"),
    ],
)
async def test_the_colour_is_that_of_the_worst(receiver: Receiver, kinds: list[tuple[str, str]], colour: str) -> None:
    async with channel_to(url(receiver)) as channel:
        await channel.send(make_message("chat", "g", [notification(kind, severity=level) for kind, level in kinds]))
    assert receiver.received[0].json["type"] == colour


async def test_a_receiver_that_fails_is_tried_once_whatever_the_url_says(receiver: Receiver) -> None:
    receiver.always = Reply(500)
    async with channel_to(url(receiver, "?retry=3&wait=0")) as channel:
        said = await failure(channel)
    assert said.startswith("json://…[0] ")
    assert len(receiver.received) == 1


async def test_who_took_it_does_not_get_it_again(receiver: Receiver) -> None:
    async with Receiver() as other:
        other.replies.append(Reply(500))
        async with channel_to(url(receiver), url(other)) as channel:
            assert "json://…[1]" in (said := await failure(channel))
            assert said.endswith("(1 of 2 took it)")
            assert (await channel.send(MESSAGE)).text == "json://…[0], json://…[1]"
            assert (len(receiver.received), len(other.received)) == (1, 2)
            await channel.send(MESSAGE)
            assert (len(receiver.received), len(other.received)) == (2, 3), "a message that is done with is forgotten"


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    async with Receiver() as elsewhere:
        receiver.always = Reply(307, {"location": f"http://127.0.0.1:{elsewhere.port}/"})
        async with channel_to(url(receiver)) as channel:
            await failure(channel)
        assert elsewhere.received == []


async def test_a_receiver_that_says_nothing_is_cut_off_and_no_thread_stays(receiver: Receiver) -> None:
    receiver.always = Reply(instead="hang")
    async with channel_to(url(receiver, "?rto=0.3&cto=0.3"), timeout_s=0.2) as channel:
        await failure(channel)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("channel chat")]


async def test_the_event_loop_goes_on_while_it_sends(receiver: Receiver) -> None:
    receiver.always = Reply(instead="hang")
    async with channel_to(url(receiver, "?rto=0.3&cto=0.3"), timeout_s=0.2) as channel:
        sending = asyncio.create_task(failure(channel))
        ticks = 0
        while not sending.done():
            await asyncio.sleep(0.001)
            ticks += 1
        await sending
    assert ticks > 10


@pytest.mark.parametrize("bad", ["slack://", "json://"])
async def test_a_url_that_is_not_understood_stops_the_start(bad: str) -> None:
    with pytest.raises(InvalidChannel, match=r"urls\[0\] .* is not understood by apprise"):
        await make_channels([settings(bad)]).start()


async def test_without_the_library_the_start_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "apprise":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidChannel, match=r"install roundsman\[apprise\]"):
        await Channels([AppriseChannel(settings("json://127.0.0.1"))]).start()


async def test_nothing_secret_is_logged(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    receiver.replies.append(Reply(500))
    async with channel_to(url(receiver)) as channel:
        await failure(channel)
        await channel.send(MESSAGE)
        assert TOKEN not in repr(channel._services) + repr(channel._settings)
    assert TOKEN not in caplog.text
