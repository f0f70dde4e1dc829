"""The channel ``log``: one clear line in the program's log."""

import logging

from application.monitoring.channel import Answer, Channel
from domain.monitoring.message import Message
from domain.monitoring.notification import Notification

log = logging.getLogger("roundsman.alerts")

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class LogChannel(Channel):
    """Write each alert down: at the level of its severity, resolved as information."""

    type = "log"

    def __init__(self, name: str = "log") -> None:
        self.name = name

    async def send(self, message: Message) -> Answer:
        """Log one line an alert; the key tells a second delivery from a second alert."""
        if message.is_test:
            log.info("%s: %s", message.title, message.text)
        for notification in message.notifications:
            log.log(
                level_of(notification),
                "ALERT %s [%s] %s",
                notification.kind.upper(),
                notification.severity,
                notification.about,
                extra={"alert_id": notification.alert_id, "alert_key": notification.key},
            )
        return Answer()


def level_of(notification: Notification) -> int:
    """Return how loud a notification is in the log."""
    return logging.INFO if notification.kind == "resolved" else LEVELS[notification.severity]
