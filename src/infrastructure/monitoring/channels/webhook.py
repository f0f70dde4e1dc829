"""The channel ``webhook``: signed JSON over HTTP."""

import asyncio
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from application.monitoring.channel import LONGEST_ANSWER, Answer, Channel, NotDelivered, Verdict
from domain.monitoring.message import Message
from infrastructure.monitoring.channels.body import WebhookBody
from infrastructure.monitoring.channels.errors import InvalidChannel
from infrastructure.monitoring.channels.line import Line, beginning_of, why_of
from infrastructure.monitoring.channels.masking import Mask
from infrastructure.monitoring.channels.settings import WebhookSettings
from infrastructure.monitoring.channels.signing import key_of, signature

if TYPE_CHECKING:
    import aiohttp

LATER = frozenset({408, 425, 429})
MISCONFIGURED = frozenset({401, 402, 403, 404, 405, 407, 410, 421, 426, 451})
"""Answers about the address or the caller, whatever the message: no other message fares better."""


class WebhookChannel(Channel):
    """Post each message to one address. Redirects are not followed: what is signed is for one receiver."""

    type = "webhook"
    opens_early = True  # the library takes a third of a second to import

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        """``clock`` tells the seconds that are signed."""
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._key = key_of(settings.secret.get_secret_value())
        self._opening = asyncio.Lock()
        self._line: Line | None = None
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        secrets = [settings.secret.get_secret_value(), *self._headers.values()]
        self._mask = Mask(secrets, [settings.url.get_secret_value()])

    def check(self) -> None:
        """Raise ``InvalidChannel`` when ``ca_file`` is no list of certificates."""
        if self._settings.ca_file:
            self._tls()

    async def open(self) -> None:
        """Make the HTTP client; twice is once."""
        if self._line is not None:
            return
        async with self._opening:
            if self._line is None:
                tls = await asyncio.to_thread(self._tls) if self._settings.ca_file else None
                self._line = await Line.connect(self._settings.url.get_secret_value(), self._headers, tls)

    async def send(self, message: Message) -> Answer:
        """Post one message; raises ``NotDelivered``."""
        await self.open()
        assert self._line is not None  # noqa: S101 - it was opened above
        import aiohttp

        body, timeout_s = WebhookBody.of(message).model_dump_json().encode(), self._settings.timeout_s
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._line.post(body, self._signed(message.key, body)) as response,
            ):
                return await self._read(response)
        except TimeoutError:
            raise NotDelivered(f"no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotDelivered(self._mask(why_of(error))) from None

    async def close(self) -> None:
        """Close the connections."""
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    def _signed(self, key: str, body: bytes) -> dict[str, str]:
        """Return the headers; the time is that of this try, so that a receiver may refuse what is old."""
        now = int(self._clock())
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "webhook-id": key,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, key, now, body),
        }

    async def _read(self, response: "aiohttp.ClientResponse") -> Answer:
        text = self._mask(_shown(await beginning_of(response)))
        status = response.status
        if 200 <= status < 300:
            return Answer(status, text)
        verdict = _verdict(status)
        where = "; it leads elsewhere, and redirects are not followed" if 300 <= status < 400 else ""
        raise NotDelivered(
            f"it answered {status}{where}",
            verdict,
            status=status,
            text=text,
            retry_after_s=_retry_after_s(response.headers.get("retry-after"), self._clock()),
        )

    def _tls(self) -> ssl.SSLContext:
        file = self._settings.ca_file
        try:
            return ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or "it has no certificates in PEM form"
            raise InvalidChannel(name=self.name, why=f"ca_file {file} cannot be used: {why}") from None


def _verdict(status: int) -> Verdict:
    if status >= 500 or status in LATER:
        return "again"
    return "refused" if 400 <= status < 500 and status not in MISCONFIGURED else "misconfigured"


def _shown(text: str) -> str:
    """Return an answer in one line of what can be printed, and as much of it as is kept."""
    return "".join(one if one.isprintable() else " " for one in text).strip()[:LONGEST_ANSWER]


def _retry_after_s(header: str | None, now: float) -> float | None:
    """Return after how many seconds the receiver wants to be asked again: it says so in seconds, or as a date."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.fromtimestamp(now, UTC)).total_seconds(), 0.0)
