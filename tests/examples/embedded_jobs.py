"""Jobs and containers of applications that embed the program."""

from dependency_injector import containers, providers

from application.scheduling import (
    BackgroundTasksBus,
    Injected,
    RecurrentBackgroundJob,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)


class Notebook:
    """What was written, for the test to read."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class Desk:
    """A service of the application's: needs the bus, and is needed by a job."""

    def __init__(self, notebook: Notebook, bus: BackgroundTasksBus) -> None:
        self.notebook = notebook
        self.bus = bus


@backgroundjob(task_type="scheduled")
class Write(ScheduledBackgroundJob):
    line: str
    notebook: Injected[Notebook]

    def run_at(self) -> None:
        self.notebook.lines.append(self.line)


@backgroundjob(task_type="recurrent")
class Pass(RecurrentBackgroundJob):
    """Leave the writing to another job."""

    line: str
    desk: Injected[Desk]
    bus: Injected[BackgroundTasksBus]

    async def run_every(self) -> None:
        assert self.desk.bus is self.bus
        await self.desk.bus.schedule_task(ScheduledTaskDescriptor(name="Write", data={"line": self.line}))


class Office(containers.DeclarativeContainer):
    notebook = providers.Singleton(Notebook)
    bus = providers.Dependency(instance_of=BackgroundTasksBus)
    desk = providers.Singleton(Desk, notebook=notebook, bus=bus)
