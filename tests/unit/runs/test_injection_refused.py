"""Dependencies that cannot be given: found when the program starts, and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers, resources

from application.scheduling import Inject, Injected
from domain.runs.errors import AmbiguousDependency, JobDefinitionError, UnsatisfiedDependency
from infrastructure.runs.injection import ContainerInjector
from unit.runs.injection_kit import (
    Clock,
    Parrot,
    TestClock,
    User,
    UserId,
    WallClock,
    injected,
    job,
    make_clock_later,
    make_maybe,
    make_user_repo,
    root,
    yields_clock_later,
)


async def test_a_union_or_nothing_at_all_is_no_promise_of_a_type() -> None:
    for provides in (make_maybe, lambda: None):
        with pytest.raises(UnsatisfiedDependency):
            await injected(Injected[Clock], root(maybe=providers.Factory(provides)))


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


async def test_a_name_must_fit_the_whole_of_a_providers_name() -> None:
    with pytest.raises(UnsatisfiedDependency):
        await injected(Annotated[Clock, Inject("lock")], root(clock=providers.Singleton(Clock)))


async def test_a_named_provider_that_gives_something_else_is_refused() -> None:
    given = root(user=providers.Singleton(User))
    with pytest.raises(JobDefinitionError, match=r"'wanted' is a Clock, and Root\.user gives a User"):
        await injected(Annotated[Clock, Inject("user")], given)


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
            JobDefinitionError, match=r"'wanted' needs Async\.clock, which is async, .* Resource .* Dependency"
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
