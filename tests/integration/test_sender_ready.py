"""A channel that takes long to open is opened before there is anything to send."""

import logging

import pytest

from application.monitoring.channels import Channels
from infrastructure.redis.connection import RedisStore
from integration.monitoring_kit import ListChannel
from integration.outbox_kit import Post
from support import wait_until


class SlowToOpen(ListChannel):
    opens_early = True
    opened = 0
    error: Exception | None = None

    async def open(self) -> None:
        self.opened += 1
        if self.error is not None:
            raise self.error


async def test_it_is_open_before_the_first_message(store: RedisStore) -> None:
    channel, usual = SlowToOpen("slow"), ListChannel("usual")
    sender = Post(store).sender(Channels([channel, usual]))
    await sender.start()
    await wait_until(lambda: channel.opened)
    await sender.stop()
    assert channel.opened == 1


async def test_one_that_does_not_open_is_told_and_harms_nothing(
    store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    channel = SlowToOpen("slow")
    channel.error = OSError("no certificates")
    sender = Post(store).sender(Channels([channel]))
    with caplog.at_level(logging.WARNING):
        await sender.start()
        await wait_until(lambda: "channel slow is not ready" in caplog.text)
    assert "no certificates" in caplog.text
    assert sender.trouble is None
    await sender.stop()
