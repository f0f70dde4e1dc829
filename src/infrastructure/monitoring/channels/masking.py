"""Keep secrets out of what is shown, logged and kept: also out of what others say."""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

SHORTEST = 8
LONGEST_WORD = 14
"""Characters. Shorter parts of a URL, or so long ones of letters alone, are words, such as services, and no secrets."""
HIDDEN = "(hidden)"


class Mask:
    """Replace secrets, and parts of URLs that may be secret, in a text."""

    def __init__(self, secrets: Iterable[str] = (), urls: Iterable[str] = ()) -> None:
        """Of URLs all but scheme and host may be secret: user, password, parts of path and query."""
        found = {secret for secret in secrets if secret}
        for url in urls:
            found |= {url, *_parts(url)}
        longest_first = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if found else None

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def _parts(url: str) -> set[str]:
    """Return what of a URL may be secret, as it stands and decoded."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return set()
    pieces = {parts.query, *re.split(r"[/&=?,;]", f"{parts.path}&{parts.query}")}
    pieces |= {parts.username or "", parts.password or ""}
    pieces |= {unquote(piece) for piece in pieces}
    found = {parts.password or "", unquote(parts.password or "")} - {""}
    return found | {
        piece for piece in pieces if len(piece) >= SHORTEST and piece.lower() != host and not _is_word(piece)
    }


def _is_word(piece: str) -> bool:
    return piece.isalpha() and len(piece) <= LONGEST_WORD
