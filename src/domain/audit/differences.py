"""What differs between two states of a thing: named, bounded, and without secrets. Pure."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "(hidden)"
LONGEST_VALUE = 300
"""Characters of JSON kept of one value."""
MOST_FIELDS = 40
DEEPEST = 8
NAMES_REMEMBERED = 1000
MOST_PLAIN = 10**18
"""A number below it is never too long to be shown."""
ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
SHORTEST_SECRET = len("a://b@")
PLAIN = (str, int, float, type(None))
"""What is no mapping, and most values are; to ask an abstract class costs more."""

SECRET_WORDS = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "privatekey", "accesskey"),
    *("credential", "authorization", "cookie", "signature", "webhook", "connectionstring", "dsn"),
)
"""Parts of the names of fields whose values are never shown; case, ``_`` and ``-`` do not count."""
IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]*@", re.IGNORECASE)
"""User and password in a URL."""
BARE_TOKEN = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)

Flat = dict[str, Any]


class Differences:
    """Tell what changed. ``hidden`` are more parts of names whose values are not to be shown."""

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        words = [_plain(word) for word in (*SECRET_WORDS, *hidden)]
        self._secret = re.compile("|".join(re.escape(word) for word in words if word))
        self._is_secret = lru_cache(NAMES_REMEMBERED)(self._has_secret_part)

    def between(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
        """Return dotted field -> ``{"before": …, "after": …}`` of what differs; one side is null where it had none.

        More than ``MOST_FIELDS`` are counted under ``…`` and not shown.
        """
        old, new = _flat(before or {}), _flat(after or {})
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        found: dict[str, dict[str, Any]] = {
            _cut(name): {"before": self.shown(name, old.get(name)), "after": self.shown(name, new.get(name))}
            for name in names[:MOST_FIELDS]
        }
        if len(names) > MOST_FIELDS:
            found["…"] = {"before": None, "after": f"{len(names) - MOST_FIELDS} more fields differ"}
        return found

    def shown(self, name: str, value: Any) -> Any:
        """Return a value as it may be shown under this name."""
        if value is None:
            return None
        if (self._is_secret if len(name) <= LONGEST_VALUE else self._has_secret_part)(name):
            return HIDDEN
        cleaned = self.without_secrets(value)
        if isinstance(cleaned, bool | float) or (isinstance(cleaned, int) and abs(cleaned) < MOST_PLAIN):
            return cleaned
        text = cleaned if isinstance(cleaned, str) else ENCODER.encode(cleaned)
        return cleaned if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)"

    def without_secrets(self, value: Any) -> Any:
        """Return a value without passwords in URLs, tokens of headers, and fields that are named like secrets."""
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # JSON has no word for it
        if isinstance(value, str):
            value = _encodable(value)
            if len(value) < SHORTEST_SECRET or ("@" not in value and len(value.split(None, 1)) < 2):
                return value
            return BARE_TOKEN.sub(rf"\1 {HIDDEN}", IN_URL.sub(rf"\1{HIDDEN}@", value))
        if not isinstance(value, PLAIN) and isinstance(value, Mapping):
            return {_encodable(str(name)): self.shown(str(name), inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.without_secrets(inner) for inner in value]
        return value

    def _has_secret_part(self, name: str) -> bool:
        return any(self._secret.search(_plain(part)) is not None for part in name.split("."))


def _flat(facts: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Flat:
    """Return nested mappings as one, with dotted names; what is deeper than ``DEEPEST`` stays whole."""
    found: Flat = {}
    for name, value in facts.items():
        dotted = f"{prefix}{name}"
        if not isinstance(value, PLAIN) and isinstance(value, Mapping) and value and depth < DEEPEST:
            found.update(_flat(value, f"{dotted}.", depth + 1))
        else:
            found[dotted] = value
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _cut(name: str) -> str:
    return _encodable(name if len(name) <= LONGEST_VALUE else f"{name[:LONGEST_VALUE]}…")


def _encodable(text: str) -> str:
    """Return a text as UTF-8 can carry it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
