"""The program: settings → container → host, and its commands.

What is heavy is imported where it is used: ``roundsman workers list`` needs no web framework.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infrastructure.cli.app import create_cli
from infrastructure.cli.errors import INTERRUPTED, RUNS_LEFT
from infrastructure.garbage import lasting_objects_spared, start_and_exit_spared

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from infrastructure.program import Program, Role
    from infrastructure.settings import Settings
    from infrastructure.web.server import ApiServer

OPTIONS = {("server", "host"): "--host", ("server", "port"): "--port", ("data_dir",): "--data-dir"}
"""Settings that the command line overrides, and how its user knows them."""


def create_app(settings: "Settings | None" = None) -> "FastAPI":
    """Return the whole program as an ASGI application: its lifespan starts and stops everything.

    For ``uvicorn main:create_app --factory``. Raises ``InvalidSettings`` and what is wrong with job modules.
    """
    from infrastructure.program import Program
    from infrastructure.settings import load_settings

    return _app(Program(settings or load_settings()))


def run(role: "Role", host: str | None, port: int | None, data_dir: Path | None, config: Path | None) -> int:
    """Run the program until Ctrl-C or SIGTERM; return the exit status. Raises what prevents the start."""
    with _ending_at_once(), start_and_exit_spared():
        from infrastructure.telemetry.logs import set_up_logging

        settings = _settings(host, port, data_dir, config)
        set_up_logging(settings.telemetry.log_level, settings.telemetry.log_format)
        with _traced():
            program = _program(settings, role)
            program.telemetry.serve_process()
            return asyncio.run(_run(program))


def check(role: "Role", host: str | None, port: int | None, data_dir: Path | None, config: Path | None) -> int:
    """Check settings, job modules and the dependencies of all jobs, opening nothing; raise what is wrong."""
    with _traced(), start_and_exit_spared():
        settings = _settings(host, port, data_dir, config)
        program = _program(settings, role)
        program.check_jobs()
    names = ", ".join(sorted(program.registry.definitions))
    print(f"settings are valid; background jobs: {names}")  # noqa: T201 - what the command is for
    return 0


cli = create_cli(run, check)


def _settings(host: str | None, port: int | None, data_dir: Path | None, config: Path | None) -> "Settings":
    from pydantic import ValidationError

    from infrastructure.settings import InvalidSettings, Settings, load_settings
    from infrastructure.settings_problems import describe
    from infrastructure.settings_sources import Sources

    values: dict[str, Any] = load_settings(config).model_dump(exclude_unset=True)
    server = {**values.get("server", {}), **_given(host=host, port=port)}
    try:
        return Settings.model_validate({**values, "server": server, **_given(data_dir=data_dir)})
    except ValidationError as error:
        problems = describe(error, Sources(origins=OPTIONS), Settings)
        raise InvalidSettings(problems="\n".join(f"- {problem}" for problem in problems)) from None


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _program(settings: "Settings", role: "Role") -> "Program":
    from infrastructure.program import Program

    return Program(settings, role)


@contextmanager
def _traced() -> Iterator[None]:
    """Where code of the user's fails while the program is prepared or starts, show its traceback, and raise."""
    from domain.runs.errors import JobModuleError
    from infrastructure.user_containers import InvalidContainer, ResourceFailed

    try:
        yield
    except (JobModuleError, InvalidContainer, ResourceFailed) as error:
        if error.__cause__ is not None:
            _show(error.__cause__)
        raise


def _show(error: BaseException) -> None:
    """Print the traceback of a failed import, without the frames of importing; nothing for a module that is absent."""
    found = traceback.TracebackException.from_exception(error)
    own = str(Path(__file__).parent)
    frames = [
        frame for frame in found.stack if "importlib" not in frame.filename and not frame.filename.startswith(own)
    ]
    if frames or isinstance(error, SyntaxError):
        found.stack = traceback.StackSummary.from_list(frames)
        print(*found.format(), sep="", end="", file=sys.stderr)  # noqa: T201 - for who reads why it does not start


def _app(program: "Program") -> "FastAPI":
    from infrastructure.web.app import create_web_app

    @asynccontextmanager
    async def lifespan(app: "FastAPI") -> AsyncIterator[None]:
        await program.start()
        try:
            with lasting_objects_spared():
                yield
        finally:
            await program.stop()

    tracing = program.telemetry.of_requests()
    return create_web_app(program.services, program.settings.server, lifespan, tracing)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process on the spot until the program handles it: nothing is open yet.

    An exception in the middle of an import can end up as any other one, or be swallowed.
    """
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _run(program: "Program") -> int:
    from application.tasks import end_task

    asked, insisted = asyncio.Event(), asyncio.Event()
    _on_signals(asked, insisted)
    listening = asyncio.create_task(_drain(program, asked, insisted))
    try:
        # Opening takes the data directory: a second program ends here, before it looks at the port.
        if await _unless(asked, program.open()):
            if program.role == "scheduler":
                await _execute(program, asked)
            else:
                await _serve(program, asked, insisted)
    finally:
        await program.stop()
        await end_task(listening)
    return RUNS_LEFT if program.unsettled else 0


async def _drain(program: "Program", asked: asyncio.Event, insisted: asyncio.Event) -> None:
    """Tell the program of both signals at once, whatever it is doing."""
    await asked.wait()
    program.refuse_work()
    await insisted.wait()
    program.hurry()


async def _execute(program: "Program", asked: asyncio.Event) -> None:
    if await _unless(asked, program.start()):
        with lasting_objects_spared():
            await asked.wait()


async def _serve(program: "Program", asked: asyncio.Event, insisted: asyncio.Event) -> None:
    from application.tasks import end_task
    from infrastructure.cli.first_look import FirstLook
    from infrastructure.web.server import listen, make_server

    sockets = listen(program.settings.server)
    server = make_server(_app(program))
    try:
        is_started = await _unless(asked, program.start())
    except BaseException:
        _close(sockets)
        raise
    if not is_started:
        _close(sockets)
        return
    look = FirstLook(program.settings, program.container.events(), sockets[0].getsockname()[1], sys.stdout)
    beside = [asyncio.create_task(look.show()), asyncio.create_task(_end(server, asked, insisted))]
    try:
        await server.serve(sockets=sockets)
    finally:
        for task in beside:
            await end_task(task)


def _close(sockets: "list[socket.socket]") -> None:
    for listener in sockets:
        listener.close()


async def _end(server: "ApiServer", asked: asyncio.Event, insisted: asyncio.Event) -> None:
    """End the server when asked; when asked twice, without waiting for open requests."""
    await asked.wait()
    server.should_exit = True
    await insisted.wait()
    server.force_exit = True


def _on_signals(asked: asyncio.Event, insisted: asyncio.Event) -> None:
    """Set ``asked`` at the first SIGINT or SIGTERM, and ``insisted`` at the next."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: (insisted if asked.is_set() else asked).set())


async def _unless(asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do ``work``, or give it up when asked to end; return whether it is done. Raises what it raises.

    It is cancelled once: what it has begun may take its time to end, as jobs that execute already do.
    """
    working, asking = asyncio.create_task(work), asyncio.create_task(asked.wait())
    await asyncio.wait([working, asking], return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    gave_up = not working.done()
    if gave_up:
        working.cancel()
        await asyncio.wait([working])
    if not working.cancelled():
        working.result()
    return not gave_up


if __name__ == "__main__":
    cli()
