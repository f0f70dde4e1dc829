"""How bad something is."""

from typing import Literal, get_args

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the worst."""


def rank(severity: Severity) -> int:
    """Return how bad it is as a number that grows with it."""
    return SEVERITIES.index(severity)
