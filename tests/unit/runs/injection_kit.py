"""Types, and providers that give them in all ways that containers know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Generic, NewType, Protocol, TypeVar

from dependency_injector import containers, providers, resources

from application.scheduling import RecurrentBackgroundJob, backgroundjob
from domain.runs.job import JobDefinition
from infrastructure.runs.injection import ContainerInjector

T = TypeVar("T")


class Clock: ...


class WallClock(Clock): ...


class TestClock(WallClock):
    __test__ = False


class Speaks(Protocol):
    def speak(self) -> str: ...


class Parrot(Speaks):
    def speak(self) -> str:
        return "hello"


class Robot:
    """Speaks too, but does not say so."""

    def speak(self) -> str:
        return "beep"


class User: ...


class Order: ...


class Repo(Generic[T]): ...


class UserRepo(Repo[User]): ...


class OrderRepo(Repo[Order]): ...


class Client:
    """Awaitable, as Redis clients are, and no coroutine."""

    def __await__(self) -> Any:
        yield


UserId = NewType("UserId", int)


def make_clock() -> Clock:
    return WallClock()


def make_user_repo() -> Repo[User]:
    return Repo()


def make_maybe() -> Clock | None:
    return None


def untold() -> Any:
    return Clock()


def yields_clock() -> Iterator[Clock]:
    yield WallClock()


async def make_clock_later() -> Clock:
    return Clock()


async def yields_clock_later() -> AsyncIterator[Clock]:
    yield Clock()


class ClockResource(resources.Resource):
    def init(self) -> Clock:
        return WallClock()


def job(hint: Any, name: str = "Job") -> JobDefinition:
    def run_every(self: Any) -> None: ...

    body = {"__annotations__": {"wanted": hint}, "run_every": run_every, "__module__": __name__}
    found: JobDefinition = backgroundjob(task_type="recurrent", name=name)(  # type: ignore[attr-defined]
        type("Job", (RecurrentBackgroundJob,), body)
    ).__definition__
    return found


def root(**given: Any) -> containers.Container:
    return type("Root", (containers.DeclarativeContainer,), given)()  # type: ignore[no-any-return]


async def injected(hint: Any, *roots: containers.Container) -> Any:
    injector, definition = ContainerInjector(roots), job(hint)
    injector.check([definition])
    async with injector.scope(definition) as found:
        return found["wanted"]


def inner_class() -> type[containers.DeclarativeContainer]:
    class Inner(containers.DeclarativeContainer):
        clock = providers.Singleton(WallClock)

    return Inner
