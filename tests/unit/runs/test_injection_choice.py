"""Which provider a job's dependency is given from, and what is refused when the program starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Annotated, Any, Generic, NewType, Protocol, TypeVar

import pytest
from dependency_injector import containers, providers, resources

from application.scheduling import Inject, Injected, RecurrentBackgroundJob, backgroundjob
from domain.runs.errors import AmbiguousDependency, JobDefinitionError, UnsatisfiedDependency
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


async def test_an_exact_type_beats_what_derives_from_it() -> None:
    both = root(wall=providers.Singleton(WallClock), plain=providers.Singleton(Clock))
    assert type(await injected(Injected[Clock], both)) is Clock
    assert type(await injected(Injected[WallClock], both)) is WallClock


async def test_what_derives_from_the_type_is_given_when_it_is_alone() -> None:
    only = root(test=providers.Singleton(TestClock), user=providers.Singleton(User))
    assert type(await injected(Injected[Clock], only)) is TestClock


async def test_a_base_class_is_never_given_for_what_derives_from_it() -> None:
    with pytest.raises(UnsatisfiedDependency):
        await injected(Injected[WallClock], root(plain=providers.Singleton(Clock)))


async def test_a_protocol_is_satisfied_by_inheritance_or_by_name() -> None:
    both = root(parrot=providers.Singleton(Parrot), robot=providers.Singleton(Robot))
    assert type(await injected(Injected[Speaks], both)) is Parrot
    assert type(await injected(Annotated[Speaks, Inject("robot")], both)) is Robot


@pytest.mark.parametrize(
    "provider",
    [
        providers.Factory(WallClock),
        providers.Factory(make_clock),
        providers.Singleton(make_clock),
        providers.Callable(make_clock),
        providers.ContextLocalSingleton(make_clock),
        providers.Object(WallClock()),
        providers.Resource(yields_clock),
        providers.Resource(make_clock),
        providers.Resource(ClockResource),
        providers.Dependency(instance_of=Clock, default=WallClock()),
        providers.Dependency(default=WallClock()),
    ],
    ids=lambda provider: type(provider).__name__,
)
async def test_every_kind_of_provider_tells_what_it_gives(provider: Any) -> None:
    assert type(await injected(Injected[Clock], root(clock=provider))) is WallClock


async def test_an_awaitable_client_is_no_async_provider() -> None:
    assert type(await injected(Injected[Client], root(client=providers.Singleton(Client)))) is Client


async def test_a_provider_that_does_not_say_what_it_gives_can_be_named() -> None:
    silent = root(
        clock=providers.Factory(untold),
        settings=providers.Configuration(),
        bound=providers.Dependency(default=providers.Factory(untold)),
        maybe=providers.Factory(make_maybe),
    )
    with pytest.raises(UnsatisfiedDependency):
        await injected(Injected[Clock], silent)
    for name in ("clock", "bound"):
        assert type(await injected(Annotated[Clock, Inject(name)], silent)) is Clock
    assert await injected(Annotated[Clock, Inject("maybe")], silent) is None


async def test_a_union_or_nothing_at_all_is_no_promise_of_a_type() -> None:
    for provides in (make_maybe, lambda: None):
        with pytest.raises(UnsatisfiedDependency):
            await injected(Injected[Clock], root(maybe=providers.Factory(provides)))


async def test_generic_types_are_given_only_as_what_they_are() -> None:
    both = root(users=providers.Singleton(UserRepo), orders=providers.Singleton(OrderRepo))
    assert type(await injected(Injected[Repo[User]], both)) is UserRepo
    assert type(await injected(Injected[Repo[Order]], both)) is OrderRepo
    assert type(await injected(Injected[Repo[User]], root(users=providers.Factory(make_user_repo)))) is Repo
    for wrong in (providers.Factory(make_user_repo), providers.Singleton(UserRepo), providers.Singleton(Repo)):
        with pytest.raises(UnsatisfiedDependency, match=r"'wanted: .*Repo"):
            await injected(Injected[Repo[Order]], root(wrong=wrong))
    assert type(await injected(Injected[Repo], root(users=providers.Singleton(UserRepo)))) is UserRepo


@pytest.mark.parametrize("hint", [type[Clock], Sequence[Clock], Callable[[], Clock], dict[str, Clock], UserId, Any])
async def test_shapes_that_say_too_little_are_not_guessed(hint: Any) -> None:
    """``type[User]`` is not any class, and a list of clocks not any list; a name makes it plain."""
    given = root(
        cls=providers.Object(User), some=providers.List(), table=providers.Object({}), number=providers.Object(1)
    )
    with pytest.raises(UnsatisfiedDependency):
        await injected(Injected[hint], given)
    assert await injected(Annotated[hint, Inject("table")], given) == {}


async def test_an_unsatisfied_dependency_names_job_field_type_and_what_there_is() -> None:
    given = root(user=providers.Singleton(User), wall=providers.Singleton(make_user_repo))
    with pytest.raises(UnsatisfiedDependency) as caught:
        ContainerInjector([given]).check([job(Injected[User], "Fine"), job(Injected[Clock], "Ledger")])
    said = str(caught.value)
    assert "The background job 'Ledger' asks for 'wanted: Clock'" in said
    assert "User" in said
    assert "background_jobs.containers" in said
    with pytest.raises(UnsatisfiedDependency, match="there are no providers"):
        ContainerInjector([]).check([job(Injected[Clock])])
    with pytest.raises(UnsatisfiedDependency, match="'wanted: Clock from provider \"wall_clock\"'"):
        ContainerInjector([given]).check([job(Annotated[Clock, Inject("wall_clock")])])


async def test_a_type_of_the_same_name_is_told_apart() -> None:
    namesake = type("Clock", (), {"__module__": "elsewhere"})
    with pytest.raises(UnsatisfiedDependency, match=r"known: elsewhere\.Clock"):
        await injected(Injected[Clock], root(clock=providers.Singleton(namesake)))


async def test_two_equal_providers_are_refused_and_both_are_named() -> None:
    twice = root(wall=providers.Singleton(WallClock), test=providers.Singleton(TestClock))
    with pytest.raises(AmbiguousDependency) as caught:
        await injected(Injected[Clock], twice)
    said = str(caught.value)
    assert "'wanted: Clock'" in said
    assert "Root.test, Root.wall" in said
    assert 'Annotated[Clock, Inject("<provider>")]' in said
    assert type(await injected(Annotated[Clock, Inject("test")], twice)) is TestClock


async def test_containers_within_containers_are_searched() -> None:
    outer = root(inner=providers.Container(inner_class()), user=providers.Singleton(User))
    assert type(await injected(Injected[Clock], outer)) is WallClock
    assert type(await injected(Annotated[Clock, Inject("inner.clock")], outer)) is WallClock


def inner_class() -> type[containers.DeclarativeContainer]:
    class Inner(containers.DeclarativeContainer):
        clock = providers.Singleton(WallClock)

    return Inner


async def test_the_least_deep_name_wins() -> None:
    outer = root(inner=providers.Container(inner_class()), clock=providers.Singleton(TestClock))
    assert type(await injected(Annotated[Clock, Inject("clock")], outer)) is TestClock
    assert type(await injected(Annotated[Clock, Inject("inner.clock")], outer)) is WallClock


async def test_equal_names_in_two_containers_are_told_apart_by_their_classes() -> None:
    class Reporting(containers.DeclarativeContainer):
        clock = providers.Singleton(TestClock)

    roots = [root(clock=providers.Singleton(WallClock)), Reporting()]
    with pytest.raises(AmbiguousDependency, match=r"Reporting\.clock, Root\.clock"):
        await injected(Annotated[Clock, Inject("clock")], *roots)
    assert type(await injected(Annotated[Clock, Inject("Reporting.clock")], *roots)) is TestClock


async def test_a_name_must_fit_the_whole_of_a_providers_name() -> None:
    with pytest.raises(UnsatisfiedDependency):
        await injected(Annotated[Clock, Inject("lock")], root(clock=providers.Singleton(Clock)))


async def test_a_named_provider_that_gives_something_else_is_refused() -> None:
    given = root(user=providers.Singleton(User))
    with pytest.raises(JobDefinitionError, match=r"'wanted' is a Clock, and Root\.user gives a User"):
        await injected(Annotated[Clock, Inject("user")], given)


async def test_what_a_dependency_passes_on_is_one_provider_and_not_two() -> None:
    class Inner(containers.DeclarativeContainer):
        clock = providers.Dependency(instance_of=Clock)

    class Outer(containers.DeclarativeContainer):
        wall = providers.Singleton(WallClock)
        inner = providers.Container(Inner, clock=wall)
        again = providers.DependenciesContainer(clock=wall)

    outer = Outer()
    named = [Annotated[Clock, Inject(name)] for name in ("inner.clock", "again.clock")]
    for hint in (Injected[Clock], Injected[WallClock], *named):
        assert await injected(hint, outer) is outer.wall()


@pytest.mark.parametrize(
    ("provider", "given"),
    [
        (providers.Dependency(instance_of=Clock), providers.Object(WallClock())),
        (providers.AbstractSingleton(Clock), providers.Singleton(WallClock)),
        (providers.AbstractFactory(Clock), providers.Factory(WallClock)),
        (providers.AbstractCallable(Clock), providers.Callable(WallClock)),
    ],
    ids=lambda provider: type(provider).__name__,
)
async def test_what_nothing_was_given_for_is_found_at_start(provider: Any, given: Any) -> None:
    class Unbound(containers.DeclarativeContainer):
        clock = provider
        user = providers.Factory(User)
        parrot = providers.Factory(Parrot, clock)

    for hint in (Injected[Clock], Injected[Parrot]):
        with pytest.raises(JobDefinitionError, match=r"'wanted' needs Unbound\.clock, for which nothing was given"):
            ContainerInjector([Unbound()]).check([job(hint)])
    bound = Unbound()
    bound.clock.override(given)
    assert type(await injected(Injected[Clock], bound)) is WallClock
    assert type(await injected(Injected[WallClock], bound)) is WallClock


@pytest.mark.parametrize(
    "provider",
    [
        providers.Coroutine(make_clock_later),
        providers.Factory(make_clock_later),
        providers.Singleton(make_clock_later),
        providers.Resource(make_clock_later),
        providers.Resource(yields_clock_later),
    ],
    ids=lambda provider: type(provider).__name__,
)
async def test_an_async_provider_is_refused_at_start_with_the_better_way(provider: Any) -> None:
    class Async(containers.DeclarativeContainer):
        clock = provider
        parrot = providers.Factory(Parrot, clock)

    for hint in (Injected[Clock], Injected[Parrot]):
        with pytest.raises(
            JobDefinitionError, match=r"'wanted' needs Async\.clock, which is async; open .* Dependency"
        ):
            ContainerInjector([Async()]).check([job(hint)])


async def test_an_async_resource_class_is_refused_too() -> None:
    class Later(resources.AsyncResource):
        async def init(self) -> Clock:
            return Clock()

    with pytest.raises(JobDefinitionError, match="which is async"):
        ContainerInjector([root(clock=providers.Resource(Later))]).check([job(Injected[Clock])])


async def test_a_provider_in_async_mode_is_refused_too() -> None:
    """The mode spreads and sticks: whatever comes from it is a future."""
    given = root(clock=providers.Factory(Clock))
    given.clock.enable_async_mode()
    with pytest.raises(JobDefinitionError, match="which is async"):
        ContainerInjector([given]).check([job(Injected[Clock])])


async def test_an_async_provider_that_a_test_replaced_is_fine() -> None:
    given = root(clock=providers.Coroutine(make_clock_later))
    given.clock.override(providers.Object(WallClock()))
    assert type(await injected(Injected[Clock], given)) is WallClock
    above = root(parrot=providers.Factory(Parrot, providers.Coroutine(make_clock_later)))
    above.parrot.override(providers.Object(Parrot()))
    assert type(await injected(Injected[Parrot], above)) is Parrot


async def test_a_future_that_only_shows_in_the_run_fails_the_run_and_leaves_no_warning() -> None:
    given = root(clock=providers.Factory(lambda: make_clock_later()))
    with pytest.raises(JobDefinitionError, match="which is async"):
        await injected(Annotated[Clock, Inject("clock")], given)


async def test_overrides_are_seen_before_and_after_the_index_is_built() -> None:
    class Fake:
        """Not even a Clock: a test may do as it likes."""

    given = root(clock=providers.Singleton(WallClock))
    with given.clock.override(providers.Object(Fake())):
        assert type(await injected(Injected[Clock], given)) is Fake
        assert type(await injected(Injected[WallClock], given)) is Fake
    injector, definition = ContainerInjector([given]), job(Injected[Clock])
    injector.check([definition])
    with given.clock.override(providers.Factory(Fake)):
        async with injector.scope(definition) as found:
            assert type(found["wanted"]) is Fake
    async with injector.scope(definition) as found:
        assert type(found["wanted"]) is WallClock


async def test_singletons_are_shared_and_factories_are_not() -> None:
    given = root(clock=providers.Singleton(Clock), user=providers.Factory(User))
    assert await injected(Injected[Clock], given) is await injected(Injected[Clock], given)
    assert await injected(Injected[User], given) is not await injected(Injected[User], given)


async def test_a_job_that_was_not_checked_is_resolved_when_it_runs() -> None:
    injector = ContainerInjector([root(clock=providers.Singleton(Clock))])
    async with injector.scope(job(Injected[Clock])) as found:
        assert type(found["wanted"]) is Clock
    with pytest.raises(UnsatisfiedDependency):
        async with injector.scope(job(Injected[User])):
            pass
