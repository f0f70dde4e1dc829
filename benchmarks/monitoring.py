"""Measure monitoring: ``python -m benchmarks.monitoring --help``.

Prints tables in Markdown; progress goes to stderr.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.monitoring_day import KINDS, filled_day
from benchmarks.monitoring_fleet import REGIONS, Fleet, watched
from benchmarks.monitoring_report import markdown
from benchmarks.process import ContestantFailed
from benchmarks.server import Server

PARTS = ("fleet", "day")
MOST_REGIONS = len(REGIONS)
WORKERS = (1_000, 10_000)
PROGRAMS = (1, 2)


class Run:
    """One run through all that was asked for."""

    def __init__(self, options: argparse.Namespace, server: Server) -> None:
        self._options = options
        self._server = server
        self.results: dict[str, Any] = {
            "machine": machine.facts(),
            "valkey": server.version,
            "interval_s": options.interval,
            **{part: [] for part in PARTS},
        }

    async def everything(self) -> None:
        """Measure all parts."""
        for part in self._options.parts:
            await getattr(self, part)()

    async def fleet(self) -> None:
        """Watch fleets, with one program and with two."""
        options = self._options
        for workers in options.workers:
            for programs in options.programs:
                hot = min(options.hot, workers)
                fleet = Fleet(workers, options.regions, programs, options.intervals, options.interval, hot)
                try:
                    found = await watched(self._server, fleet)
                except ContestantFailed as error:
                    found = {**fleet.__dict__, "failed": str(error)}
                self._note("fleet", found)

    async def day(self) -> None:
        """Weigh what a day of samples takes."""
        for kind in KINDS:
            self._note("day", await filled_day(self._server, kind, self._options.weighed, self._options.interval))

    def _note(self, part: str, found: dict[str, Any]) -> None:
        self.results[part].append(found)
        print(json.dumps({part: found}), file=sys.stderr, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few workers, a few seconds: does it work?")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what to measure (all)")
    parser.add_argument("--workers", nargs="+", type=int, help=f"how many workers {WORKERS}")
    parser.add_argument("--programs", nargs="+", type=int, help=f"how many programs share the store {PROGRAMS}")
    parser.add_argument("--regions", type=int, choices=range(1, MOST_REGIONS + 1), help="in how many regions (1)")
    parser.add_argument("--intervals", type=int, help="how many are measured, after the first look at each (4)")
    parser.add_argument("--hot", type=int, help="how many workers raise an alert at the same moment (300)")
    parser.add_argument("--interval", type=int, help="how often each worker is looked at, s (60)")
    parser.add_argument("--weighed", type=int, help="workers of which a day of samples is stored (20)")
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = {"parts": PARTS, "workers": WORKERS, "programs": PROGRAMS, "regions": 1, "intervals": 4}
    usual |= {"hot": 300, "interval": 60, "weighed": 20}
    if options.quick:
        usual |= {"workers": (30,), "programs": (1,), "intervals": 0, "hot": 5, "weighed": 1}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.parts = tuple(part for part in PARTS if part in options.parts)
    return options


def main(arguments: list[str]) -> None:
    """Run what was asked for, and print it."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        run = Run(options, server)
        asyncio.run(run.everything())
    if options.json:
        options.json.write_text(json.dumps(run.results, indent=1))
    print(markdown(run.results))


if __name__ == "__main__":
    main(sys.argv[1:])
