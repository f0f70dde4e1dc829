"""What ``backlog`` replies, as it is evaluated: alerts, samples, worker and rhythm of one worker."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from application.monitoring.alert_book import Backlog, WorkerAlerts
from domain.monitoring.alert import AlertState
from domain.monitoring.sample import MetricSample
from infrastructure.monitoring.fleet import read_worker
from infrastructure.monitoring.packing import SHAPE, unpack

VERSION, CURSOR = ".version", ".cursor"
"""Fields beside those of the rules, whose ids begin with no dot."""
AT_HAND = 1
"""Stands for the samples where the one that the caller has is all there is."""
EPOCH = datetime.fromtimestamp(0, UTC)


def as_moment(ms: int) -> datetime:
    """Return a time of the store."""
    return EPOCH + timedelta(milliseconds=ms)


def as_states(
    worker_id: str, found: Mapping[str, str], now: datetime, policy: str, down: frozenset[str]
) -> WorkerAlerts:
    """Return a worker's alerts."""
    states = {name: AlertState.model_validate_json(text) for name, text in found.items() if name[0] != "."}
    return WorkerAlerts(worker_id, found.get(VERSION, "0"), int(found.get(CURSOR, "0")), states, now, policy, down)


def as_backlog(
    worker_id: str,
    found: list[Any],
    most: int,
    now: datetime,
    policy: str,
    down: frozenset[str],
    at_hand: MetricSample | None = None,
) -> Backlog | Exception:
    """Return what is to be evaluated of one worker, or why that cannot be read: it is no fault of the others.

    ``most`` is how many samples were asked for, ``at_hand`` the one that was not to be read.
    """
    worker, schedule, states, entries, shapes = found
    try:
        alerts = as_states(worker_id, _pairs(states), now, policy, down)
        known, interval_s = read_worker(worker) if worker else None, _interval_s(schedule)
        if entries == AT_HAND and at_hand is not None:
            return Backlog(alerts, [at_hand], worker=known, interval_s=interval_s)
        samples = _unpacked(worker_id, entries, _pairs(shapes))
        return Backlog(alerts, samples, len(entries) == most, known, interval_s)
    except (ValueError, KeyError) as error:
        return error


def _unpacked(worker_id: str, entries: list[tuple[str, list[str]]], shapes: Mapping[str, str]) -> list[MetricSample]:
    samples = []
    for entry_id, words in entries:
        fields = _pairs(words)
        # An entry without a shape is one that is just being trimmed.
        if shape := shapes[fields[SHAPE]]:
            samples.append(unpack(worker_id, entry_id, fields, shape))
    return samples


def _interval_s(schedule: str) -> float | None:
    """Return what a schedule with an interval says; None where only the whole of it can tell.

    It is read for each sample, and so not taken apart further than that.
    """
    facts = from_json(schedule) if schedule else {}
    interval = facts.get("interval")
    return None if interval is None else interval + facts.get("policy", {}).get("jitter_s", 0.0)


def _pairs(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))
