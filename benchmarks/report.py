"""Results as Markdown."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

NAMES = {
    "roundsman": "Roundsman",
    "apscheduler_memory": "APScheduler, memory",
    "apscheduler_redis": "APScheduler, Redis",
    "docket": "docket",
}


def markdown(results: dict[str, Any]) -> str:
    """Return all that was measured."""
    parts = [f"{machine_line(results)}; {results['seconds']:g} s a row.", *_contestants(results["rates"])]
    if results["rates"]:
        parts += ["### Fires a second", _rates(results["rates"])]
    if results["pairs"]:
        parts += ["### One process and two", _pairs(results["pairs"])]
    if results["restarts"]:
        parts += ["### Many schedules", _restarts(results["restarts"])]
    if results["bursts"]:
        parts += ["### All due at once", _bursts(results["bursts"])]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; numbers stand right."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' if i < 1 else '---:' for i, _ in enumerate(head))}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def machine_line(results: dict[str, Any]) -> str:
    """Return what the figures were taken on."""
    machine = results["machine"]
    load = " ".join(f"{value:.2f}" for value in machine["load_before"])
    return (
        f"{machine['date']}, {machine['cores']} cores of {machine['cpu']}, {machine['system']}, Python "
        f"{machine['python']}, Valkey {results['valkey']}, load average before: {load}"
    )


def _contestants(rates: list[dict[str, Any]]) -> list[str]:
    facts = {row["contestant"]: row["facts"] for row in rates if "facts" in row}
    if not facts:
        return []
    lines = (
        f"- {NAMES[name]} {fact['version']}, redis-py {fact['redis-py']}: {fact['set']}" for name, fact in facts.items()
    )
    return ["\n".join(lines)]


def _rates(rates: list[dict[str, Any]]) -> str:
    head = (
        "contestant", "schedules", "fires/s asked", "started/s", "missed", "sustained", "late p50", "late p99",
        "stall p99.9", "idle loop", "stolen", "CPU", "of Valkey", "a fire", "of Valkey",
    )  # fmt: skip
    return table(head, map(_rate, rates))


def _rate(row: dict[str, Any]) -> list[str]:
    name = NAMES[row["contestant"]]
    first = [name, f"{row['schedules']:,}", f"{row['rate']:,}"]
    if "skipped" in row:
        return [*first, row["skipped"], *[""] * 11]
    return [
        *first,
        f"{row['started_per_s']:,.0f}",
        f"{row['missed']:,}",
        ("yes" if row["sustained"] else "**no**") + (f", try {row['tries']}" if row["tries"] > 1 else ""),
        _ms(row["late_p50"]),
        _ms(row["late_p99"]),
        _ms(row["stall_p999"]),
        _ms(row["idle_stall_p999"]),
        f"{row['stolen_share']:.0%}",
        f"{row['cpu_share']:.0%}",
        f"{row['server_cpu_share']:.0%}",
        _us(row["cpu_us_a_fire"]),
        _us(row["server_cpu_us_a_fire"]),
    ]


def _pairs(pairs: list[dict[str, Any]]) -> str:
    head = ("run", "one: started/s", "CPU", "of Valkey", "two: started/s", "CPU", "of Valkey", "ratio")
    rows = []
    for number, pair in enumerate(pairs, 1):
        shares = [
            part
            for one in (pair["one"], pair["two"])
            for part in (f"{one['started_per_s']:,.0f}", f"{one['cpu_share']:.0%}", f"{one['server_cpu_share']:.0%}")
        ]
        rows.append([str(number), *shares, f"{pair['ratio']:.2f}"])
    ratios = sorted(pair["ratio"] for pair in pairs)
    return f"{table(head, rows)}\n\nMedian of the ratios: **{ratios[len(ratios) // 2]:.2f}**."


def _restarts(rows: list[dict[str, Any]]) -> str:
    head = ("contestant", "schedules", "added in", "bytes each", "restart to connected", "to first fire")
    return table(
        head,
        (
            [
                NAMES[r["contestant"]],
                f"{r['schedules']:,}",
                _s(r["added_s"]),
                f"{r['bytes_each']:,.0f}",
                _s(r["opened_s"]),
                _s(r["first_fire_s"]),
            ]
            for r in rows
        ),
    )


def _bursts(rows: list[dict[str, Any]]) -> str:
    head = ("contestant", "due at once", "started", "first after", "last after", "longest stall", "round trips")
    return table(
        head,
        (
            [
                NAMES[r["contestant"]],
                f"{r['schedules']:,}",
                f"{r['started']:,}",
                _s(r["first_s"]),
                _s(r["last_s"]),
                _s(r["stall_max"]),
                f"{sum(r['round_trips'].values()):,}",
            ]
            for r in rows
        ),
    )


def _ms(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds * 1000:,.1f} ms"


def _us(micros: float | None) -> str:
    return "-" if micros is None else f"{micros:,.0f} µs"


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
