"""Alert rules in files: JSON or TOML, one or several."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from infrastructure.cli.errors import WrongInput


def read_rules(file: Path) -> list[dict[str, Any]]:
    """Return the rules of a file, of stdin for ``-``; raises ``WrongInput``.

    A table or an object is one rule; a list, ``items`` of it, or ``[[alerts.rules]]`` as in the settings are several.
    """
    what = "stdin" if str(file) == "-" else str(file)
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInput(what=what, why=f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rules = _rules_in(_parsed(text, what, file.suffix))
    if not rules or not all(isinstance(rule, dict) for rule in rules):
        raise WrongInput(what=what, why="it has no alert rule: a table with 'metric', or [[alerts.rules]]")
    return rules


def _parsed(text: str, what: str, suffix: str) -> Any:
    """Read JSON or TOML, whatever it is; the file's ending says of which a mistake is told."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why_json = str(error)
    try:
        # Through JSON: TOML has dates and times, which are no JSON, and no rule has one.
        return json.loads(json.dumps(tomllib.loads(text), default=str))
    except (ValueError, RecursionError) as error:
        why = {".json": f"it is not JSON: {why_json}", ".toml": f"it is not TOML: {error}"}
        both = f"it is neither JSON ({why_json}) nor TOML ({error})"
        raise WrongInput(what=what, why=why.get(suffix, both)) from None


def _rules_in(found: Any) -> list[Any]:
    if isinstance(found, list):
        return found
    if not isinstance(found, dict):
        return []
    alerts = found.get("alerts")
    several = alerts.get("rules") if isinstance(alerts, dict) else found.get("items")
    return several if isinstance(several, list) else [found] if found else []
