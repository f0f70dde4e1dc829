"""The Lua scripts of monitoring: each is one atomic step, with the events that tell it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from application.runs.asking import Note
from infrastructure.events.lua import emit_prelude
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.notes import call_of

MAX_AHEAD_S = 60.0
"""A sample further ahead of the store's clock is refused: it would keep out every true one until then."""

ALLOWED_OUT_OF_MEMORY = frozenset(
    {
        "change_worker",
        "remove_worker",
        "backlog",
        "unmonitored",
        "commit_alerts",
        "take_outbox",
        "settle_outbox",
        "change_policy",
        "look_failed",
        "forget_looks",
        "reach",
    }
)
"""What ends things or tells of them must pass when the store is full; new workers and samples need not."""


ACKNOWLEDGED = frozenset({"create_worker", "change_worker", "remove_worker", "change_policy"})
"""What somebody is told yes for is as durable as was chosen; a sample, or a step of an alert, is made up for."""

USE_LANES = frozenset({"commit_alerts", "take_outbox", "settle_outbox", "note_delivery"})
"""What puts messages into the outbox, or takes them out."""


@dataclass(frozen=True)
class MonitoringRetention:
    """How much is kept. Samples go by age, and by count where they are collected many times a second."""

    samples_kept_s: float = 86_400.0
    samples_kept: int = 100_000
    alerts_kept: int = 1_000
    events_kept: int = 100_000


@cache
def source(name: str, retention: MonitoringRetention) -> str:
    """Return the whole text of a script. Its shebang lets a server without memory refuse it whole."""
    flags = " flags=allow-oom" if name in ALLOWED_OUT_OF_MEMORY else ""
    head = (
        f"#!lua{flags}\n"
        "local PREFIX, SOURCE = KEYS[1], ARGV[1]\n"
        f"local EVENTS_KEPT, HISTORY_KEPT = {retention.events_kept}, {retention.alerts_kept}\n"
        f"local KEPT_MS, KEPT_COUNT = {retention.samples_kept_s * 1000:.0f}, {retention.samples_kept}\n"
        f"local AHEAD_MS = {MAX_AHEAD_S * 1000:.0f}\n"
    )
    shared = ["prelude", "lanes"] if name in USE_LANES else ["prelude"]
    return head + "\n".join([emit_prelude(), *(_text(one) for one in shared), _text(name)])


@cache
def _text(name: str) -> str:
    return files("infrastructure.monitoring").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


class MonitoringScripts:
    """Run the scripts on one store, in the name of one instance."""

    def __init__(self, store: RedisStore, instance_id: str, retention: MonitoringRetention | None = None) -> None:
        self.store = store
        self.retention = retention or MonitoringRetention()
        self._instance = instance_id
        self._scripts: dict[str, Any] = {}

    def key(self, *parts: str) -> str:
        """Return a key of monitoring: ``{namespace}:mon:a:b``."""
        return self.store.key("mon", *parts)

    async def run(
        self, name: str, args: Sequence[str | int | float], note: Note | None = None, *, hurries: bool = False
    ) -> Any:
        """Run one script; raises ``StoreUnavailable``. A script that changes workers writes ``note`` down with it.

        What ``hurries`` has a connection of its own, and waits behind nothing: for few calls that do much each.
        """
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.store.command.register_script(source(name, self.retention))
        keys, arguments = call_of(self.store, self._instance, args, note)
        with store_errors():
            if name in ACKNOWLEDGED:
                return await self.store.acknowledged(script, keys, arguments)
            if hurries:
                return await script(keys=keys, args=arguments)
            return await self.store.gathered_script(script, keys, arguments)
