"""When in its interval a worker is looked at: together with those that can be asked for in the same call."""

import hashlib
from datetime import UTC, datetime, timedelta

from domain.scheduling.policy import YEAR_S

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""What aligned rhythms count from: any fixed moment of the past, so that it does not matter who starts when."""


def aligned_start(provider: str, batch: str, interval_s: float) -> datetime:
    """Return a moment of the past that is in phase for all workers of a batch with the same interval.

    Each batch has an offset of its own in the interval, which follows from its name alone: so batches do not all fire
    at once, and stay where they are over restarts and instances.
    """
    digest = hashlib.blake2b(f"{provider}/{batch}".encode(), digest_size=8).digest()
    offset_ms = int(interval_s * 1000 * int.from_bytes(digest, "big") / 2**64)
    return EPOCH + timedelta(milliseconds=offset_ms)


def is_aligned(start: datetime) -> bool:
    """Tell whether a start is one of ours, and not one that somebody chose."""
    return EPOCH <= start < EPOCH + timedelta(seconds=YEAR_S)
