"""Text from elsewhere, made safe for a terminal."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control, format (among them those that reverse the direction), surrogates, line and paragraph separators."""


def printable(text: str, *, lines: bool = False) -> str:
    """Return ``text`` with what would steer a terminal written out, as in ``\\x1b``; ``lines`` keeps line breaks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character, lines) for character in text)


def _shown(character: str, lines: bool) -> str:
    if character == "\n" and lines:
        return character
    if unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode()
    return character
