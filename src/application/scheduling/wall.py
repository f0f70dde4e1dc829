"""The clock on the wall of a timezone, and the instants at which it shows a time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from application.scheduling.moments import MILLISECOND


class WallClock:
    """Wall-clock times of one timezone, naive, and the UTC instants that they are."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)

    def offset(self, instant: datetime) -> timedelta:
        """Return by how much the wall clock is ahead of UTC."""
        return instant.astimezone(self._zone).utcoffset() or timedelta()

    def shown(self, instant: datetime) -> datetime:
        """Return what the wall clock shows."""
        return instant.astimezone(self._zone).replace(tzinfo=None)

    def instant(self, wall: datetime) -> datetime:
        """Return when the wall clock shows ``wall``: the first time, or the end of the gap that swallows it."""
        instant = wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        if instant.astimezone(self._zone).replace(tzinfo=None) == wall:
            return instant
        before = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        return self.change_between(before, instant)

    def change_between(self, low: datetime, high: datetime) -> datetime:
        """Return the instant in (low, high] from which another UTC offset holds, at most a millisecond late."""
        old = self.offset(low)
        while high - low > MILLISECOND:
            middle = low + (high - low) / 2
            if self.offset(middle) == old:
                low = middle
            else:
                high = middle
        return high
