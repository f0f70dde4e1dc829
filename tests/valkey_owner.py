"""A real program that owns an embedded Valkey, for tests that kill it: ``python valkey_owner.py DATA_DIR [watchdog]``.

Says ``{"url": ..., "pid": ...}`` or ``{"error": ..., "message": ...}`` in one line; ends when its input closes.
"""

import dataclasses
import json
import sys
from pathlib import Path

from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.errors import StoreError
from infrastructure.redis.server_process import ServerPlan


class WatchdogValkey(EmbeddedValkey):
    """The way of platforms without a parent-death signal."""

    def _new_plan(self, binary: Path) -> ServerPlan:
        return dataclasses.replace(super()._new_plan(binary), use_watchdog=True)


def main(data_dir: str, mode: str = "") -> None:
    """Own the server until the input ends."""
    server = (WatchdogValkey if mode == "watchdog" else EmbeddedValkey)(Path(data_dir))
    try:
        server.open()
    except StoreError as error:
        say(error=type(error).__name__, message=str(error))
        return
    say(url=server.url, pid=server.pid)
    sys.stdin.read()
    server.close()


def say(**facts: object) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
