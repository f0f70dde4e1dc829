"""The stage of a chaos run: one Valkey, several processes of the program, each behind a proxy of its own."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import redis.asyncio

from distributed.chaos_plan import Action, Scale
from distributed.chaos_slot import Slot
from distributed.checker_journal import ALL_EVENTS
from fault_proxy import FaultProxy
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
RESTART_AFTER_S = 0.5
"""How often a process that ended by itself is looked for, and started anew."""


def now_ms() -> int:
    """Return the time of this machine, which is the store's too."""
    return round(time.time() * 1000)


@dataclass(frozen=True)
class Struck:
    """A fault that happened: when (ms), what, and which process it hit, 0 for none."""

    at: int
    kind: str
    target: str
    pid: int = 0
    ended_at: int = 0


class Stage:
    """Own the server, the proxies and the processes; carry out faults and undo them."""

    def __init__(self, directory: Path, scale: Scale) -> None:
        self._directory = directory
        self._scale = scale
        self._stack = contextlib.AsyncExitStack()
        self.namespace = f"chaos{uuid4().hex[:8]}"
        self.ledger = directory / "ledger.jsonl"
        self.server = EmbeddedValkey(directory / "valkey", durability=scale.durability)
        self.slots: dict[str, Slot] = {}
        self.hands: dict[str, FaultProxy] = {}
        self.struck: list[Struck] = []
        self._tending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Stage":
        try:
            await self.server.start()
            self._stack.push_async_callback(self.server.stop)
            for n in range(self._scale.controls):
                self.hands[f"c{n}"] = await self._stack.enter_async_context(FaultProxy(self.server))
            for n in range(self._scale.processes):
                proxy = await self._stack.enter_async_context(FaultProxy(self.server))
                self.slots[f"p{n}"] = Slot(f"p{n}", proxy, self._directory, self._environ())
                self._stack.callback(self.slots[f"p{n}"].kill)
                self.slots[f"p{n}"].start()
            self._tending = asyncio.create_task(self._tend())
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        await self._stack.aclose()

    def _environ(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("ROUNDSMAN_")},
            "PYTHONPATH": f"{HERE}{os.pathsep}{SOURCES}",
            "LEDGER_FILE": str(self.ledger),
            "ROUNDSMAN_STORE__NAMESPACE": self.namespace,
            "ROUNDSMAN_BACKGROUND_JOBS__MODULES": '["chaos_jobs"]',
            "ROUNDSMAN_BACKGROUND_JOBS__CONTAINERS": '["chaos_jobs:Container"]',
            "ROUNDSMAN_BACKGROUND_JOBS__LEASE_S": str(self._scale.lease_s),
            "ROUNDSMAN_BACKGROUND_JOBS__SHUTDOWN_GRACE_S": "0.5",
            "ROUNDSMAN_BACKGROUND_JOBS__EVENTS_KEPT": str(ALL_EVENTS.events_kept),
            "ROUNDSMAN_MONITORING__LOCAL_WORKER": "false",
        }

    async def strike(self, action: Action) -> None:
        """Carry out one fault, with its end where it has one."""
        effects: dict[str, Callable[[Action], Awaitable[None]]] = {
            "kill": self._kill,
            "terminate": self._terminate,
            "roll": self._roll,
            "freeze": self._freeze,
            "latency": self._slow_down,
            "store kill": self._kill_store,
            "store freeze": self._freeze_store,
            "script flush": self._ask_server,
            "client kill": self._ask_server,
        }
        slot = self.slots.get(action.target)
        began, pid = now_ms(), slot.pid if slot else 0
        await effects.get(action.kind, self._partition)(action)
        self.struck.append(Struck(began, action.kind, action.target, pid, now_ms()))

    async def _kill(self, action: Action) -> None:
        slot = self.slots[action.target]
        slot.kill()
        await asyncio.sleep(action.facts["back_after_s"])
        slot.start()

    async def _terminate(self, action: Action) -> None:
        slot = self.slots[action.target]
        await slot.terminate()
        await asyncio.sleep(action.facts["back_after_s"])
        slot.start()

    async def _roll(self, action: Action) -> None:
        """Replace one process after the other, each when the one before is at work."""
        for slot in self.slots.values():
            await slot.terminate()
            slot.start()
            deadline = time.monotonic() + self._scale.roll_patience_s
            while time.monotonic() < deadline and not await self.announced([slot.pid]):
                await asyncio.sleep(0.1)

    async def announced(self, pids: list[int]) -> bool:
        """Tell whether these processes have announced themselves; not while the store is away."""
        client = redis.asyncio.Redis.from_url(self.server.url, socket_timeout=2, decode_responses=True)
        try:
            texts = await client.hvals(f"{{{self.namespace}}}:instances")  # type: ignore[misc]  # typed for both kinds
        except (redis.RedisError, OSError):
            return False
        finally:
            await client.aclose()
        return set(pids) <= {json.loads(text)["pid"] for text in texts}

    async def _freeze(self, action: Action) -> None:
        slot = self.slots[action.target]
        process = slot.process
        slot.signal(signal.SIGSTOP)
        await asyncio.sleep(action.facts["for_s"])
        if slot.process is process:
            slot.signal(signal.SIGCONT)

    def _proxy(self, target: str) -> FaultProxy:
        return self.hands[target] if target in self.hands else self.slots[target].proxy

    async def _partition(self, action: Action) -> None:
        proxy = self._proxy(action.target)
        await proxy.set_fault(action.kind)  # type: ignore[arg-type]  # the plan uses the proxy's own words
        await asyncio.sleep(action.facts["for_s"])
        await proxy.set_fault("none")

    async def _slow_down(self, action: Action) -> None:
        proxy = self._proxy(action.target)
        proxy.latency_s = action.facts["latency_s"]
        await asyncio.sleep(action.facts["for_s"])
        proxy.latency_s = 0.0

    async def _kill_store(self, _: Action) -> None:
        self._signal_server(signal.SIGKILL)

    async def _freeze_store(self, action: Action) -> None:
        self._signal_server(signal.SIGSTOP)
        await asyncio.sleep(action.facts["for_s"])
        self._signal_server(signal.SIGCONT)

    def _signal_server(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it died a moment ago, and is being restarted
            os.kill(self.server.pid, number)

    async def _ask_server(self, action: Action) -> None:
        command = ("SCRIPT", "FLUSH") if action.kind == "script flush" else ("CLIENT", "KILL", "TYPE", "normal")
        client = redis.asyncio.Redis.from_url(self.server.url, socket_timeout=2)
        try:
            await client.execute_command(*command)
        except (redis.RedisError, OSError):
            pass  # the store is away, or it has cut this connection too, as it was told to
        finally:
            await client.aclose()

    async def heal(self) -> None:
        """End all faults; return when every place has a process that has announced itself."""
        self._signal_server(signal.SIGCONT)
        for proxy in (*self.hands.values(), *(slot.proxy for slot in self.slots.values())):
            proxy.latency_s = 0.0
            await proxy.set_fault("none")
        for slot in self.slots.values():
            slot.signal(signal.SIGCONT)
            slot.start()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(RESTART_AFTER_S)
            for slot in self.slots.values():
                slot.look_after()

    def open_store(self) -> RedisStore:
        """Return connections that no fault of the plan is aimed at; the caller closes them."""
        return RedisStore(self.server.url, self.namespace)
