"""The channel ``apprise``: mail, chat and pagers, through the library of that name, which is an extra."""

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from application.monitoring.channel import Answer, Channel, NotDelivered
from domain.monitoring.message import Message
from infrastructure.monitoring.channels.errors import InvalidChannel
from infrastructure.monitoring.channels.masking import Mask
from infrastructure.monitoring.channels.settings import AppriseSettings

if TYPE_CHECKING:
    from apprise import Apprise

log = logging.getLogger(__name__)

THREADS = 8
REMEMBERED = 500
"""Messages that arrived in part, and where."""
NOT_INSTALLED = "it needs the library apprise: install roundsman[apprise]"


@dataclass(frozen=True)
class Service:
    """One URL. ``shown`` is its scheme with its place in the settings."""

    shown: str
    notifier: "Apprise"
    mask: Mask


class AppriseChannel(Channel):
    """Send each message to all URLs. Where some took it and some did not, only the latter get it again.

    Which took it is remembered in memory: after a crash in between, those get it a second time.
    """

    type = "apprise"

    def __init__(self, settings: AppriseSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._opening = asyncio.Lock()
        self._services: list[Service] = []
        self._threads: ThreadPoolExecutor | None = None
        self._arrived: OrderedDict[str, set[str]] = OrderedDict()
        """Key of a message -> the services that took it."""

    def check(self) -> None:
        """Import the library, which takes a second or two, and have it read each URL."""
        self._load()

    async def open(self) -> None:
        """Load the services and have threads: the library blocks."""
        async with self._opening:
            if not self._services:
                self._services = await asyncio.to_thread(self._load)
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"channel {self.name}")

    async def send(self, message: Message) -> Answer:
        """Send to all that did not take it yet; raises ``NotDelivered`` while there are such."""
        await self.open()
        arrived = self._arrived.get(message.key, set())
        missing = [one for one in self._services if one.shown not in arrived]
        failures = await asyncio.gather(*(self._send_to(one, message) for one in missing))
        arrived |= {one.shown for one, why in zip(missing, failures, strict=True) if why is None}
        failed = [why for why in failures if why is not None]
        self._remember(message.key, arrived if failed else set())
        if failed:
            told = f" ({len(arrived)} of {len(self._services)} took it)" if arrived else ""
            raise NotDelivered("; ".join(failed) + told)
        return Answer(text=", ".join(one.shown for one in self._services))

    async def close(self) -> None:
        """Let go of the threads. One that still waits for a receiver ends by its own time limit."""
        threads, self._threads = self._threads, None
        self._services = []
        if threads is not None:
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    async def _send_to(self, service: Service, message: Message) -> str | None:
        """Return None when it arrived, else why not."""
        assert self._threads is not None  # noqa: S101 - it was opened
        loop = asyncio.get_running_loop()
        try:
            why = await loop.run_in_executor(self._threads, self._notify, service, message)
        except Exception as error:  # noqa: BLE001 - one of 170 plug-ins failed, in its own way
            why = type(error).__name__
        return None if why is None else f"{service.shown} {service.mask(why)}"

    def _notify(self, service: Service, message: Message) -> str | None:
        kind = _kind_of(message)
        with service.notifier.notify(
            body=message.text,
            title=message.title,
            notify_type=kind,
            body_format="text",
            timeout=self._settings.timeout_s,
        ) as result:
            if result:
                return None
            said = [str(getattr(entry, "message", entry)) for entry in result.logs()]
            return (said[-1] if said else "failed") if result.status.name != "TIMEOUT" else "did not answer in time"

    def _remember(self, key: str, arrived: set[str]) -> None:
        self._arrived.pop(key, None)
        if arrived:
            self._arrived[key] = arrived
        while len(self._arrived) > REMEMBERED:
            self._arrived.popitem(last=False)

    def _load(self) -> list[Service]:
        """Return the services; raises ``InvalidChannel``, which shows no URL."""
        try:
            import apprise
        except ImportError:
            raise InvalidChannel(name=self.name, why=NOT_INSTALLED) from None
        found = []
        for index, (scheme, secret) in enumerate(zip(self._settings.used, self._settings.urls, strict=True)):
            notifier = apprise.Apprise(asset=_asset(apprise))
            url = secret.get_secret_value()
            if not notifier.add(url) or len(notifier) != 1:
                why = f"urls[{index}] ({scheme}://…) is not understood by apprise; its documentation shows the form"
                raise InvalidChannel(name=self.name, why=why)
            for plugin in notifier:
                plugin.retry = 0  # the outbox tries again
            found.append(Service(f"{scheme}://…[{index}]", notifier, Mask(urls=[url])))
        return found


def _asset(apprise: Any) -> Any:
    """Return how the library is to behave: no redirects, no retries, nothing kept on disk."""
    return apprise.AppriseAsset(
        app_id="Roundsman",
        app_desc="Roundsman",
        app_url="",
        http_redirects=False,
        default_service_retry=0,
        secure_logging=True,
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )


def _kind_of(message: Message) -> str:
    """Return the colour of a message."""
    if message.is_test:
        return "info"
    if all(one.kind == "resolved" for one in message.notifications):
        return "success"
    is_critical = any(one.severity == "critical" and one.kind != "resolved" for one in message.notifications)
    return "failure" if is_critical else "warning"
