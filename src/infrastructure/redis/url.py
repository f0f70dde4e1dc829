"""Read where the store is said to be, without connecting and without loading a client."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from infrastructure.redis.errors import InvalidNamespace, InvalidStoreUrl

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
TLS_OPTIONS = {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
"""What a rediss URL may add; the rest (timeouts, retries, decoding) is this program's to decide."""
NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
PRIMARY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
LONGEST_SOCKET_PATH = 107
"""Bytes that Linux takes for a unix socket; macOS takes 103. Longer ones fail with words of the system's own."""
MALFORMED = "host and port are malformed (in a password, write / ? # @ and : as %2F %3F %23 %40 and %3A)"

Host = tuple[str, int]


@dataclass(frozen=True)
class StoreUrl:
    """A store's URL, taken apart. ``hosts`` are the server's one, or the Sentinels; none for a unix socket."""

    scheme: str
    hosts: tuple[Host, ...] = ()
    path: str = ""
    primary_name: str = ""
    """What the Sentinels call the primary; empty without Sentinels."""
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def uses_tls(self) -> bool:
        """Whether all that is said is encrypted."""
        return self.scheme.startswith("rediss")

    @property
    def address(self) -> str:
        """Where the store is, without user and password."""
        if self.path:
            return f"unix://{self.path}"
        hosts = ",".join(written(host) for host in self.hosts)
        return f"{self.primary_name} (by the Sentinels {hosts})" if self.primary_name else hosts


def written(host: Host) -> str:
    """Return ``host:port`` as a URL has it."""
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def check_namespace(namespace: str) -> str:
    """Return ``namespace``; raise ``InvalidNamespace`` if it could not be part of every key."""
    if not NAMESPACE.fullmatch(namespace):
        raise InvalidNamespace(namespace=namespace)
    return namespace


def check_url(url: str) -> str:
    """Return the address that ``url`` names, without user and password; raise ``InvalidStoreUrl`` if it is not one."""
    return read_url(url).address


def read_url(url: str) -> StoreUrl:
    """Take ``url`` apart; raise ``InvalidStoreUrl`` if it is not one.

    The error quotes nothing of the URL: where it is malformed, any part of it may be a piece of the password.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidStoreUrl(why=MALFORMED) from error
    if parts.scheme not in SCHEMES:
        raise InvalidStoreUrl(why=f"it does not begin with {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    options = _options(parts)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    path, primary_name, database = _path(parts, options.pop("db", None))
    hosts = _hosts(parts)
    if not re.fullmatch("[0-9]{1,5}", database):
        raise InvalidStoreUrl(why="the database is not a number")
    if not all(name for name, _ in hosts):
        raise InvalidStoreUrl(why="it has no host")
    return StoreUrl(
        scheme=parts.scheme,
        hosts=hosts,
        path=path,
        primary_name=primary_name,
        database=int(database),
        user=unquote(user),
        password=unquote(password),
        tls_options=options,
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.fragment or options.keys() - {"db"} - (TLS_OPTIONS if parts.scheme.startswith("rediss") else set()):
        tls = f", and for rediss:// {', '.join(sorted(TLS_OPTIONS))}"
        raise InvalidStoreUrl(why=f"after ? only db is known{tls}")
    if options.get("ssl_cert_reqs", "required") not in ("none", "optional", "required"):
        raise InvalidStoreUrl(why="ssl_cert_reqs is required, or none")
    return options


def _path(parts: SplitResult, database: str | None) -> tuple[str, str, str]:
    """Return the socket's path, the name of the primary and the database; the scheme says what a path stands for."""
    path = unquote(parts.path)
    if parts.scheme == "unix":
        _check_socket_path(path)
        return path, "", "0" if database is None else database
    if not parts.scheme.endswith("+sentinel"):
        return "", "", database or path[1:] or "0"
    name, _, last = path[1:].partition("/")
    if not PRIMARY_NAME.fullmatch(name):
        raise InvalidStoreUrl(why="it does not say what the Sentinels call the primary: .../mymaster")
    return "", name, database or last or "0"


def _check_socket_path(path: str) -> None:
    if not path:
        raise InvalidStoreUrl(why="it has no path")
    if (length := len(path.encode())) > LONGEST_SOCKET_PATH:
        most = f"a unix socket's may have {LONGEST_SOCKET_PATH}; make a shorter link to its directory"
        raise InvalidStoreUrl(why=f"its path has {length} bytes, and {most}")


def _hosts(parts: SplitResult) -> tuple[Host, ...]:
    if parts.scheme == "unix":
        return ()
    by_sentinels = parts.scheme.endswith("+sentinel")
    hosts = parts.netloc.rpartition("@")[2]
    return tuple(
        _host(host, 26379 if by_sentinels else 6379) for host in (hosts.split(",") if by_sentinels else [hosts])
    )


def _host(text: str, default_port: int) -> Host:
    try:
        parts = urlsplit(f"//{text}")
        return unquote(parts.hostname or ""), default_port if parts.port is None else parts.port
    except ValueError as error:
        raise InvalidStoreUrl(why=MALFORMED) from error
