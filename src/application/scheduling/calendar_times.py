"""The due times of a calendar: one time of the day, every so many months or days."""

from calendar import monthrange
from datetime import MAXYEAR, date, datetime, time

from application.scheduling.moments import at, milliseconds
from application.scheduling.wall import WallClock
from domain.scheduling.trigger import CalendarInterval

MONTHS_OF_A_CYCLE = 4800
"""The calendar repeats itself after 400 years: a day that does not come within them never does."""


class CalendarTimes:
    """The due times of one calendar in one timezone. They follow from the first date: a late fire moves none."""

    def __init__(self, calendar: CalendarInterval, timezone: str, anchor: int) -> None:
        self._calendar = calendar
        self._wall = WallClock(timezone)
        self._time = time(calendar.hour, calendar.minute, calendar.second)
        self._first = calendar.start_date or self._wall.shown(at(anchor)).date()

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``; None when there is none before the year 9999."""
        after = at(moment)
        shown = self._wall.shown(after)
        found = self._dated(self._step_before(shown.date()))
        while found is not None:
            on, step = found
            wall = datetime.combine(on, self._time)
            # A time that the wall clock has passed has fired, also where a gap swallowed it; one that it shows for the
            # second time has fired too.
            if wall > shown and (instant := self._wall.instant(wall)) > after:
                return milliseconds(instant)
            found = self._dated(step + 1)
        return None

    def _step_before(self, day: date) -> int:
        """Return the last step up to ``day``, or in its month; the first for a day before it."""
        if self._calendar.step_days:
            steps = (day - self._first).days // self._calendar.step_days
        else:
            months = (day.year - self._first.year) * 12 + day.month - self._first.month
            steps = months // self._calendar.step_months
        return max(steps, 0)

    def _dated(self, step: int) -> tuple[date, int] | None:
        """Return the first date from ``step`` on, and the step that it is; None when none comes."""
        if self._calendar.step_days:
            days = self._first.toordinal() + step * self._calendar.step_days
            on = date.fromordinal(days) if days < date(MAXYEAR, 1, 1).toordinal() else None
            return None if on is None else (on, step)
        for later in range(step, step + MONTHS_OF_A_CYCLE):
            months = self._first.year * 12 + self._first.month - 1 + later * self._calendar.step_months
            year, month = months // 12, months % 12 + 1
            if year >= MAXYEAR:
                return None
            if (day := self._day_of(year, month)) is not None:
                return date(year, month, day), later
        return None

    def _day_of(self, year: int, month: int) -> int | None:
        """Return the day of a month; None where the month lacks it and is skipped."""
        wanted = self._calendar.day or self._first.day
        last = monthrange(year, month)[1]
        if wanted <= last:
            return wanted
        return last if self._calendar.missing_day == "last" else None
