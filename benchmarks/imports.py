"""How long a module of jobs waits for its imports: the median of fresh processes, timed within each.

.venv/bin/python -m benchmarks.imports
"""

import statistics
import subprocess
import sys

PROCESSES = 15
STATEMENTS = (
    "import asyncio",
    "import pydantic.main",
    "import application.scheduling",
    "from application.scheduling import *",
    "import testing",
)
TIMED = "import time; begun = time.perf_counter(); {statement}; print((time.perf_counter() - begun) * 1000)"


def milliseconds(statement: str) -> list[float]:
    """Return what a statement takes in each of some processes, after one that wrote the bytecode."""
    command = [sys.executable, "-c", TIMED.format(statement=statement)]
    times = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(PROCESSES + 1)]
    return times[1:]


def main() -> None:
    """Print a table in Markdown."""
    print("| Statement | median | fastest | slowest |\n|---|---:|---:|---:|")
    for statement in STATEMENTS:
        times = milliseconds(statement)
        print(f"| `{statement}` | {statistics.median(times):.0f} ms | {min(times):.0f} ms | {max(times):.0f} ms |")


if __name__ == "__main__":
    main()
