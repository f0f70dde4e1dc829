"""Milliseconds since the epoch, in which due times are counted, and the UTC times that they are."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LAST_MOMENT = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // MILLISECOND
"""No due time lies behind it: there must be room for jitter, and for every timezone."""


def at(moment_ms: int) -> datetime:
    """Return the UTC time of milliseconds since the epoch, exactly."""
    return EPOCH + moment_ms * MILLISECOND


def iso(moment_ms: int) -> str:
    """Return that time as RFC 3339."""
    return at(moment_ms).isoformat().replace("+00:00", "Z")


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since the epoch."""
    return (moment - EPOCH) // MILLISECOND
