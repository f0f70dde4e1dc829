"""The root command: it turns what a command raises into one readable error and an exit status."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from domain.errors import RoundsmanError
from infrastructure.cli.errors import FAILED, INTERRUPTED, USAGE, CliError, OutputFailed
from infrastructure.cli.texts import printable


class RoundsmanGroup(TyperGroup):
    """Run a command and exit: nothing that a user can meet leaves as a traceback.

    Errors go to stderr, as lines of text or, with ``--json`` on the command line, as one JSON object in one line.
    A reader that closed its end of a pipe is no error to speak of.
    """

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run with ``args`` (the process's own without) and exit with the command's status."""
        given = list(sys.argv[1:] if args is None else args)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        extra["standalone_mode"] = False
        as_json = "--json" in given
        status = self._run(given, as_json, *rest, **extra)
        sys.exit(_flushed(status, as_json))

    def _run(self, args: list[str], as_json: bool, *rest: Any, **extra: Any) -> int:
        try:
            status = super().main(args, *rest, **extra)
        except CliError as error:
            return _report(error.problem, str(error), as_json)
        except RoundsmanError as error:
            status = error.exit_status
            return _report(_plain(type(error).__name__, str(error), status), str(error), as_json)
        except typer.TyperException as error:
            return _usage(error, as_json)
        except typer.Abort:
            return INTERRUPTED
        return status if isinstance(status, int) else 0


def _plain(kind: str, detail: str, exit_status: int) -> dict[str, Any]:
    return {"type": "about:blank", "title": kind, "status": None, "detail": detail, "exit_status": exit_status}


def _report(problem: dict[str, Any], text: str, as_json: bool) -> int:
    print(json.dumps(problem) if as_json else f"Error: {printable(text, lines=True)}", file=sys.stderr)
    return int(problem["exit_status"])


def _usage(error: typer.TyperException, as_json: bool) -> int:
    """Report a wrong command line: what is wrong, and where the help is; without any command, the help itself."""
    context = getattr(error, "ctx", None)
    text = error.format_message().replace(": Value error, ", ": ")  # pydantic's words, by which typer reads options
    if type(error).__name__ == "NoArgsIsHelpError":
        print(text, file=sys.stderr)
        return USAGE
    if as_json:
        return _report(_plain("Usage", text, error.exit_code), text, as_json)
    hint = f"\nTry '{context.command_path} --help'." if context else ""
    return _report({"exit_status": error.exit_code}, text + hint, as_json)


def _flushed(status: int, as_json: bool) -> int:
    """Write out what is buffered. A pipe that was closed is no success and nothing to speak of; a full disk is."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_stdout()
        if status or isinstance(error, BrokenPipeError):
            return status or FAILED
        failed = OutputFailed(why=error.strerror)
        return _report(failed.problem, str(failed), as_json)
    return status


def _discard_stdout() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
