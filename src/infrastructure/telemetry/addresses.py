"""The addresses in the settings of telemetry."""

from urllib.parse import urlsplit


def check_endpoint(url: str) -> str:
    """Return the URL of an OTLP endpoint, or ''; raise ``ValueError`` for what is none. It must hold no secrets."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or any(character.isspace() for character in url):
        raise ValueError(
            "must be the http:// or https:// URL of an OTLP endpoint over HTTP, such as http://127.0.0.1:4318"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user and password: put them into the variable OTEL_EXPORTER_OTLP_HEADERS")
    return url


def check_listen_address(address: str) -> str:
    """Return ``host:port``, or ''; raise ``ValueError`` for what is none."""
    if address:
        split_address(address)
    return address


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 address is in brackets. Raises ``ValueError``."""
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("must be host:port, such as 127.0.0.1:9464 or [::1]:9464, or empty")
    return host, int(port)
