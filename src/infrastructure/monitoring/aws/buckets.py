"""CloudWatch's periods: which are closed, and where the newest one ends."""

import math
from datetime import datetime, timedelta

BASIC_S = 300
DETAILED_S = 60
"""How long one value of EC2's own metrics is the average of, without and with detailed monitoring."""
LOOK_BACK = 3
"""How many closed periods are asked for: a value that comes late is taken when it is there."""


def closed_end(now: datetime, period_s: int, delay_s: float) -> int:
    """Return the end (seconds since the epoch) of the newest period whose values are all there."""
    return math.floor((now.timestamp() - delay_s) / period_s) * period_s


def window(now: datetime, periods: set[int], delay_s: float) -> tuple[int, int]:
    """Return the one window of a call that has the closed periods of all these lengths: start and end."""
    ends = {period: closed_end(now, period, delay_s) for period in periods}
    return min(end - LOOK_BACK * period for period, end in ends.items()), max(ends.values())


def is_closed(start: datetime, period_s: int, end: int) -> bool:
    """Tell whether the value of the period that begins at ``start`` is one that is closed by ``end``."""
    return (start + timedelta(seconds=period_s)).timestamp() <= end
