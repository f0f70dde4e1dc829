"""What can go wrong between a shell and the API, each with its exit status.

The statuses are fixed: 2 usage, 3 not found, 4 refused, 5 unreachable, 1 anything else. Scripts branch on them.
"""

import re
from typing import Any

from domain.errors import RoundsmanError

FAILED, USAGE, NOT_FOUND, REFUSED, UNREACHABLE = 1, 2, 3, 4, 5
RUNS_LEFT = 6
"""``run`` ended, but the store did not hear what became of some runs: others take them over when their leases end."""
INTERRUPTED = 130


class CliError(RoundsmanError):
    """The command failed."""

    exit_status = FAILED

    @property
    def problem(self) -> dict[str, Any]:
        """Return the error as one JSON object, in the shape of the API's own errors plus ``exit_status``."""
        words = re.findall(r"[A-Z][a-z]*", type(self).__name__)
        return {
            "type": "urn:roundsman:cli:" + "-".join(words).lower(),
            "title": " ".join(words).capitalize(),
            "status": None,
            "detail": str(self),
            "exit_status": self.exit_status,
        }


class WrongAddress(CliError):
    """{shown} is no address of the API: {why}. Set ROUNDSMAN_URL or --url to one such as http://127.0.0.1:8000."""

    exit_status = USAGE


class WrongKey(CliError):
    """ROUNDSMAN_API_KEY cannot be a key: it has characters that are not printable ASCII. Set it anew."""

    exit_status = USAGE


class WrongInput(CliError):
    """{what}: {why}. '--help' behind the command explains its options."""

    exit_status = USAGE


class Unreachable(CliError):
    """{url} cannot be reached: {why}. {hint}"""

    exit_status = UNREACHABLE


class TestNotDelivered(CliError):
    """The test did not arrive on the channel '{name}': {why}. Mend the channel in the settings, or its receiver, and
    try again."""

    __test__ = False


class UnexpectedAnswer(CliError):
    """{url} does not answer like Roundsman: {why}. Check --url or ROUNDSMAN_URL."""


class OutputFailed(CliError):
    """The output could not be written: {why}. Mend that, or send it elsewhere; a change that was asked for is
    made all the same."""


class RefusedByServer(CliError):
    """{text}"""

    def __init__(self, *, exit_status: int, text: str, problem: dict[str, Any]) -> None:
        """Carry the server's own ``problem``; ``text`` is what a person reads of it."""
        super().__init__(exit_status=exit_status, text=text, problem=problem)
        self.exit_status = exit_status

    @property
    def problem(self) -> dict[str, Any]:
        """Return the server's problem with the exit status beside it."""
        return {**self.facts["problem"], "exit_status": self.exit_status}
