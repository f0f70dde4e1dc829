"""How much less often a worker is looked at while its looks fail."""

from pydantic import BaseModel, ConfigDict

from domain.scheduling.policy import UtcDatetime

TOLERATED = 2
"""Failures in a row that change nothing: one is an accident, and two may be the same one."""
LONGEST_FACTOR = 10
"""A worker that does not answer is looked at a tenth as often at the least ..."""
LONGEST_PAUSE_S = 600.0
"""... and every ten minutes at the least, or as often as it always was, where that is less."""


class Failures(BaseModel):
    """The looks at a worker that failed since the last that did not."""

    model_config = ConfigDict(frozen=True)

    count: int
    backing_off_until: UtcDatetime | None = None
    """When the next look is due, if that is later than its rhythm says."""


def pause_s(failures: int, interval_s: float) -> float:
    """Return after how many seconds to look again after so many failures in a row; 0: as the rhythm says.

    It doubles from the third failure on.
    """
    longest = min(interval_s * LONGEST_FACTOR, LONGEST_PAUSE_S)
    doubled = max(min(failures - TOLERATED, 10), 0)
    pause = min(interval_s * 2.0**doubled, longest)
    return pause if pause > interval_s else 0.0
