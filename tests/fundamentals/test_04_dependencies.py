"""Dependencies come from your dependency-injector container, by their type, anew for every run.

Settings name the container (``background_jobs.containers``). Everything a job asks for is looked up when the program
starts: a job that could never run stops the program then, and not at three in the morning.
"""

from typing import Annotated, Protocol

import pytest
from dependency_injector import containers, providers

from application.scheduling import Inject, Injected, ScheduledBackgroundJob, ScheduledTaskDescriptor, backgroundjob
from domain.runs.errors import AmbiguousDependency, UnsatisfiedDependency
from fundamentals.conftest import App
from infrastructure.program import Program
from infrastructure.settings import Settings


class Clock(Protocol):
    """What the job wants: anything that tells the time."""

    def time(self) -> str: ...


class TowerClock(Clock):
    """What there is: a class that says that it is a ``Clock``."""

    def time(self) -> str:
        return "noon"


class Bell:
    def __init__(self, sound: str) -> None:
        self.sound = sound


@backgroundjob(task_type="scheduled")
class Ring(ScheduledBackgroundJob):
    """Two providers give a ``Bell``, so the job names the one it wants."""

    clock: Injected[Clock]
    bell: Annotated[Bell, Inject("big_bell")]

    async def run_at(self) -> str:
        return f"{self.bell.sound} at {self.clock.time()}"


class Container(containers.DeclarativeContainer):
    clock = providers.Singleton(TowerClock)
    big_bell = providers.Factory(Bell, sound="dong")
    small_bell = providers.Factory(Bell, sound="ding")


class ContainerWithoutClock(containers.DeclarativeContainer):
    big_bell = providers.Factory(Bell, sound="dong")


class ContainerWithTwoClocks(Container):
    other_clock = providers.Singleton(TowerClock)


async def test_a_job_gets_what_it_asks_for(app: App) -> None:
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="ring", name="Ring"))
    assert (await app.end_of("ring")).result == "dong at noon"


@pytest.mark.parametrize(
    ("container", "error", "said"),
    [
        ("ContainerWithoutClock", UnsatisfiedDependency, "'Ring' asks for 'clock: Clock', and no provider"),
        ("ContainerWithTwoClocks", AmbiguousDependency, "'Ring' asks for 'clock: Clock'.*other_clock"),
    ],
)
async def test_a_job_that_cannot_be_satisfied_stops_the_program_at_its_start(
    settings: Settings, container: str, error: type[Exception], said: str
) -> None:
    jobs = settings.background_jobs.model_copy(update={"containers": (f"{__name__}:{container}",)})
    program = Program(settings.model_copy(update={"background_jobs": jobs}))
    with pytest.raises(error, match=said):
        await program.start()
