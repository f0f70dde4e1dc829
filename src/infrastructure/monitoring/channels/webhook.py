"""The channel ``webhook``: signed JSON over HTTP."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from application.monitoring.channel import LONGEST_ANSWER, Answer, Channel, NotDelivered, Verdict
from domain.monitoring.message import Message
from infrastructure.monitoring.channels.body import WebhookBody
from infrastructure.monitoring.channels.errors import InvalidChannel
from infrastructure.monitoring.channels.masking import Mask
from infrastructure.monitoring.channels.settings import WebhookSettings
from infrastructure.monitoring.channels.signing import key_of, signature

if TYPE_CHECKING:
    import httpx2

LONGEST_READ = 4_096
"""Bytes of an answer that are read; the rest is never asked for."""
ANSWER_TIMEOUT_S = 1.0
"""For the text behind a status: that one says all that matters."""
LATER = frozenset({408, 425, 429})
MISCONFIGURED = frozenset({401, 402, 403, 404, 405, 407, 410, 421, 426, 451})
"""Answers about the address or the caller, whatever the message: no other message fares better."""
AT_ONCE = 10


class WebhookChannel(Channel):
    """Post each message to one address. Redirects are not followed: what is signed is for one receiver."""

    type = "webhook"

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        """``clock`` tells the seconds that are signed."""
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._key = key_of(settings.secret.get_secret_value())
        self._opening = asyncio.Lock()
        self._client: httpx2.AsyncClient | None = None
        self._quiet = _Quiet(settings.url.get_secret_value())
        headers = [value.get_secret_value() for value in settings.headers.values()]
        self._mask = Mask([settings.secret.get_secret_value(), *headers], [settings.url.get_secret_value()])

    def check(self) -> None:
        """Raise ``InvalidChannel`` when ``ca_file`` is no list of certificates."""
        if self._settings.ca_file:
            self._tls()

    async def open(self) -> None:
        """Make the HTTP client, in a thread: certificates are read from files."""
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make_client)
                logging.getLogger("httpx2").addFilter(self._quiet)

    async def send(self, message: Message) -> Answer:
        """Post one message; raises ``NotDelivered``."""
        import httpx2

        await self.open()
        assert self._client is not None  # noqa: S101 - it was opened above
        body = WebhookBody.of(message).model_dump_json().encode()
        url, timeout_s = self._settings.url.get_secret_value(), self._settings.timeout_s
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._client.stream("POST", url, content=body, headers=self._headers(message, body)) as response,
            ):
                return await self._read(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise NotDelivered(f"no answer within {timeout_s:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise NotDelivered(self._mask(f"{type(error).__name__}: {error}")) from None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
            logging.getLogger("httpx2").removeFilter(self._quiet)

    def _make_client(self) -> "httpx2.AsyncClient":
        import httpx2

        return httpx2.AsyncClient(
            verify=self._tls() if self._settings.ca_file else True,
            timeout=self._settings.timeout_s,
            limits=httpx2.Limits(max_connections=AT_ONCE, keepalive_expiry=30),
            headers={"User-Agent": f"roundsman/{version('roundsman')}", "Accept-Encoding": "identity"},
            follow_redirects=False,
        )

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        """Return the headers; the time is that of this try, so that a receiver may refuse what is old."""
        now = int(self._clock())
        return {
            **{name: value.get_secret_value() for name, value in self._settings.headers.items()},
            "Content-Type": "application/json",
            "Idempotency-Key": message.key,
            "webhook-id": message.key,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, message.key, now, body),
        }

    async def _read(self, response: "httpx2.Response") -> Answer:
        text = self._mask(await _beginning(response))
        status = response.status_code
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


class _Quiet(logging.Filter):
    """Keep the client's own line about each request out of the log: it has the whole URL, with what is secret in it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def filter(self, record: logging.LogRecord) -> bool:
        """Let pass what does not show the URL."""
        return self._url not in record.getMessage()


def _verdict(status: int) -> Verdict:
    if status >= 500 or status in LATER:
        return "again"
    return "refused" if 400 <= status < 500 and status not in MISCONFIGURED else "misconfigured"


async def _beginning(response: "httpx2.Response") -> str:
    """Return the first characters of an answer. One that does not come is no failure: the status has come."""
    import httpx2

    found = b""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            async for part in response.aiter_raw(LONGEST_READ):
                found += part
                if len(found) >= LONGEST_READ:
                    break
    except (TimeoutError, httpx2.HTTPError):
        pass  # what has come until then is shown
    text = found[:LONGEST_READ].decode("utf-8", "replace")
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
