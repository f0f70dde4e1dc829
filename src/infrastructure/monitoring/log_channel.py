"""The channel ``log``: one clear line in the program's log."""

import logging

from application.monitoring.sender import Channel
from domain.monitoring.notification import Notification

log = logging.getLogger("roundsman.alerts")

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class LogChannel(Channel):
    """Write each message down: firing at the level of its severity, resolved as information."""

    name = "log"

    async def send(self, notification: Notification) -> None:
        """Log one line; the key tells a second delivery from a second alert."""
        level = LEVELS[notification.severity] if notification.kind == "firing" else logging.INFO
        log.log(
            level,
            "ALERT %s [%s] %s",
            notification.kind.upper(),
            notification.severity,
            notification.about,
            extra={"alert_id": notification.alert_id, "alert_key": notification.key},
        )
