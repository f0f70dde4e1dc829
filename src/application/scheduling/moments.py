"""Milliseconds since the epoch, in which due times are counted, and the UTC times that they are."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def at(moment_ms: int) -> datetime:
    """Return the UTC time of milliseconds since the epoch, exactly."""
    return EPOCH + moment_ms * MILLISECOND


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since the epoch."""
    return (moment - EPOCH) // MILLISECOND
