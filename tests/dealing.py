"""Deal tests out to the processes of a run, so that none sits over a long test when all others are done.

xdist's ``worksteal`` gives each process an equal part of the list, one after the other, and lets who is done early take
from the ends of other parts. So what starts whole programs and mostly waits lies in the front of each part, module by
module, with quick tests between: they have the processors while it waits.
"""

from collections.abc import Callable, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

SLOW = {"distributed", "examples", "docs"}
"""Folders whose tests start programs."""
LONG = {"alert_plays", "aws_moto", "benchmarks", "cli_program", "model_store", "random_control", "typed_job_modules"}
"""Modules elsewhere with a test of ten seconds and more."""
FRONT = 0.6
"""Of a part: what lies behind it is quick."""


def is_slow(module: Path) -> bool:
    """Tell whether a module, by its path, lies in one of the slow folders, or has a long test."""
    return module.parent.name in SLOW or module.stem.removeprefix("test_") in LONG


def deal(tests: Sequence[T], module_of: Callable[[T], Any], slow: Callable[[Any], bool], parts: int) -> list[T]:
    """Return the same tests as so many processes get them, part by part; modules stay whole but where a part ends."""
    modules = [(slow(module), list(found)) for module, found in groupby(tests, module_of)]
    long = [found for is_long, found in modules if is_long]
    quick = [test for is_long, found in modules if not is_long for test in found]
    dealt: list[T] = []
    for part in range(parts):
        mine = long[part::parts]
        size = (len(tests) - len(dealt)) // (parts - part)
        some = max(0, size - sum(map(len, mine)))
        dealt += _mix(mine, [list(found) for _, found in groupby(quick[:some], module_of)])
        del quick[:some]
    return dealt + quick


def _mix(long: list[list[T]], quick: list[list[T]]) -> list[T]:
    """Put a part together: modules with quick tests between those with long ones, and behind them."""
    between = int(len(quick) * FRONT / len(long)) if long else 0
    front = [[*module, *chain(*quick[n * between : (n + 1) * between])] for n, module in enumerate(long)]
    return [*chain(*front), *chain(*quick[len(long) * between :])]
