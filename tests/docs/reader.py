"""Somebody who does what a page says: saves its files, types its commands, runs its Python, in an empty directory."""

import ast
import asyncio
import inspect
import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import application.scheduling
from certificates import Certificates
from cli_support import roundsman
from docs.blocks import ROOT, Block, Command, commands, lacking
from docs.declared import ELSEWHERE, INSTEAD, MAY_FAIL, NOT_RUN, OTHER_OUTPUT
from docs.started import PATIENCE_S, Guide, Started, shell_environment
from infrastructure.settings import load_settings
from support import wait_until_sync

ADDRESS = "http://127.0.0.1:8000"
"""Where the documents say that the program is; the tests take a free port."""

LOOKS = re.compile(r"(roundsman (\w+ )?(list|show|runs|health|audit|instances|metrics)\b|ls |cat )")
"""Commands that only look: they are repeated until they show what the page shows."""


FILES = {
    "redis": "redis://127.0.0.1:6379",
    "-url": "https://hooks.example.com/alerts",
    "-urls": "slack://TokenA/TokenB/TokenC",
    "-secret": "twenty-four bytes, or more",
}
"""How the name of a file of secrets ends -> what is in it."""


class Unread(AssertionError):
    """A block that nothing runs."""


class Reader:
    """Read one page in ``directory``; whatever was started is ended on leaving. Raises where the page is wrong."""

    def __init__(self, directory: Path, guide: Guide) -> None:
        self.directory = directory
        self.url = ""
        self._guide = guide
        self._program: Started | None = None
        self._names: dict[str, Any] = {name: getattr(application.scheduling, name) for name in _OFFERED}
        self._names |= {"Any": Any, "__name__": "page"}
        for folder in (".zfunc", ".config/fish/completions"):
            (directory / folder).mkdir(parents=True)

    def read(self, block: Block) -> None:
        """Do what a block says, in the way of its language."""
        if (block.page, block.language) in ELSEWHERE or _reason(NOT_RUN, block.text):
            return
        if block.file:
            (self.directory / block.file).write_text(block.text)
        match block.language:
            case "python":
                self._python(block)
            case "toml":
                self._toml(block)
            case "json":
                json.loads(block.text)
            case "sh" | "bash" | "console":
                for command in commands(block):
                    self._command(command, block)
            case _ if not block.file:
                raise Unread(f"{block}: nothing runs this block of {block.language or 'no language'}; see declared.py")

    def _python(self, block: Block) -> None:
        code = compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if block.file:
            return  # it is imported, or started, by what the page does with it
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(self._awaited(code))
        else:
            exec(code, self._names)  # noqa: S102 - the documents are ours

    async def _awaited(self, code: Any) -> None:
        """Run code that awaits, with a ``bus`` over the jobs of the page's files."""
        from testing import JobKit

        jobs: dict[str, Any] = {}
        for file in self.directory.glob("*_jobs.py"):
            exec(compile(file.read_text(), file, "exec"), jobs)  # noqa: S102 - the documents are ours
        found = [kind for kind in jobs.values() if hasattr(kind, "__dependencies__")]
        async with JobKit(*found, container=jobs["Container"]()) as kit:
            await eval(code, {**self._names, "bus": kit.bus})  # noqa: S307

    def _toml(self, block: Block) -> None:
        """Load it as settings, with the files that it names."""
        folder = self.directory / "files"
        folder.mkdir(exist_ok=True)
        certificates = Certificates(folder)
        cert, key = certificates.split(certificates.client(), "a-password")
        known = {"ca.pem": certificates.authority, "client.pem": cert, "client.key": key}

        def there(found: re.Match[str]) -> str:
            name = Path(found[1]).name
            if name not in known:
                known[name] = folder / name
                said = next((text for end, text in FILES.items() if name.endswith(end)), "a-password")
                known[name].write_text(said)
            return f'"{known[name]}"'

        file = folder / "settings.toml"
        file.write_text(re.sub(r'"(/(?:etc|run)/[^"]+)"', there, block.text))
        load_settings(file, {})

    def _command(self, command: Command, block: Block) -> None:
        text = command.text
        if _reason(NOT_RUN, text):
            return
        for pattern, replacement, _ in INSTEAD:
            text = re.sub(pattern, replacement, text)
        if re.search(r"(^|\s)roundsman run\b", text):
            self._start(text)
            return
        if not self.url and re.match(r"roundsman (?!check|completion)|curl ", text):
            self.url = self._guide.url
        shown = () if _reason(OTHER_OUTPUT, text) else command.shown
        last = ""

        def done() -> bool:
            nonlocal last
            status, last = self._type(text)
            assert status == 0 or _reason(MAY_FAIL, text), f"{block}: {text}: exit status {status}\n{last}"
            return lacking(shown, last) is None

        if LOOKS.match(text) and shown:
            try:
                wait_until_sync(done, f"{block}: {text}", PATIENCE_S)
            except AssertionError as error:
                raise AssertionError(f"{error}: lacks {lacking(shown, last)!r}\n{last}") from None
        else:
            assert done(), f"{block}: {text}: lacks {lacking(shown, last)!r}\n{last}"

    def _type(self, text: str) -> tuple[int, str]:
        """Run one command to its end; return its status and all that it said."""
        text = text.replace(ADDRESS, self.url or ADDRESS)
        words = shlex.split(text)
        if words[0] == "roundsman" and words[1] not in ("check", "completion") and not re.search(r"[|<>$&]", text):
            found = roundsman(*words[1:], url=self.url)  # in this process: a tenth of the time
            return found.status, found.out + found.err
        if not shutil.which("jq"):
            text = re.sub(r"\| jq .*", "", text)
        found_at = ROOT if text.startswith("make ") else self.directory
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=found_at,
            env=shell_environment(self.directory, self.url),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.returncode, done.stdout + done.stderr

    def _start(self, text: str) -> None:
        """Start the program by a command of the page; one that runs already is ended, as with Ctrl-C."""
        self._end(signal.SIGINT)
        self._program = Started(self.directory, text)
        self.url = self._program.url

    def _end(self, number: int) -> None:
        if self._program is not None:
            self._program.end(number)
            self._program = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGTERM)


_OFFERED = application.scheduling.__all__


def _reason(reasons: dict[str, str], text: str) -> str | None:
    return next((reason for start, reason in reasons.items() if text.startswith(start)), None)
