"""Results of the benchmark of monitoring as Markdown."""

from collections.abc import Iterable
from typing import Any

from benchmarks.report import machine_line, table

SAMPLES = {"ec2": "EC2 with the CloudWatch agent, two file systems", "whole": "every metric there is"}
CALLS = {
    "DescribeInstances": "describe",
    "DescribeInstanceStatus": "status",
    "GetMetricData": "metrics",
    "ListMetrics": "list metrics",
}
"""Calls of AWS -> their column."""
MIB = 2**20
FLEET = ("workers", "programs")


def markdown(results: dict[str, Any]) -> str:
    """Return all that was measured."""
    parts = [f"{machine_line(results)}; looked at every {results['interval_s']} s."]
    measured = [row for row in results["fleet"] if "failed" not in row]
    whole = [row for row in measured if row["intervals"]]
    failed = [row for row in results["fleet"] if "failed" in row]
    if measured:
        parts += ["### The first look at a fleet", _first(measured)]
    if whole:
        parts += ["### An interval", _calls(whole), "### What it costs", _costs(whole)]
    if measured:
        parts += ["### From a sample to its alert", _latency(measured)]
    if results["day"]:
        parts += ["### A day of samples", _day(results["day"])]
    parts += [f"{row['workers']:,} workers, programs: {row['programs']}: ended with an error" for row in failed]
    return "\n\n".join(parts) + "\n"


def _first(rows: list[dict[str, Any]]) -> str:
    head = (*FLEET, "imported in", "started in", "sampled", "last after", "CPU", "longest stall", *CALLS.values())
    return table(
        head,
        (
            [
                *_fleet(row),
                *(_s(row["first"][name]) for name in ("import_s", "start_s")),
                f"{row['first']['sampled']:,}",
                *(_s(row["first"][name]) for name in ("last_s", "cpu_s", "stall_max")),
                *(f"{row['first']['calls'].get(name, 0):,}" for name in CALLS),
            ]
            for row in rows
        ),
    )


def _calls(rows: list[dict[str, Any]]) -> str:
    head = (
        *FLEET,
        "most calls: describe",
        *list(CALLS.values())[1:],
        "samples",
        "missed",
        "failed",
        "half by",
        "all by",
    )
    return table(
        head,
        (
            [
                *_fleet(row),
                *(f"{max(one['calls'].get(name, 0) for one in row['rounds']):,}" for name in CALLS),
                _spread(one["stored"] for one in row["rounds"]),
                f"{sum(one['missed'] for one in row['rounds']):,}",
                f"{sum(one['failed'] for one in row['rounds']):,}",
                *(_s(max(one[name] or 0.0 for one in row["rounds"])) for name in ("after_p50", "after_last")),
            ]
            for row in rows
        ),
    )


def _costs(rows: list[dict[str, Any]]) -> str:
    head = (*FLEET, "CPU", "of Valkey", "of the stand-in", "most memory", "of Valkey", "stall p99.9", "longest stall")
    return table(
        head,
        (
            [
                *_fleet(row),
                " + ".join(f"{share:.0%}" for share in row["cpu_share"]),
                f"{row['server_cpu_share']:.0%}",
                f"{row['aws_cpu_share']:.0%}",
                " + ".join(_mib(taken) for taken in row["rss"]),
                f"{_mib(row['server_memory']['rss'])} ({_mib(row['server_memory']['used'])} in use)",
                *(_s(row[name]) for name in ("stall_p999", "stall_max")),
            ]
            for row in rows
        ),
    )


def _latency(rows: list[dict[str, Any]]) -> str:
    parts = ("to its event: p50", "p99", "from there: p50", "p99")
    head = (*FLEET, "alerts", "kind", "told", "p50", "p99", "longest", *parts)
    return table(
        head,
        (
            [
                *_fleet(row),
                f"{found['expected']:,}",
                kind,
                f"{found['told']:,}",
                *(_s(found[name]) for name in ("p50", "p99", "max")),
                *(_s(found[part][name]) for part in ("to_event", "from_event") for name in ("p50", "p99")),
            ]
            for row in rows
            for kind, found in row["latency"].items()
        ),
    )


def _day(rows: list[dict[str, Any]]) -> str:
    head = ("sample", "samples a worker", "bytes a worker", "by used memory", "bytes an event")
    return table(
        head,
        (
            [
                SAMPLES[row["kind"]],
                f"{row['samples_each']:,.0f}",
                f"{row['bytes_each']:,.0f}",
                f"{row['held_each']:,.0f}",
                f"{row['bytes_an_event']:,.0f}",
            ]
            for row in rows
        ),
    )


def _fleet(row: dict[str, Any]) -> list[str]:
    return [f"{row['workers']:,}", str(row["programs"])]


def _spread(counts: Iterable[int]) -> str:
    known = sorted(set(counts))
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _mib(taken: int) -> str:
    return f"{taken / MIB:,.0f} MiB"


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"
