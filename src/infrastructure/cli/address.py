"""Where the API is, and the paths below it."""

import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, quote, urlsplit

from infrastructure.cli.errors import WrongAddress
from infrastructure.cli.texts import printable


@dataclass(frozen=True)
class Address:
    """The root of the program's URLs, with its base path and without a slash at the end."""

    base: str
    host: str
    is_tls: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read what a person set; raises ``WrongAddress``, which never shows a password."""
        given = url.strip()
        try:
            parts = urlsplit(given)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise WrongAddress(shown=_shown(given), why=str(error)) from None
        why = _problem(parts, given, host)
        if why is None and port == 0:
            why = "port 0 is none to connect to"
        if why is not None:
            raise WrongAddress(shown=_shown(given), why=why)
        return cls(given.rstrip("/"), host or "", parts.scheme == "https")

    @property
    def shown(self) -> str:
        """Return the address as messages show it."""
        return printable(self.base)

    @property
    def is_loopback(self) -> bool:
        """Tell whether it is this machine: no proxy lies between."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")


def _problem(parts: SplitResult, given: str, host: str | None) -> str | None:
    if parts.scheme not in ("http", "https") or "://" not in given:
        return "it must begin with http:// or https://"
    if not host or not given.isprintable() or " " in given:
        return "it names no host" if not host else "it has blanks or control characters"
    if parts.username or parts.password:
        return "it must not carry a user or a password; the key goes into ROUNDSMAN_API_KEY"
    if parts.query or parts.fragment or "?" in given or "#" in given:
        return "it must end with the path"
    return None


def _shown(given: str) -> str:
    scheme, separator, rest = given.rpartition("://")
    return repr(f"{scheme}{separator}{rest.rpartition('@')[2]}")


def path(*segments: str) -> str:
    """Return ``/a/b`` of segments that somebody typed, each quoted as one."""
    return "".join(f"/{quote(segment, safe='@:')}" for segment in segments)
