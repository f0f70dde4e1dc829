"""Make channels of their settings. What is heavy is imported by the channel that needs it."""

from collections.abc import Sequence

from application.monitoring.channel import Channel
from application.monitoring.channels import Channels
from infrastructure.monitoring.channels.log import LogChannel
from infrastructure.monitoring.channels.settings import (
    AppriseSettings,
    ChannelSettings,
    LogChannelSettings,
    SnsSettings,
    WebhookSettings,
)


def make_channels(settings: Sequence[ChannelSettings]) -> Channels:
    """Return the channels, closed; what may be shown of them comes along."""
    return Channels([_channel(one) for one in settings], [one.shown for one in settings])


def _channel(settings: ChannelSettings) -> Channel:
    match settings:
        case LogChannelSettings():
            return LogChannel(settings.name)
        case WebhookSettings():
            from infrastructure.monitoring.channels.webhook import WebhookChannel

            return WebhookChannel(settings)
        case SnsSettings():
            from infrastructure.monitoring.channels.sns import SnsChannel

            return SnsChannel(settings)
        case AppriseSettings():
            from infrastructure.monitoring.channels.apprise import AppriseChannel

            return AppriseChannel(settings)
