"""Measure what telemetry costs: ``python -m benchmarks.telemetry --help``.

The same load, one variant after another, in rounds; each figure is compared with that of ``nothing`` in the same round,
so that a machine that grows slower meanwhile does not count. Prints Markdown; progress goes to stderr.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.contestants.roundsman_telemetry import ENDPOINT, VARIANT
from benchmarks.rates import Load, run_load
from benchmarks.server import Server

NOTHING = "nothing"
"""No observer at all: what no setting gives, and what the others are compared with."""
VARIANTS = {
    NOTHING: "nobody looks on",
    "counted": "the default: metrics and the context of logs",
    "scraped each second": "the same, and a scrape each second",
    "one span in a hundred": "`otlp_endpoint` set, `trace_ratio = 0.01`",
    "spans": "`otlp_endpoint` set, every run traced",
}


async def measure(server: Server, load: Load, rounds: int) -> list[dict[str, dict[str, Any]]]:
    """Return the figures of each variant, by round; every other round goes the other way round."""
    found = []
    for number in range(rounds):
        one: dict[str, dict[str, Any]] = {}
        for variant in list(VARIANTS)[:: 1 if number % 2 == 0 else -1]:
            print(f"round {number + 1} of {rounds}: {variant}", file=sys.stderr, flush=True)
            os.environ[VARIANT] = variant
            one[variant] = await run_load(server, "roundsman_telemetry", load)
        found.append(one)
    return found


def markdown(rounds: list[dict[str, dict[str, Any]]], load: Load) -> str:
    """Return the table: medians, and ratios to ``nothing`` of the same round."""
    lines = [
        f"{load.rate} fires a second of {load.schedules} schedules, {load.seconds:g} s, {len(rounds)} rounds; "
        + ", ".join(f"{name} {value}" for name, value in machine.facts().items()),
        "",
        "| Telemetry | what | CPU a fire | ratio | p99 late | started |",
        "|---|---|---|---|---|---|",
    ]
    known = [one for one in rounds if all(figures["cpu_us_a_fire"] for figures in one.values())]
    lines += [_row(variant, known) for variant in VARIANTS] if known else ["", "No round in which all variants fired."]
    return "\n".join(lines)


def _row(variant: str, rounds: list[dict[str, dict[str, Any]]]) -> str:
    costs = [one[variant]["cpu_us_a_fire"] for one in rounds]
    ratios = [cost / one[NOTHING]["cpu_us_a_fire"] for cost, one in zip(costs, rounds, strict=True)]
    late_ms = statistics.median(one[variant]["late_p99"] * 1000 for one in rounds)
    started = statistics.median(one[variant]["started_per_s"] for one in rounds)
    return (
        f"| {variant} | {VARIANTS[variant]} | {statistics.median(costs):.0f} us | {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}) | {late_ms:.0f} ms | {started:.0f}/s |"
    )


@contextmanager
def receiver() -> Iterator[str]:
    """Take spans and throw them away, on a loopback port; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of a second at a small rate: does it work?")
    parser.add_argument("--rate", type=int, help="fires a second (2000)")
    parser.add_argument("--schedules", type=int, help="how many schedules (2000)")
    parser.add_argument("--seconds", type=float, help="length of each measurement (10)")
    parser.add_argument("--rounds", type=int, help="how often each variant is measured (5)")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = {"rate": 2000, "schedules": 2000, "seconds": 10.0, "rounds": 5}
    if options.quick:
        usual = {"rate": 100, "schedules": 50, "seconds": 1.0, "rounds": 1}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main(arguments: list[str]) -> None:
    """Run it, and print what was found."""
    options = parse(arguments)
    load = Load(options.schedules, options.rate, options.seconds, warm_up_s=0.5 if options.quick else 2.0)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server, receiver() as url:
        os.environ[ENDPOINT] = url
        print(markdown(asyncio.run(measure(server, load, options.rounds)), load))


if __name__ == "__main__":
    main(sys.argv[1:])
