"""A slow and plain reading of cron lines: look at every minute. What the fast one must agree with."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def named(text: str, low: int, high: int) -> set[int]:
    """The numbers that one field of numbers, ranges, lists and steps names."""
    numbers: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if first == "*" else int(first)
        end = high if first == "*" else int(last or start)
        numbers.update(range(start, end + 1)[:: int(step or 1)])
    return numbers


class MinuteScan:
    def __init__(self, line: str, zone: str) -> None:
        texts = line.split()
        self.zone = ZoneInfo(zone)
        fields = [named(text, low, high) for text, (low, high) in zip(texts, BOUNDS, strict=True)]
        self.minutes, self.hours, self.days, self.months, weekdays = fields
        self.weekdays = {day % 7 for day in weekdays}
        self.elapsed = texts[0].startswith("*") or texts[1].startswith("*")
        self.either = not texts[2].startswith("*") and not texts[4].startswith("*")

    def matches(self, wall: datetime) -> bool:
        by_day, by_weekday = wall.day in self.days, (wall.weekday() + 1) % 7 in self.weekdays
        day = by_day or by_weekday if self.either else by_day and by_weekday
        return day and wall.month in self.months and wall.hour in self.hours and wall.minute in self.minutes

    def fires(self, start: datetime, end: datetime) -> list[datetime]:
        """The fires in [start, end), both whole minutes."""
        found = self._shown(start, end) if self.elapsed else self._once(start - timedelta(days=1), end)
        return [fire for fire in found if fire >= start]

    def _shown(self, start: datetime, end: datetime) -> list[datetime]:
        """Every instant at which the wall clock shows a time that matches."""
        return [instant for instant, wall in self._walls(start, end) if self.matches(wall)]

    def _once(self, start: datetime, end: datetime) -> list[datetime]:
        """Every wall-clock time that matches, the first time it is shown or jumped over."""
        fires: list[datetime] = []
        seen: datetime | None = None
        for instant, wall in self._walls(start, end):
            passed = [wall]
            while seen is not None and passed[0] - MINUTE > seen:
                passed.insert(0, passed[0] - MINUTE)
            if any((seen is None or one > seen) and self.matches(one) for one in passed):
                fires.append(instant)
            seen = wall if seen is None else max(seen, wall)
        return fires

    def _walls(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        count = (end - start) // MINUTE
        instants = (start + n * MINUTE for n in range(count))
        return [(instant, instant.astimezone(self.zone).replace(tzinfo=None)) for instant in instants]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # the parts of a date


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
