"""Read what a server said when it refused."""

import re

FIRST_WORD = re.compile(r"(?:Command # \d+ \(.*\) of pipeline caused error: \(['\"])?([A-Z]{3,})\b", re.DOTALL)


def error_code(error: BaseException) -> str:
    """Return the word that begins the server's error, such as ``OOM``; ``ERR`` where there is none.

    redis-py keeps it apart for the errors that it knows, and a transaction puts words before it; a script that raises
    an error again puts ERR before it.
    """
    known: str = getattr(error, "status_code", None) or "ERR"
    found = FIRST_WORD.match(str(error)) if known == "ERR" else None
    return found[1] if found else known


def said_by(error: BaseException) -> str:
    """Return an error's words, to be put into a sentence: without the dot at their end."""
    return str(error).strip().rstrip(".") or type(error).__name__
