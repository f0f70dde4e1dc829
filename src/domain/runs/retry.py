"""When a failed attempt is tried again. Policies decide and do nothing."""

import math
import random
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from domain.runs.errors import PermanentError, TransientError

MAX_RETRY_AFTER_S = 86_400.0
"""A day: what a server's Retry-After may ask for at the most."""


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Retry in ``delay_s`` seconds, or not at all (None)."""

    delay_s: float | None
    why: str


class RetryPolicy(BaseModel):
    """Exponential backoff with full jitter.

    The n-th retry waits a random time between 0 and ``min(max_backoff_s, backoff_s * factor ** n)`` seconds
    (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015). ``jitter=False`` waits the whole time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_retries: Annotated[int, Field(ge=0, le=1000)] = Field(default=0, description="Retries, beside the first try.")
    backoff_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        default=1.0, description="Most that the first retry waits."
    )
    factor: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = Field(
        default=2.0, description="By how much that grows from one retry to the next."
    )
    max_backoff_s: Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)] = Field(
        default=300.0, description="Most that any retry waits."
    )
    jitter: bool = Field(default=True, description="Wait a random part of that time, or the whole.")

    def decide(self, failure: BaseException, retries: int) -> RetryDecision:
        """Decide after ``failure``, with ``retries`` already spent (take-overs after a crash do not spend any)."""
        if isinstance(failure, PermanentError):
            return RetryDecision(None, "the body raised PermanentError")
        if retries >= self.max_retries:
            return RetryDecision(None, f"{retries} of {self.max_retries} retries are spent")
        asked_s = _asked_s(failure)
        if asked_s is not None:
            return RetryDecision(min(max(asked_s, 0.0), MAX_RETRY_AFTER_S), "as the body asked")
        return RetryDecision(self._backoff(retries), f"retry {retries + 1} of {self.max_retries}")

    def _backoff(self, retries: int) -> float:
        try:
            ceiling = min(self.max_backoff_s, self.backoff_s * self.factor**retries)
        except OverflowError:
            ceiling = self.max_backoff_s
        return random.uniform(0, ceiling) if self.jitter else ceiling  # noqa: S311 - spreads load, guards nothing


def _asked_s(failure: BaseException) -> float | None:
    """Return what the body asked for, if it is a number: it may come from a server's header as it stood there."""
    if not isinstance(failure, TransientError) or failure.retry_after_s is None:
        return None
    try:
        asked_s = float(failure.retry_after_s)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(asked_s) else asked_s
