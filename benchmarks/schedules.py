"""Benchmark schedules beside the peers: ``make bench``, or ``python -m benchmarks.schedules --help``.

One run goes through all contestants, one after another, on one Valkey. Prints Markdown; progress goes to stderr.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.peers import CONTESTANTS, OURS, python_of
from benchmarks.process import ContestantFailed
from benchmarks.rates import Load, run_load
from benchmarks.report import markdown
from benchmarks.scale import run_burst, run_restart
from benchmarks.server import Server

RATES = (500, 2_000, 4_000, 8_000, 12_000)
SCHEDULES = (1_000, 10_000)
PARTS = ("rates", "pairs", "restarts", "bursts")
STORED = (OURS, "apscheduler_redis")
"""Contestants whose schedules outlive their process, and are not tasks that schedule themselves."""
RESTART_INTERVAL_S = 20
DISTURBED = 0.02
"""Who fails while more than this share of the machine was stolen by its host's other guests may try again."""


class Run:
    """One run through all that was asked for."""

    def __init__(self, options: argparse.Namespace, server: Server) -> None:
        self._options = options
        self._server = server
        self.results: dict[str, Any] = {
            "machine": machine.facts(),
            "valkey": server.version,
            "seconds": options.seconds,
            **{part: [] for part in PARTS},
        }

    async def everything(self) -> None:
        """Measure all parts."""
        for part in self._options.parts:
            await getattr(self, part)()

    async def rates(self) -> None:
        """Climb the rates with each contestant; one that fails a rate is not asked for a higher one."""
        for schedules in self._options.schedules:
            failed: dict[str, int] = {}
            for rate in self._options.rates:
                for contestant in self._options.only:
                    self._note("rates", await self._rung(contestant, schedules, rate, failed))

    async def _rung(self, contestant: str, schedules: int, rate: int, failed: dict[str, int]) -> dict[str, Any]:
        row = {"contestant": contestant, "schedules": schedules, "rate": rate}
        if contestant in failed:
            return {**row, "skipped": f"not asked: {failed[contestant]:,} was too much"}
        for tried in range(1, max(self._options.tries, 1) + 1):
            try:
                found = await run_load(self._server, contestant, self._load(schedules, rate)) | {"tries": tried}
            except ContestantFailed as error:
                self._say(str(error))
                found = {**row, "skipped": "ended with an error"}
            if not _may_try_again(found):
                break
            self._say(f"{contestant} at {rate:,} fires/s failed with {found['stolen_share']:.0%} of the machine stolen")
        if not found.get("sustained"):
            failed[contestant] = rate
        return found

    async def pairs(self) -> None:
        """Let one process and then two do as much as they can, again and again."""
        load = self._load(max(self._options.schedules), max(self._options.rates))
        for _ in range(self._options.pairs if OURS in self._options.only else 0):
            one, two = [await run_load(self._server, OURS, load, processes) for processes in (1, 2)]
            ratio = two["started_per_s"] / one["started_per_s"] if one["started_per_s"] else 0.0
            self._note("pairs", {"one": one, "two": two, "ratio": ratio})

    async def restarts(self) -> None:
        """Add, weigh, restart."""
        for contestant in self._stored():
            found = await run_restart(self._server, contestant, max(self._options.schedules), RESTART_INTERVAL_S)
            self._note("restarts", found)

    async def bursts(self) -> None:
        """Let all be due at once."""
        for schedules in self._options.schedules:
            for contestant in self._stored():
                self._note("bursts", await run_burst(self._server, contestant, schedules))

    def _stored(self) -> list[str]:
        return [contestant for contestant in self._options.only if contestant in STORED]

    def _load(self, schedules: int, rate: int) -> Load:
        return Load(schedules, rate, self._options.seconds, self._options.warm_up)

    def _note(self, part: str, found: dict[str, Any]) -> None:
        self.results[part].append(found)
        self._say(json.dumps({part: {name: value for name, value in found.items() if name not in ("facts", "said")}}))

    def _say(self, what: str) -> None:
        print(what, file=sys.stderr, flush=True)


def _may_try_again(found: dict[str, Any]) -> bool:
    """Tell whether a contestant failed on a machine that was not its own."""
    return not found.get("sustained") and found.get("stolen_share", 0.0) >= DISTURBED


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only ours, a few seconds, small rates: does it work?")
    parser.add_argument("--only", nargs="+", choices=["ours", *CONTESTANTS], help="contestants (all)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what to measure (all)")
    parser.add_argument("--rates", nargs="+", type=int, help=f"fires a second {RATES}")
    parser.add_argument("--schedules", nargs="+", type=int, help=f"how many schedules {SCHEDULES}")
    parser.add_argument("--seconds", type=float, help="length of each measurement (30)")
    parser.add_argument("--warm-up", type=float, help="seconds before each (5)")
    parser.add_argument("--pairs", type=int, help="how often one process is compared with two (5)")
    parser.add_argument("--tries", type=int, help="how often each may try a rate, where the machine was disturbed (3)")
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = {"only": CONTESTANTS, "parts": PARTS, "rates": RATES, "schedules": SCHEDULES}
    usual |= {"seconds": 30.0, "warm_up": 5.0, "pairs": 5, "tries": 3}
    if options.quick:
        usual |= {"only": ("ours",), "rates": (100,), "schedules": (50,), "seconds": 1.0, "warm_up": 0.5, "pairs": 1}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.only = tuple(OURS if name == "ours" else name for name in options.only)
    return options


def main(arguments: list[str]) -> None:
    """Run what was asked for, and print it."""
    options = parse(arguments)
    for contestant in options.only:
        python_of(contestant)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        run = Run(options, server)
        asyncio.run(run.everything())
    if options.json:
        options.json.write_text(json.dumps(run.results, indent=1))
    print(markdown(run.results))


if __name__ == "__main__":
    main(sys.argv[1:])
