"""Measure the job service beside its peers: ``python -m benchmarks.jobs --help``.

Prints tables in Markdown; progress goes to stderr.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.job_parts import drained, latency, looked, together, weighed_with_keys
from benchmarks.job_report import markdown
from benchmarks.peers import JOB_CONTESTANTS, OURS, python_of
from benchmarks.process import ContestantFailed
from benchmarks.server import Server

PARTS = ("drained", "together", "latency", "memory", "looks")
Part = Callable[[Server, str, int], Awaitable[dict[str, Any]]]


class Run:
    """One run through all that was asked for."""

    def __init__(self, options: argparse.Namespace, server: Server) -> None:
        self._options = options
        self._server = server
        self.results: dict[str, Any] = {
            "machine": machine.facts(),
            "valkey": server.version,
            **{part: [] for part in PARTS},
        }

    async def everything(self) -> None:
        """Measure all parts."""
        for part in self._options.parts:
            await getattr(self, part)()

    async def drained(self) -> None:
        """Fill a queue, then empty it; what it takes when it is full is weighed on the way."""
        for _ in range(self._options.rounds):
            await self._each("drained", drained, self._options.jobs)

    async def together(self) -> None:
        """Empty a queue while it is filled."""
        for _ in range(self._options.rounds):
            await self._each("together", together, self._options.jobs)

    async def latency(self) -> None:
        """Submit to workers that have nothing to do."""
        for _ in range(self._options.rounds):
            await self._each("latency", latency, self._options.singles)

    async def memory(self) -> None:
        """Tell what queued jobs weigh: the first full queue of each contestant, and ours with keys."""
        seen = set()
        for row in self.results["drained"]:
            if "failed" not in row and row["contestant"] not in seen:
                seen.add(row["contestant"])
                self._weigh(row)
        if OURS in self._options.only:
            weight = await weighed_with_keys(self._server, self._options.jobs)
            self._note("memory", {"contestant": OURS, "what": "with event and idempotency key", "bytes": weight})

    def _weigh(self, row: dict[str, Any]) -> None:
        name, weight = row["contestant"], row["bytes_each"]
        if name == OURS:
            self._note("memory", {"contestant": name, "what": "the job", "bytes": weight - row["event_bytes_each"]})
            self._note("memory", {"contestant": name, "what": "with its event", "bytes": weight})
        else:
            self._note("memory", {"contestant": name, "what": "all", "bytes": weight})

    async def looks(self) -> None:
        """Look at a long queue of ours."""
        if OURS in self._options.only:
            self._note("looks", await looked(self._server, self._options.queued, self._options.looks))

    async def _each(self, part: str, measure: Part, jobs: int) -> None:
        for contestant in self._options.only:
            try:
                found = await measure(self._server, contestant, jobs)
            except ContestantFailed as error:
                found = {"contestant": contestant, "jobs": jobs, "failed": str(error)}
            self._note(part, found)

    def _note(self, part: str, found: dict[str, Any]) -> None:
        self.results[part].append(found)
        shown = {name: value for name, value in found.items() if name not in ("facts", "calls")}
        print(json.dumps({part: shown}), file=sys.stderr, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only ours, few jobs: does it work?")
    parser.add_argument("--only", nargs="+", choices=["ours", *JOB_CONTESTANTS], help="contestants (all)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what to measure (all)")
    parser.add_argument("--jobs", type=int, help="how many jobs a queue is filled with (20,000)")
    parser.add_argument("--singles", type=int, help="how many jobs are submitted one by one (200)")
    parser.add_argument("--queued", type=int, help="how many jobs wait while they are looked at (100,000)")
    parser.add_argument("--looks", type=int, help="how often each look is taken (20)")
    parser.add_argument("--rounds", type=int, help="how often all take their turn (1)")
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = {"only": JOB_CONTESTANTS, "parts": PARTS, "jobs": 20_000, "singles": 200}
    usual |= {"queued": 100_000, "looks": 20, "rounds": 1}
    if options.quick:
        usual |= {"only": ("ours",), "jobs": 200, "singles": 5, "queued": 300, "looks": 2}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.only = tuple(OURS if name == "ours" else name for name in options.only)
    options.parts = tuple(part for part in PARTS if part in options.parts)
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
