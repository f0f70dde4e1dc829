"""When to try a message again, and when to give it up. Decisions only: nothing is done here."""

import random
from datetime import timedelta

from application.monitoring.channel import NotDelivered
from application.monitoring.outbox import Ending, How, Sending

FIRST_DELAY_S = 1.0
SHORTEST_DELAY_S = 0.05
LONGEST_DELAY_S = 300.0
LONGEST_HOLD_S = 3_600.0
"""A receiver that asks for more with ``Retry-After`` is asked again after an hour."""
MISCONFIGURED_HOLD_S = 300.0
"""A wrong address or a refused key is mended by a person, who shall not wait for long then."""
MISCONFIGURED_FOR = timedelta(hours=1)
"""For so long messages wait for that person. What nobody mends in an hour, nobody waits for."""
GIVE_UP_AFTER = timedelta(hours=24)


def decide(failure: NotDelivered, sending: Sending, age: timedelta, give_up_after: timedelta = GIVE_UP_AFTER) -> Ending:
    """Return what follows a failed try of a message whose first alert is ``age`` old."""
    if failure.verdict == "refused":
        # One that is odd, or all being too much, must not take the others along.
        how: How = "split" if len(sending.notifications) > 1 else "refused"
        return Ending(how, failure.why, answer=failure.answer)
    is_misconfigured = failure.verdict == "misconfigured"
    patience = min(give_up_after, MISCONFIGURED_FOR) if is_misconfigured else give_up_after
    hold_s = min(failure.retry_after_s or 0.0, LONGEST_HOLD_S)
    if is_misconfigured:
        hold_s = MISCONFIGURED_HOLD_S
    return Ending(
        "expired" if age > patience else "again",
        failure.why,
        delay_s=max(retry_delay_s(sending.tries), hold_s),
        hold_s=hold_s,
        opens=is_misconfigured,
        answer=failure.answer,
    )


def retry_delay_s(tries: int) -> float:
    """Return the wait after so many failed tries: up to a ceiling that doubles, anywhere below it.

    The whole range is used, so that what failed together does not come together again.
    """
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(tries - 1, 30))
    return max(SHORTEST_DELAY_S, random.uniform(0, ceiling))  # noqa: S311 - spreads load, guards nothing
