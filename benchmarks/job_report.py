"""Results of the job benchmark as Markdown."""

from typing import Any

from benchmarks.report import machine_line, table

NAMES = {
    "roundsman": "Roundsman",
    "arq": "arq",
    "saq": "SAQ",
    "taskiq": "taskiq",
    "taskiq_list": "taskiq, bare list",
    "streaq": "streaq",
    "docket": "docket",
    "dramatiq": "dramatiq",
    "celery": "Celery",
}


def markdown(results: dict[str, Any]) -> str:
    """Return all that was measured."""
    parts = [machine_line(results), *_contestants(results)]
    if results["drained"]:
        parts += ["### A full queue", _drained(results["drained"])]
    if results["together"]:
        parts += ["### Submitted while the worker runs", _together(results["together"])]
    if results["latency"]:
        parts += ["### Latency", _latency(results["latency"])]
    if results["memory"]:
        parts += ["### Memory of a queued job", _memory(results["memory"])]
    if results["looks"]:
        parts += ["### Looking at a long queue", *map(_looks, results["looks"])]
    return "\n\n".join(parts) + "\n"


def _contestants(results: dict[str, Any]) -> list[str]:
    facts = {
        row["contestant"]: row["facts"]
        for part in ("drained", "together", "latency")
        for row in results[part]
        if "facts" in row
    }
    lines = [f"- {NAMES[name]} {fact['version']}, {fact['client']}: {fact['set']}" for name, fact in facts.items()]
    return ["\n".join(lines)] if lines else []


def _drained(rows: list[dict[str, Any]]) -> str:
    costs = ("CPU to enqueue", "of Valkey", "to execute", "of Valkey")
    head = ("contestant", "jobs", "enqueued/s", "executed/s", "twice", *costs)
    return table(
        head,
        (
            _failed(row, head)
            or [
                *_first(row),
                f"{row['enqueued_per_s']:,.0f}",
                f"{row['executed_per_s']:,.0f}",
                f"{row['repeated']:,}",
                *_us(row, "enqueue_cpu_us", "enqueue_server_cpu_us", "worker_cpu_us", "server_cpu_us"),
            ]
            for row in rows
        ),
    )


def _together(rows: list[dict[str, Any]]) -> str:
    head = ("contestant", "jobs", "enqueued/s", "executed/s", "twice", "CPU to enqueue", "to execute", "of Valkey")
    return table(
        head,
        (
            _failed(row, head)
            or [
                *_first(row),
                f"{row['enqueued_per_s']:,.0f}",
                f"{row['executed_per_s']:,.0f}",
                f"{row['repeated']:,}",
                *_us(row, "enqueue_cpu_us", "worker_cpu_us", "server_cpu_us"),
            ]
            for row in rows
        ),
    )


def _latency(rows: list[dict[str, Any]]) -> str:
    head = ("contestant", "jobs", "p50", "p99", "longest")
    return table(
        head,
        (_failed(row, head) or [*_first(row), *(_ms(row[name]) for name in ("p50", "p99", "max"))] for row in rows),
    )


def _memory(rows: list[dict[str, Any]]) -> str:
    head = ("contestant", "what", "bytes a job")
    return table(head, ([NAMES[row["contestant"]], row["what"], f"{row['bytes']:,.0f}"] for row in rows))


def _looks(found: dict[str, Any]) -> str:
    head = (f"With {found['jobs']:,} jobs queued", "p50", "p99")
    return table(head, ([what, _ms(times["p50"]), _ms(times["p99"])] for what, times in found["times"].items()))


def _first(row: dict[str, Any]) -> list[str]:
    return [NAMES[row["contestant"]], f"{row['jobs']:,}"]


def _failed(row: dict[str, Any], head: tuple[str, ...]) -> list[str] | None:
    return [*_first(row), "ended with an error", *[""] * (len(head) - 3)] if "failed" in row else None


def _us(row: dict[str, Any], *names: str) -> list[str]:
    return ["-" if row[name] is None else f"{row[name]:,.0f} µs" for name in names]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
