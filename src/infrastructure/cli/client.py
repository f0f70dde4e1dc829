"""The API as the commands call it: one client, one way to fail."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from infrastructure.cli.address import Address
from infrastructure.cli.answers import Answer, read_answer
from infrastructure.cli.errors import UnexpectedAnswer, Unreachable, WrongAddress, WrongKey

if TYPE_CHECKING:
    import httpx2

API = "/api/v1"
DEFAULT_URL = "http://127.0.0.1:8000"
PAGE = 200
TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
CLOCK_TOLERANCE = timedelta(seconds=2)
"""The ``Date`` of an answer counts whole seconds and may be a while old; a smaller difference is no difference."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Connection:
    """What is known of the API before the first call: where it is, and how long a call may take, in seconds."""

    url: str
    timeout_s: float

    def open(self) -> "ApiClient":
        """Return a client; raises ``WrongAddress`` or ``WrongKey``."""
        return ApiClient(Address.parse(self.url), read_key(), self.timeout_s)


def read_key() -> str | None:
    """Return the API key of the environment, without the line break that a file leaves behind."""
    key = os.environ.get("ROUNDSMAN_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise WrongKey
    return key or None


class ApiClient:
    """Call the API; every failure is a ``CliError`` with its exit status. Use it as a context manager."""

    def __init__(self, address: Address, key: str | None, timeout_s: float) -> None:
        """Make the HTTP client; nothing is sent yet."""
        self._address = address
        self._has_key = key is not None
        self._skew = timedelta()
        self._http = _http_client(address, key, timeout_s)
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def shown(self) -> str:
        """Return the address as people may see it."""
        return self._address.shown

    @property
    def now(self) -> datetime:
        """Return the time by the server's clock, so that 'in 4 s' is true on a machine whose own clock is not."""
        return datetime.now(UTC) + self._skew

    def get(self, path: str, **query: Any) -> Json:
        """Read one thing."""
        return self._call("GET", API + path, query=query).body

    def put(self, path: str, body: Json) -> Answer:
        """Make or change one thing; the answer's status tells which."""
        return self._call("PUT", API + path, body=body)

    def post(self, path: str, body: Json | None = None) -> Answer:
        """Make one thing, or ask for an action."""
        return self._call("POST", API + path, body=body)

    def delete(self, path: str, **query: Any) -> Json:
        """Remove one thing; an answer without content is an empty object."""
        return self._call("DELETE", API + path, query=query).body

    @contextmanager
    def stream(self, path: str, patience_s: float, after: str | None, **query: Any) -> Iterator["httpx2.Response"]:
        """Open an endless answer; it is cut off when nothing comes for ``patience_s`` seconds.

        ``after`` is where to go on. Raises what any call raises, while it opens; ``cut_off`` tells what comes later.
        """
        import httpx2

        headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": after})
        timeout = httpx2.Timeout(self._timeout_s, read=patience_s)
        params = {name: _text(value) for name, value in query.items() if value is not None}
        url = self._address.base + API + path
        with self._told("GET"), ExitStack() as stack:
            opened = self._http.stream("GET", url, params=params, headers=headers, timeout=timeout)
            response = stack.enter_context(opened)
            if response.status_code != 200:
                response.read()
                read_answer(response, self._address, self._has_key, lambda _: False)
            if "text/event-stream" not in response.headers.get("content-type", ""):
                raise UnexpectedAnswer(url=self._address.shown, why="it sends no events")
            self._compare_clocks(response.headers.get("date"))
            yield response

    def health(self) -> Answer:
        """Ask whether the program is ready; a 503 that tells the components is an answer too."""
        return self._call("GET", "/health/ready", is_fine=lambda status: status in (200, 503))

    def queue_health(self) -> Answer:
        """Ask how long the queues are; a 503 that tells why nobody knows is an answer too."""
        return self._call("GET", "/health/queue", is_fine=lambda status: status in (200, 503))

    def queue(self) -> Json:
        """Count the runs: ready, running, later, parked."""
        found = self.queue_health().body.get("queue_stats")
        return found if isinstance(found, dict) else {}

    def pages(self, path: str, limit: int | None = None, page_size: int = PAGE, **query: Any) -> Json:
        """Read a list to its end, or ``limit`` items of it, following ``next_cursor``; one page in the API's shape."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            wanted = page_size if limit is None else min(page_size, limit - len(items))
            page = self.get(path, **query, limit=wanted, cursor=cursor)
            found, following = page.get("items"), page.get("next_cursor")
            if not isinstance(found, list):
                raise UnexpectedAnswer(url=self._address.shown, why="a list came without its 'items'")
            items += found
            is_full = limit is not None and len(items) >= limit
            if following is None or is_full:
                return {**page, "items": items, "next_cursor": following}
            if following == cursor:  # an empty page may have one: what is rare is looked for over several
                raise UnexpectedAnswer(url=self._address.shown, why="its 'next_cursor' leads nowhere")
            cursor = str(following)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Json | None = None,
        body: Json | None = None,
        is_fine: Callable[[int], bool] = lambda status: 200 <= status < 300,
    ) -> Answer:
        response = self._send(method, path, query or {}, body)
        self._compare_clocks(response.headers.get("date"))
        return read_answer(response, self._address, self._has_key, is_fine)

    def _send(self, method: str, path: str, query: Json, body: Json | None) -> "httpx2.Response":
        params = {name: _text(value) for name, value in query.items() if value is not None}
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._told(method):
            return self._http.request(
                method, self._address.base + path, params=params, content=content, headers=headers
            )

    @contextmanager
    def _told(self, method: str) -> Iterator[None]:
        """Raise what goes wrong with HTTP as an error of the command line."""
        import httpx2

        try:
            yield
        except httpx2.TimeoutException as error:
            what = "connect" if isinstance(error, httpx2.ConnectTimeout) else "answer"
            raise self._unreachable(f"it did not {what} in {self._timeout_s:g} s", method, error) from error
        except httpx2.TransportError as error:
            raise self._unreachable(_reason(error), method, error) from error
        except (httpx2.InvalidURL, UnicodeError) as error:  # UnicodeError: a label of the host is too long
            raise WrongAddress(shown=self._address.shown, why=str(error)) from error
        except httpx2.HTTPError as error:
            raise UnexpectedAnswer(url=self._address.shown, why=_reason(error)) from error

    def _unreachable(self, why: str, method: str, error: Exception) -> Unreachable:
        """Tell why; and of a change that was sent, that nobody knows whether it was made."""
        import httpx2

        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            hint = "Is it running? 'roundsman run' starts it; ROUNDSMAN_URL or --url says where it is."
        elif method == "GET":
            hint = "Try again, or give it longer with --timeout."
        else:
            hint = "The change may or may not have been made: look before you try again."
        return Unreachable(url=self._address.shown, why=why, hint=hint)

    def _compare_clocks(self, date: str | None) -> None:
        if date is None:
            return
        try:
            skew = parsedate_to_datetime(date).astimezone(UTC) - datetime.now(UTC)
        except (ValueError, OverflowError):
            return  # a broken header is no reason to refuse a good answer
        self._skew = skew if abs(skew) > CLOCK_TOLERANCE else timedelta()


def user_agent() -> str:
    """Return how the command line names itself: with who uses it, for the audit. Nobody checks that."""
    import getpass
    import platform
    from importlib.metadata import version

    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run as a number without a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "somebody"
    return f"roundsman/{version('roundsman')} ({quote(f'{user}@{platform.node()}'[:100], safe='@')[:150]})"


def _http_client(address: Address, key: str | None, timeout_s: float) -> "httpx2.Client":
    import ssl

    import httpx2

    headers = {"Accept": "application/json", "User-Agent": user_agent()}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
    # Without TLS no certificate is needed, and reading the system's costs more than the call itself.
    verify: ssl.SSLContext | bool = True if address.is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx2.Client(headers=headers, timeout=timeout, verify=verify, trust_env=not address.is_loopback)
    except (ValueError, ImportError, httpx2.InvalidURL, OSError) as error:
        why = f"the proxy or certificate that the environment names is not usable ({error})"
        raise WrongAddress(shown=address.shown, why=why) from error


def _reason(error: Exception) -> str:
    """Return the words of an error, without the number that the system gives it."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)).rstrip(".") or type(error).__name__


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
