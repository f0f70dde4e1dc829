"""Where notifications go, and which of them go together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import quote

from domain.monitoring.notification import Notification
from domain.monitoring.severity import Severity

FACETS = ("rule", "worker", "severity", "metric", "provider", "region")
LABEL = "label:"
DEFAULT_GROUP = ("rule", "worker")
EVERYTHING = "all"
"""The group of all notifications, where nothing divides them."""


def facet(notification: Notification, name: str) -> str:
    """Return one side of a notification by its name in settings: ``worker``, ``label:team``; '' where it has none."""
    if name.startswith(LABEL):
        return notification.labels.get(name.removeprefix(LABEL), "")
    if name in ("rule", "worker"):
        name += "_id"
    return str(getattr(notification, name))


def check_facet(name: str) -> str:
    """Return ``name``, or raise ``ValueError`` when notifications have no such side."""
    if name in FACETS or re.fullmatch(rf"{LABEL}[^\s]{{1,128}}", name):
        return name
    raise ValueError(f"there is no '{name}'; use one of {', '.join(FACETS)}, or {LABEL}NAME for a label of the worker")


@dataclass(frozen=True)
class Route:
    """Which notifications a channel takes: those of one of the severities for which every pattern fits.

    No severities are all; patterns are by side (``FACETS``), with ``*``, ``?`` and ``[...]``, case included.
    """

    severities: Sequence[Severity] = ()
    match: Mapping[str, str] = field(default_factory=dict)

    def takes(self, notification: Notification) -> bool:
        """Tell whether a notification goes here."""
        if self.severities and notification.severity not in self.severities:
            return False
        return all(fnmatchcase(facet(notification, name), pattern) for name, pattern in self.match.items())


@dataclass(frozen=True)
class Grouping:
    """Which notifications of a channel go together, how long the first waits for others, and how often they go out."""

    by: tuple[str, ...] = DEFAULT_GROUP
    wait_s: float = 0.0
    interval_s: float = 0.0

    def key(self, notification: Notification) -> str:
        """Return the name of a notification's group: its sides, ``@`` between them, which is in none."""
        return "@".join(quote(facet(notification, name), safe=":") for name in self.by) or EVERYTHING


@dataclass(frozen=True)
class Routing:
    """All channels with what they take, by name."""

    routes: Mapping[str, Route] = field(default_factory=lambda: {"log": Route()})
    grouping: Grouping = Grouping()

    def lanes(self, notification: Notification) -> dict[str, str]:
        """Return the lane of each channel that takes a notification."""
        group = self.grouping.key(notification)
        return {channel: group for channel, route in self.routes.items() if route.takes(notification)}
