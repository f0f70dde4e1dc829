"""Make docs/errors.md from the error classes of the program: ``make_errors.py`` writes it, ``--check`` compares.

A test compares, too: whoever adds an error or changes a text runs this once.
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "errors.md"
sys.path.insert(0, str(ROOT / "src"))

from domain.errors import RoundsmanError  # noqa: E402 - found through the line above
from domain.runs.errors import JobDefinitionError  # noqa: E402
from infrastructure.cli.answers import exit_status_of  # noqa: E402
from infrastructure.cli.errors import CliError, RefusedByServer  # noqa: E402
from infrastructure.redis.errors import StoreError  # noqa: E402
from infrastructure.web.problems import problem_type_of  # noqa: E402
from testing.errors import TestKitError  # noqa: E402

Kind = type[RoundsmanError]
HEAD = """# Errors

Every error that the program has words for: what it says, and what to do. Made from the code by
`scripts/make_errors.py`; do not edit it. A message is both paragraphs in a row: what was wrong and where, then what
to do. What stands in braces is filled in.

Over HTTP an error is `application/problem+json` (RFC 9457): branch on `type`, which stays as it is, and read
`detail`. A 429 and a 503 come with `Retry-After`. A command prints it to stderr, with `--json` as one JSON object, and
its exit status says which kind it is: 2 used wrongly, 3 not there, 4 refused, 5 nobody answers or the store is away, 1
anything else. `roundsman run` and `roundsman check` end with 1 for what a person must mend, and with 5 for what time
may mend. No message has a secret in it: keys and passwords are left out, and values of a request are not repeated.
"""


@dataclass(frozen=True)
class Group:
    """Errors that are met in one place. ``met`` is how: over the API, at a start, in code, or at the command line."""

    title: str
    text: str
    met: str
    holds: Callable[[Kind], bool]


def _of(*modules: str) -> Callable[[Kind], bool]:
    return lambda kind: kind.__module__ in modules


GROUPS = (
    Group(
        "Settings and the start",
        "`roundsman run` ends with one of these, and nothing was started. Whoever embeds the program gets it raised.",
        "start",
        _of(
            "infrastructure.settings",
            "infrastructure.program",
            "infrastructure.process",
            "infrastructure.user_containers",
            "infrastructure.jobs.history.address",
            "infrastructure.jobs.history.schema",
            "infrastructure.monitoring.channels.errors",
            "infrastructure.monitoring.user_providers",
            "infrastructure.telemetry.program_telemetry",
            "infrastructure.web.server",
            "infrastructure.web.metrics_server",
        ),
    ),
    Group(
        "The store at the start",
        "The embedded Valkey and its directory, and the Redis that `store.redis_url` names.",
        "start",
        lambda kind: issubclass(kind, StoreError),
    ),
    Group(
        "The store in mid-run",
        "[Operations](operations.md) says what the program does meanwhile.",
        "api",
        _of("domain.errors"),
    ),
    Group(
        "Job classes and what they depend on",
        "Found when the program starts, or when the class is made; never when a job fires.",
        "start",
        lambda kind: issubclass(kind, JobDefinitionError),
    ),
    Group("Jobs and runs", "About a job's name, data and result.", "api", _of("domain.runs.errors")),
    Group("Jobs in queues", "About a job that is submitted and followed.", "api", _of("domain.jobs.errors")),
    Group("Schedules and one-shots", "About when and how something runs.", "api", _of("domain.scheduling.errors")),
    Group("Events", "About publishing, subscribing and reading.", "api", _of("domain.events.errors")),
    Group(
        "Workers and alerts",
        "About what is watched.",
        "api",
        _of("domain.monitoring.errors", "domain.monitoring.import_errors", "domain.monitoring.channel_errors"),
    ),
    Group("The audit", "About questions to it.", "api", _of("domain.audit.errors")),
    Group("The HTTP API", "About a request before it reaches a feature.", "api", _of("infrastructure.web.errors")),
    Group("Embedding", "Raised in the application that has a `Roundsman`.", "api", _of("infrastructure.embedding")),
    Group(
        "The command line",
        "What a command says by itself; what the API refuses is printed in the API's words.",
        "command",
        lambda kind: issubclass(kind, CliError),
    ),
    Group("The test kit", "Raised in a test.", "code", lambda kind: issubclass(kind, TestKitError)),
)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` tell whether it is what the code makes."""
    made = page()
    if arguments == ["--check"]:
        is_same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == made
        print(
            "docs/errors.md is as the code has it" if is_same else "docs/errors.md is stale: run scripts/make_errors.py"
        )
        return 0 if is_same else 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


def kinds() -> list[Kind]:
    """Return every error class that can be raised; a base that only names a family has no facts, and is left out."""
    for root in ("domain", "application", "infrastructure", "testing"):
        package = importlib.import_module(root)
        for found in pkgutil.walk_packages(package.__path__, f"{root}."):
            importlib.import_module(found.name)
    ours = [kind for kind in dict.fromkeys(_below(RoundsmanError)) if _is_ours(kind)]
    return [kind for kind in ours if "{" in message(kind) or not any(map(_is_ours, kind.__subclasses__()))]


def _below(kind: Kind) -> Iterator[Kind]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _is_ours(kind: Kind) -> bool:
    """Tell whether the class is the program's: whoever imports this may have classes of their own."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return file is not None and Path(file).is_relative_to(ROOT / "src")


def message(kind: Kind) -> str:
    """Return the template of a message, in one line."""
    return " ".join((kind.__doc__ or "").split())


def remedy(kind: Kind) -> str:
    """Return what a message says after its first sentence; nothing where it has one alone."""
    return message(kind).removeprefix(finding(kind)).strip()


def finding(kind: Kind) -> str:
    """Return the first sentence of a message: what was wrong, and where."""
    return re.split(r"(?<=[.?]) (?=[A-Z'({])", message(kind))[0]


def group_of(kind: Kind) -> Group | None:
    """Return the first group that holds the class."""
    return next((group for group in GROUPS if group.holds(kind)), None)


def page() -> str:
    """Return the whole page."""
    by_group: dict[str, list[Kind]] = {group.title: [] for group in GROUPS}
    for kind in kinds():
        group = group_of(kind)
        if group is None:
            raise SystemExit(f"{kind.__module__}.{kind.__name__} is in no group of scripts/make_errors.py")
        by_group[group.title].append(kind)
    parts = [HEAD]
    for group in GROUPS:
        found = sorted(by_group[group.title], key=lambda kind: kind.__name__)
        parts += [f"## {group.title}\n\n{group.text}\n", *(_entry(kind, group.met) for kind in found)]
    return "\n".join(parts)


def _entry(kind: Kind, met: str) -> str:
    what = remedy(kind) or "What the server says: the message is its own."
    lines = [f"### {kind.__name__}", "", _statuses(kind, met), "", f"> {_plain(finding(kind))}", ""]
    return "\n".join([*lines, f"What to do: {_plain(what)}", ""])


def _statuses(kind: Kind, met: str) -> str:
    if met == "code":
        return "Raised in Python, in a test; neither HTTP nor a command shows it."
    if met == "start":
        return f"Exit status {kind.exit_status}; no HTTP, as nothing serves yet."
    if met == "command":
        if issubclass(kind, RefusedByServer):
            return "Exit status 3, 4 or 5, as the HTTP status asks for; with `--json`, the server's own problem."
        slug = problem_type_of(kind).rpartition(":")[2]
        return f"Exit status {kind.exit_status}; no HTTP, `urn:roundsman:cli:{slug}` with `--json`."
    return f"HTTP {kind.status}, `{problem_type_of(kind)}`. Exit status {exit_status_of(kind.status)}."


def _plain(text: str) -> str:
    """Return text as Markdown shows it literally."""
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
