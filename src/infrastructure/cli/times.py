"""Durations and moments, as people write and read them. What is none raises ``ValueError``."""

import re
from datetime import UTC, datetime, timedelta

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_PLAIN = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST_S = 1000 * 366 * 86_400.0


def parse_duration(text: str) -> float:
    """Return the seconds of ``5``, ``5s``, ``1.5s``, ``250ms``, ``2m``, ``1h30m`` or ``7d``."""
    given = text.strip().lower()
    if _PLAIN.fullmatch(given):
        seconds = float(given)
    elif given and not _PART.sub("", given):
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(given))
    else:
        raise ValueError(f"'{text}' is not a duration; write 5 or 5s (seconds), 2m, 1h, 1h30m, 7d or 250ms")
    if seconds > _LONGEST_S:
        raise ValueError(f"'{text}' is longer than a thousand years")
    return seconds


def parse_time(text: str) -> str:
    """Return the RFC 3339 time in UTC of a time that carries its zone."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"'{text}' is no time; write one such as 2026-11-22T08:00:00Z") from None
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"'{text}' has no timezone; add one, for example 2026-11-22T08:00:00Z")
    try:
        return exact(moment)
    except OverflowError:
        raise ValueError(f"'{text}' is beyond the calendar") from None


def parse_moment(text: str) -> str:
    """Return the RFC 3339 time in UTC of a time that carries its zone, or of a duration counted back from now."""
    if "T" in text or " " in text.strip() or text.count("-") == 2:
        return parse_time(text)
    try:
        return exact(datetime.now(UTC) - timedelta(seconds=parse_duration(text)))
    except ValueError:
        why = f"'{text}' is neither a time such as 2026-11-22T08:00:00Z nor a duration back from now such as 15m"
        raise ValueError(why) from None


def exact(moment: datetime) -> str:
    """Return ``moment`` as the API writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_moment(value: object) -> datetime | None:
    """Return the moment of an API time; None for what is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def describe_duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``4 s``, ``1 min 30 s``, ``2 h``, ``3 d 4 h``."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:  # what three digits do not round to 60
        return f"{seconds:.3g} s"
    whole = round(seconds)
    units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")]
    size, name = next(unit for unit in units if whole >= unit[0])
    below, name_below = units[units.index((size, name)) + 1]
    first, rest = divmod(whole, size)
    return f"{first} {name}" + (f" {rest // below} {name_below}" if rest // below else "")


def describe_moment(value: object, now: datetime) -> str:
    """Return an API time with its distance from ``now``: ``2026-11-22 08:00:05Z (in 4 s)``, or ``-``."""
    moment = read_moment(value)
    if moment is None:
        return "-" if value is None else str(value)
    return f"{moment:%Y-%m-%d %H:%M:%S}Z ({describe_distance(moment, now)})"


def describe_distance(moment: datetime, now: datetime) -> str:
    """Return ``in 4 s``, ``12 s ago`` or ``now``."""
    distance = (moment - now).total_seconds()
    if abs(distance) < 0.5:
        return "now"
    size = describe_duration(max(1, round(abs(distance))))
    return f"in {size}" if distance > 0 else f"{size} ago"
