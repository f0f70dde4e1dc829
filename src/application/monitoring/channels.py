"""The channels of a program: who owns them, and who may see what of them."""

import asyncio
import logging
from collections.abc import Iterable

from application.monitoring.channel import Channel, ChannelFacts
from domain.monitoring.channel_errors import ChannelNotFound
from domain.monitoring.routing import Route

log = logging.getLogger(__name__)


class Channels:
    """Hosted service: owns the channels, and closes them. Each opens by itself when something is sent on it."""

    def __init__(self, channels: Iterable[Channel], facts: Iterable[ChannelFacts] = ()) -> None:
        """``facts`` are what may be shown; a channel without any shows its name and type."""
        self._channels = {channel.name: channel for channel in channels}
        known = {one.name: one for one in facts}
        self.facts = [
            known.get(name) or ChannelFacts(name, channel.type, "", Route(), {})
            for name, channel in self._channels.items()
        ]

    @property
    def names(self) -> list[str]:
        """Return the names of all channels, in the order of the settings."""
        return list(self._channels)

    def get(self, name: str) -> Channel:
        """Return a channel; raises ``ChannelNotFound``."""
        channel = self._channels.get(name)
        if channel is None:
            raise ChannelNotFound(name=name, known=", ".join(self._channels) or "none")
        return channel

    def check(self) -> None:
        """Raise ``InvalidChannel`` for the first channel that cannot work as it is set."""
        for channel in self._channels.values():
            channel.check()

    async def start(self) -> None:
        """Check; nothing is connected: a receiver that is away must not keep the program from starting."""
        await asyncio.to_thread(self.check)

    async def stop(self) -> None:
        """Close all channels; twice is fine. One that cannot be closed is logged, and keeps no other open."""
        for channel in self._channels.values():
            try:
                await channel.close()
            except Exception:
                log.exception("the channel %s did not close cleanly", channel.name)
