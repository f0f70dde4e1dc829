"""What a type checker must report of a job module. A comment behind a line says how mypy and pyright call it."""

from application.scheduling import (
    BackgroundTasksBus,
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    backgroundjob,
    injected,
)


class Clock: ...


@backgroundjob(task_type="recurrent")
class Ledger(RecurrentBackgroundJob):
    label: str
    clock: Injected[Clock]

    wall: Injected[Clock] = injected()

    def run_every(self, ctx: JobContext) -> int:
        _ = self.clock.tick  # attr-defined reportAttributeAccessIssue
        ctx.progress("half")  # arg-type reportArgumentType
        return self.label  # return-value reportReturnType


Ledger("a", clock=Clock())  # call-arg reportCallIssue
Ledger(label="a", clock=Clock(), lable="b")  # call-arg reportCallIssue
Ledger(label=1, clock=Clock())  # arg-type reportArgumentType
Ledger(label="a")  # call-arg reportCallIssue
Ledger(clock=Clock())  # call-arg reportCallIssue
Ledger(label="a", clock=1)  # arg-type reportArgumentType
Ledger(label="a", clock=Clock(), wall=1)  # arg-type reportArgumentType


@backgroundjob(task_type="hourly")  # arg-type reportArgumentType
class Hourly(RecurrentBackgroundJob):
    def run_every(self) -> None: ...


async def schedule(bus: BackgroundTasksBus) -> None:
    await bus.schedule_task("Ledger")  # arg-type reportArgumentType
    RecurrentTaskDescriptor(name="Ledger", every=30)  # call-arg reportCallIssue
