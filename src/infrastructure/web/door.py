"""The door: whose requests come in at all.

Without API keys whoever reaches the server may do everything, so only this machine may reach it, and no web page that
its browser shows may do so in its name: neither by sending a form across origins (CSRF) nor under a name of the page's
own that resolves to 127.0.0.1 (DNS rebinding). Where the application around this one says who calls, it is asked later,
by the routes themselves, and whoever it knows may come from anywhere.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infrastructure.settings import ServerSettings
from infrastructure.web.access import Keyring, act_as
from infrastructure.web.errors import HostRefused, NotFromThisMachine, OriginRefused

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Door:
    """Refuse who may not come in, find out who calls, and say where the program is mounted."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, *, is_guarded: bool = False) -> None:
        self._app = app
        self._is_guarded = is_guarded
        self._keyring = Keyring(settings.api_keys)
        self._base_path = settings.base_path
        self._origins = {origin.lower() for origin in settings.allowed_origins}
        self._hosts = {settings.host.lower(), *(urlsplit(origin).hostname for origin in self._origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or raise why it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._keyring.is_empty and not self._is_guarded:
            self._check_client(scope)
            self._check_host(headers)
        if scope["method"] in CHANGING:
            self._check_origin(headers)
        identity = None if self._is_guarded else self._keyring.identify(headers.get("authorization"))
        act_as(identity, headers.get("user-agent", ""))
        # The base path is known to work with proxies that keep it in the URL and with those that take it away. Without
        # one it is where an application of somebody else's has mounted this one.
        root_path = self._base_path or scope.get("root_path", "")
        state = {**scope.get("state", {}), "identity": identity}
        await self._app({**scope, "root_path": root_path, "state": state}, receive, send)

    def _check_client(self, scope: Scope) -> None:
        client = scope.get("client")
        if client is not None and not _is_loopback(client[0]):
            raise NotFromThisMachine(client=client[0])

    def _check_host(self, headers: Headers) -> None:
        """Refuse foreign names. Programs that send none at all are no browsers."""
        host = headers.get("host")
        if host is None:
            return
        name = _name_of(host)
        if not (name in self._hosts or name == "localhost" or name.endswith(".localhost") or _is_loopback(name)):
            raise HostRefused(host=host[:100])

    def _check_origin(self, headers: Headers) -> None:
        """Refuse what a page of another origin sends: browsers say so in ``Sec-Fetch-Site`` or in ``Origin``."""
        origin = headers.get("origin")
        if origin is not None and origin.lower() in self._origins:
            return
        site = headers.get("sec-fetch-site")
        if site is not None:
            is_own = site in ("same-origin", "none")
        else:
            is_own = origin is None or origin.lower().partition("://")[2] == headers.get("host", "").lower()
        if not is_own:
            raise OriginRefused(origin=(origin or site or "")[:100])


class ResponseHeaders:
    """Add to each answer what keeps browsers from guessing its type, and caches from keeping it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _name_of(host: str) -> str:
    """Return the name in a ``Host`` header, without port and final dot."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
