"""Milliseconds since the epoch, in which due times are counted, and the UTC times that they are."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LAST_MOMENT = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // MILLISECOND
"""No due time lies behind it: there must be room for jitter, and for every timezone."""


def at(moment_ms: int) -> datetime:
    """Return the UTC time of milliseconds since the epoch, exactly."""
    return EPOCH + moment_ms * MILLISECOND


def iso(moment_ms: int) -> str:
    """Return that time as RFC 3339, as ``isoformat`` writes it, with a Z."""
    seconds, ms = divmod(moment_ms, 1000)
    return f"{_second(seconds)}.{ms:03}000Z" if ms else f"{_second(seconds)}Z"


@lru_cache(maxsize=1_000)  # each fire is written, and hundreds are of one second
def _second(seconds: int) -> str:
    return at(seconds * 1000).replace(tzinfo=None).isoformat()


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since the epoch."""
    return (moment - EPOCH) // MILLISECOND
