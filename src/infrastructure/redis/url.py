"""Check where the store is said to be, without connecting and without loading a client."""

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from infrastructure.redis.errors import InvalidNamespace, InvalidStoreUrl

TLS_OPTIONS = {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
"""What a rediss URL may add; the rest (timeouts, retries, decoding) is this program's to decide."""
NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_namespace(namespace: str) -> str:
    """Return ``namespace``; raise ``InvalidNamespace`` if it could not be part of every key."""
    if not NAMESPACE.fullmatch(namespace):
        raise InvalidNamespace(namespace=namespace)
    return namespace


def check_url(url: str) -> str:
    """Return the address that ``url`` names, without user and password; raise ``InvalidStoreUrl`` if it is not one.

    The error quotes nothing of the URL: where it is malformed, any part of it may be a piece of the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        hint = "host and port are malformed (in a password, write / ? # @ and : as %2F %3F %23 %40 and %3A)"
        raise InvalidStoreUrl(why=hint) from error
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise InvalidStoreUrl(why="it does not begin with redis://, rediss:// or unix://")
    _check_options(parts)
    if parts.scheme == "unix":
        if not parts.path:
            raise InvalidStoreUrl(why="it has no path")
        return f"unix://{unquote(parts.path)}"
    if not parts.hostname:
        raise InvalidStoreUrl(why="it has no host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port or 6379}"


def _check_options(parts: SplitResult) -> None:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.fragment or options.keys() - {"db"} - (TLS_OPTIONS if parts.scheme == "rediss" else set()):
        tls = f", and for rediss:// {', '.join(sorted(TLS_OPTIONS))}"
        raise InvalidStoreUrl(why=f"after ? only db is known{tls}")
    database = options.get("db") or ("0" if parts.scheme == "unix" else parts.path[1:] or "0")
    if not re.fullmatch("[0-9]{1,5}", database):
        raise InvalidStoreUrl(why="the database is not a number")
