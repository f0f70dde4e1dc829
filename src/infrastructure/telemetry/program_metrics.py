"""What one program answers to a scrape: its own counts, and what it reads of the fleet in the store."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from application.monitoring.channel_desk import ChannelDesk, Waiting
from application.monitoring.outbox import CircuitState
from application.monitoring.sender import SenderCounters
from application.runs.store import QueueStats, RunStore
from domain.errors import StoreUnavailable
from infrastructure.events.bus import RedisEventBus
from infrastructure.jobs.history.part import HistoryPart
from infrastructure.runs.instances import RedisInstances
from infrastructure.scheduling.engine import Engine
from infrastructure.telemetry.metrics import METRICS, MetricSpec
from infrastructure.telemetry.run_meter import Buckets, RunMeter

log = logging.getLogger(__name__)

FLEET_TIMEOUT_S = 1.0
"""How long a scrape waits for the store: Prometheus itself waits for 10 s."""
FLEET_KEPT_S = 1.0
"""What was read of the store answers all scrapes for so long: no number of scrapers is a load on it."""
MOST_GROUPS = 50
MOST_CHANNELS = 50
MOST_INSTANCES = 10_000

Values = dict[str, dict[tuple[str, ...], float]]
"""Name → values of the labels → value."""


@dataclass(frozen=True)
class Sources:
    """The parts of a program that are asked. ``engine`` is None where nothing executes."""

    facts: Mapping[str, str]
    """``version`` and ``role``."""
    skipped: Mapping[str, int]
    """Fires that were left out, by why."""
    lanes: tuple[str, ...]
    runs: RunStore
    instances: RedisInstances
    events: RedisEventBus
    engine: Engine | None
    notifications: SenderCounters | None
    channels: ChannelDesk
    history: HistoryPart | None
    spans: Callable[[], Mapping[str, int]]
    """Spans by what became of them."""


class ProgramMetrics:
    """The metrics of one program, in a registry of its own: two programs of one process do not mix."""

    def __init__(self, meter: RunMeter, sources: Sources) -> None:
        self._meter = meter
        self._sources = sources
        self._fleet: Values = {}
        self._asked_at = -FLEET_KEPT_S
        self._asking = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text for a scrape and its media type: Prometheus text, or OpenMetrics where ``accept`` wants it.

        Answers also while the store is away: then ``roundsman_store_up`` is 0, and nothing is told of the fleet.
        """
        async with self._asking:
            if time.monotonic() - self._asked_at >= FLEET_KEPT_S:
                self._fleet = await self._ask_store()
                self._asked_at = time.monotonic()
        encode, media_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, self._registry), media_type

    def describe(self) -> Iterable[Metric]:
        """Name what ``collect`` yields, for the registry."""
        return [_family(spec) for spec in METRICS]

    def collect(self) -> Iterable[Metric]:
        """Yield each metric with its samples; called by the registry, in whatever thread."""
        values = {**own_values(self._meter, self._sources), **self._fleet}
        jobs = self._meter.jobs()
        histograms = {
            "roundsman_run_lateness_seconds": {label: figures.lateness for label, figures in jobs.items()},
            "roundsman_run_duration_seconds": {label: figures.duration for label, figures in jobs.items()},
        }
        for spec in METRICS:
            family = _family(spec)
            for labels, value in values.get(spec.name, {}).items():
                family.add_sample(spec.name, dict(zip(spec.labels, labels, strict=True)), float(value))
            for label, buckets in histograms.get(spec.name, {}).items():
                _add_histogram(family, spec, label, buckets)
            yield family

    async def _ask_store(self) -> Values:
        try:
            async with asyncio.timeout(FLEET_TIMEOUT_S):
                queue = await self._sources.runs.queue_stats(self._sources.lanes)
                page = await self._sources.instances.page(gone=False, limit=MOST_INSTANCES)
                backlogs = await self._sources.events.backlogs()
                channels = (await self._sources.channels.waiting())[:MOST_CHANNELS]
                history = await _history_backlog(self._sources.history)
        except (StoreUnavailable, TimeoutError):
            return {"roundsman_store_up": {(): 0}}
        except Exception:
            log.exception("the store could not be read for metrics")
            return {"roundsman_store_up": {(): 0}}
        groups = {group: backlogs[group] for group in sorted(backlogs)[:MOST_GROUPS]}
        return {
            "roundsman_store_up": {(): 1},
            **_queue_values(queue),
            **_channel_values(channels),
            **history,
            "roundsman_instances": {
                (status,): count for status, count in Counter(one.status.value for one in page.items).items()
            },
            "roundsman_event_group_pending": {(group,): found.pending for group, found in groups.items()},
            "roundsman_event_group_lag": {(group,): found.lag for group, found in groups.items()},
        }


def own_values(meter: RunMeter, sources: Sources) -> Values:
    """Return what the process counted itself, but for the histograms."""
    counters = sources.events.counters
    outcomes = ("published", "handled", "failed", "reclaimed", "parked", "malformed")
    values: Values = {
        "build_info": {(sources.facts["version"], sources.facts["role"]): 1},
        **_job_values(meter),
        "fires_skipped_total": {(why,): count for why, count in sources.skipped.items()},
        "events_total": {(outcome,): getattr(counters, outcome) for outcome in outcomes},
        "event_gaps_total": {(): counters.gaps},
        "events_lost_total": {(): counters.lost},
        "store_reconnects_total": {("events",): counters.store_failures},
        "spans_total": {(outcome,): count for outcome, count in sources.spans().items()},
    }
    if (sent := sources.notifications) is not None:
        again = {name: count - sent.given_up.get(name, 0) for name, count in sent.failed.items()}
        values["notifications_total"] = {
            (name, outcome): count
            for outcome, counts in (("sent", sent.sent), ("failed", again), ("given_up", sent.given_up))
            for name, count in counts.items()
        }
    if sources.history is not None:
        values |= _history_values(sources.history)
    if sources.engine is not None:
        _add_engine(values, sources.engine)
    return {f"roundsman_{name}": found for name, found in values.items()}


def _job_values(meter: RunMeter) -> Values:
    jobs = meter.jobs()
    return {
        "fires_due_total": {(job,): figures.fired for job, figures in jobs.items()},
        "runs_started_total": {(job,): figures.started for job, figures in jobs.items()},
        "attempts_total": {
            (job, outcome): count for job, figures in jobs.items() for outcome, count in figures.ended.items()
        },
    }


def _add_engine(values: Values, engine: Engine) -> None:
    figures, condition = engine.figures(), engine.condition()
    if figures is None:
        return
    values["scheduler_passes_total"] = {(): figures.passes}
    values["scheduler_pass_age_seconds"] = {(): condition.ticked_s_ago or 0.0}
    values["schedules_taken_total"] = {(): figures.taken}
    values["takeovers_total"] = {(): figures.taken_over}
    values["runs_held"] = {(): condition.executing}
    values["slots_free"] = {(): condition.free_slots}
    values["bodies_abandoned"] = {(): condition.abandoned_bodies}
    values["lease_renewals_total"] = {("ok",): figures.renewed, ("failed",): figures.renewals_failed}
    values["loop_stalls_total"] = {(): figures.stalls}
    values["loop_stall_seconds_total"] = {(): figures.stalled_s}
    values["loop_blocked"] = {(): condition.blocked is not None}
    values["clock_offset_seconds"] = {(): engine.clock_offset_s}
    values["store_reconnects_total"] |= {
        ("scheduler",): figures.scheduler_losses,
        ("leases",): figures.renewal_losses,
    }


def _history_values(history: HistoryPart) -> Values:
    counters = history.keeper.counters
    return {
        "history_up": {(): not (history.connection.trouble or history.keeper.trouble)},
        "history_jobs_total": {
            (outcome,): getattr(counters, outcome) for outcome in ("exported", "refused", "removed")
        },
        "history_failures_total": {(): counters.failures},
    }


async def _history_backlog(history: HistoryPart | None) -> Values:
    if history is None:
        return {}
    backlog = await history.backlog()
    return {
        "roundsman_history_waiting": {(): backlog.jobs},
        "roundsman_history_oldest_seconds": {(): backlog.oldest_s},
        "roundsman_history_dropped": {(): backlog.dropped},
    }


def _queue_values(queue: QueueStats) -> Values:
    lanes = queue.lanes.values()
    return {
        "roundsman_queue_runs": {
            ("ready",): sum(lane.ready for lane in lanes),
            ("running",): sum(lane.running for lane in lanes),
            ("later",): queue.later,
            ("parked",): queue.parked,
        },
        "roundsman_queue_oldest_ready_seconds": {(): max((lane.oldest_ready_s or 0.0 for lane in lanes), default=0.0)},
    }


def _channel_values(channels: Sequence[Waiting]) -> Values:
    states = get_args(CircuitState)
    return {
        "roundsman_notifications_waiting": {(one.channel,): one.backlog.messages for one in channels},
        "roundsman_notifications_oldest_seconds": {(one.channel,): one.backlog.oldest_s for one in channels},
        "roundsman_channel_state": {
            (one.channel, state): one.circuit.state == state for one in channels for state in states
        },
    }


def _family(spec: MetricSpec) -> Metric:
    name = spec.name.removesuffix("_total") if spec.kind == "counter" else spec.name
    return Metric(name, spec.help, spec.kind)


def _add_histogram(family: Metric, spec: MetricSpec, label: str, buckets: Buckets) -> None:
    labels: dict[str, Any] = {"job_name": label}
    total = buckets.total
    cumulated = buckets.cumulated()
    for bound, count in cumulated:
        family.add_sample(f"{spec.name}_bucket", {**labels, "le": bound}, count)
    family.add_sample(f"{spec.name}_count", labels, cumulated[-1][1])
    family.add_sample(f"{spec.name}_sum", labels, total)
