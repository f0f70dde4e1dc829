"""Which metrics there are. The endpoint exposes these and no others; docs/how-to/watch-it.md has this very table."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Scope = Literal["process", "fleet"]


@dataclass(frozen=True)
class MetricSpec:
    """One metric. ``scope`` tells how to put the answers of several processes together.

    ``process``: each tells what it did itself: sum. ``fleet``: each tells the same, what is in the store: max. No label
    is called ``job`` or ``instance``: Prometheus gives these to what it scrapes.
    """

    name: str
    kind: Kind
    scope: Scope
    help: str
    labels: tuple[str, ...] = ()


def _process(name: str, kind: Kind, text: str, *labels: str) -> MetricSpec:
    return MetricSpec(f"roundsman_{name}", kind, "process", text, labels)


def _fleet(name: str, text: str, *labels: str) -> MetricSpec:
    return MetricSpec(f"roundsman_{name}", "gauge", "fleet", text, labels)


METRICS: tuple[MetricSpec, ...] = (
    _process("build_info", "gauge", "Always 1; what this process is.", "version", "role"),
    # Schedules
    _process("scheduler_passes_total", "counter", "Whole passes of the scheduler over what is due."),
    _process("scheduler_pass_age_seconds", "gauge", "Since the last whole pass; grows when the scheduler hangs."),
    _process("schedules_taken_total", "counter", "Due schedules that this process took from the store."),
    _process(
        "fires_due_total",
        "counter",
        "Due times that this process planned, those that were made up for by a later one included. What overlapped is "
        "among them and never starts.",
        "job_name",
    ),
    _process(
        "fires_skipped_total",
        "counter",
        "Fires that got no run of their own, by why: overlap (a run of the schedule was not over), missed (nobody "
        "could take it in time, and it is not caught up), paused, stopped, changed, parked (it was late when that "
        "came).",
        "why",
    ),
    # Runs
    _process("runs_started_total", "counter", "Attempts whose body began here.", "job_name"),
    _process(
        "run_lateness_seconds",
        "histogram",
        "From the due time to the begin of the body, by the store's clock: first attempts of what was meant in time.",
        "job_name",
    ),
    _process("run_duration_seconds", "histogram", "From the begin of the body to its end, each attempt.", "job_name"),
    _process(
        "attempts_total",
        "counter",
        "Attempts by how they ended: succeeded, retry (it is tried again), failed, cancelled, terminated (its schedule "
        "is over), released (given back by a process that stops), lost (another process owns the run).",
        "job_name",
        "outcome",
    ),
    _process("takeovers_total", "counter", "Runs that this process took over from an owner whose lease had lapsed."),
    _process("runs_held", "gauge", "Runs that this process has claimed and not settled."),
    _process("slots_free", "gauge", "Runs that this process could still claim."),
    _process("bodies_abandoned", "gauge", "Bodies that go on though their runs are over; each keeps a slot."),
    _process("lease_renewals_total", "counter", "Renewals, each of all leases of this process: ok, failed.", "outcome"),
    # The process
    _process("loop_stalls_total", "counter", "Times that something blocked the event loop for more than a second."),
    _process("loop_stall_seconds_total", "counter", "For how long the event loop was blocked, in all those times."),
    _process("loop_blocked", "gauge", "1 while the event loop is blocked."),
    _process("clock_offset_seconds", "gauge", "By how much this host's clock is ahead of the store's."),
    # The store
    _process(
        "store_up", "gauge", "1 when the store answered this very scrape; what is told of the fleet is absent else."
    ),
    _process(
        "store_reconnects_total",
        "counter",
        "Times that a part of this process lost the store and had to wait for it: events, leases, scheduler.",
        "part",
    ),
    # Events and alerts
    _process(
        "events_total",
        "counter",
        "What this process did with events: published (the store itself announces runs), handled, failed (a handler "
        "raised), reclaimed (from a silent process), parked, malformed.",
        "outcome",
    ),
    _process("event_gaps_total", "counter", "Times that a reader found that events were trimmed unread."),
    _process("events_lost_total", "counter", "Events in those gaps, as far as that can be told."),
    _process(
        "notifications_total",
        "counter",
        "Alert messages by channel and what became of a try: sent, failed (tried again), given_up.",
        "channel",
        "outcome",
    ),
    _process(
        "spans_total",
        "counter",
        "Spans by what became of them: exported, failed (the endpoint refused them or is away), dropped (queue full). "
        "Absent while no telemetry.otlp_endpoint is set.",
        "outcome",
    ),
    # The history of jobs; absent where none is kept
    _process("history_up", "gauge", "1 unless this process cannot open the database, or cannot take jobs to it."),
    _process(
        "history_jobs_total",
        "counter",
        "Jobs by what this process did with them: exported (from the store into the history), refused (they cannot be "
        "read or stored), removed (they were too old, or too many).",
        "outcome",
    ),
    _process("history_failures_total", "counter", "Times that the database did not take jobs."),
    # The fleet
    _fleet(
        "queue_runs", "Runs in the store: ready, running, later (delayed, or waiting for a retry), parked.", "state"
    ),
    _fleet("queue_oldest_ready_seconds", "For how long the first of the ready runs has been waiting; 0 without one."),
    _fleet("history_waiting", "Jobs that are over and wait in the store for the history."),
    _fleet("history_oldest_seconds", "For how long the first of them has been waiting."),
    _fleet("history_dropped", "Jobs that never got into the history, as too many waited; it only grows."),
    _fleet("notifications_waiting", "Alert messages that a channel has not taken yet.", "channel"),
    _fleet("notifications_oldest_seconds", "For how long the first of them has been waiting.", "channel"),
    _fleet(
        "channel_state",
        "1 for the state that a channel is in: closed (it works), open (it failed and is left alone), half_open (one "
        "message tries it).",
        "channel",
        "state",
    ),
    _fleet("instances", "Processes of the fleet by how they stand: alive, silent.", "status"),
    _fleet("event_group_pending", "Events that a group has read and not acknowledged.", "group"),
    _fleet("event_group_lag", "Events that a group has not read yet, as far as the store can tell.", "group"),
)

BY_NAME = {metric.name: metric for metric in METRICS}


def table() -> str:
    """Return the metrics as the table of the documentation (Markdown)."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels) or '-'} | {metric.scope} | {metric.help} |"
        for metric in METRICS
    ]
    return "\n".join(["| Metric | Type | Labels | Scope | What it tells |", "|---|---|---|---|---|", *rows])
