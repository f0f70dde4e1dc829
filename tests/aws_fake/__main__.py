"""Serve the stand-in as a process: ``PYTHONPATH=tests python -m aws_fake --port 4566``; port 0 takes a free one."""

import argparse
import asyncio
import contextlib
import signal

from aws_fake.server import AwsFake


async def serve(port: int) -> None:
    """Serve until SIGINT or SIGTERM; the first line of stdout is the URL."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AwsFake(port=port) as fake:
        print(fake.url, flush=True)  # noqa: T201 - whoever started it reads this
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
