"""The line to one address: an HTTP client that keeps its connections, and says in few words why it failed.

aiohttp, as a post costs a fifth of the processor time that it costs with httpx2, which the command line uses.
"""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    import aiohttp

AT_ONCE = 16
"""Connections. What is sent while all are busy waits, within its own time limit."""
KEPT_S = 30.0
LONGEST_READ = 4_096
"""Bytes of an answer that are read; the rest is never asked for."""
ANSWER_TIMEOUT_S = 1.0
"""For the text behind a status: that one says all that matters."""
WRITTEN_OUT = "!$%&'()*+,/:;=?@[]"
"""Characters of an address that are sent as they are, as percent signs are: who wrote them meant them."""


class Line:
    """Posts to one address. Nothing is followed, tried again, decoded or remembered, such as cookies. Close it."""

    def __init__(self, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None, proxy: str | None) -> None:
        """Use ``connect``, which knows where ``tls`` and ``proxy`` come from. Needs a running loop."""
        import aiohttp
        from yarl import URL

        self._url = URL(quote(url, safe=WRITTEN_OUT), encoded=True).with_user(None)
        self._proxy = proxy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=AT_ONCE,
                keepalive_timeout=KEPT_S,
                ssl=tls or True,
                resolver=aiohttp.ThreadedResolver(),
            ),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            read_bufsize=LONGEST_READ,
        )

    @classmethod
    async def connect(cls, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> "Line":
        """Return a line that has not connected yet. ``tls`` instead of the authorities that this machine trusts.

        The library is imported, and certificates are read from files, in a thread.
        """
        return cls(url, *await asyncio.to_thread(_prepare, url, headers, tls))

    def post(self, body: bytes, headers: Mapping[str, str]) -> "AbstractAsyncContextManager[aiohttp.ClientResponse]":
        """Post once; raises ``aiohttp.ClientError`` and ``OSError``, which ``why_of`` puts into words."""
        return self._session.post(self._url, data=body, headers=headers, proxy=self._proxy, allow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


async def beginning_of(response: "aiohttp.ClientResponse") -> str:
    """Return the first characters of an answer. One that does not come is no failure: the status has come."""
    import aiohttp

    found = b""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while part := await response.content.read(LONGEST_READ):
                found += part
                if len(found) >= LONGEST_READ:
                    break
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # what has come until then is shown
    return found[:LONGEST_READ].decode("utf-8", "replace")


def why_of(error: Exception) -> str:
    """Return in one line why a post failed: without the address, which the library's own texts have in them."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"ConnectError: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            return f"ConnectError: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError():
            return "RemoteProtocolError: it hung up without an answer"
        case aiohttp.ClientResponseError():
            return f"{type(error).__name__}: {error.status} {' '.join(error.message.split())}"
        case aiohttp.InvalidURL():
            return "InvalidURL: the address cannot be used"
        case _:
            return f"{type(error).__name__}: {error}"


def _prepare(
    url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None
) -> tuple[Mapping[str, str], ssl.SSLContext | None, str | None]:
    """Do what takes time: import the library, and read versions, certificates and a proxy."""
    import aiohttp  # noqa: F401 - so that it is there when the loop wants it

    if tls is None and url.startswith("https:"):
        from httpx2 import create_ssl_context

        tls = create_ssl_context()
    ours = {"User-Agent": f"roundsman/{version('roundsman')}", "Accept-Encoding": "identity"}
    return {**ours, **_authorization(url, headers)}, tls, _proxy_for(url)


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for an address (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""
    parts, proxies = urlsplit(url), getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return found if "://" in found else f"http://{found}"


def _authorization(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers, with user and password of the address, if it has any, instead of another authorization."""
    parts = urlsplit(url)
    if not (parts.username or parts.password):
        return dict(headers)
    both = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    rest = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return {**rest, "Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
