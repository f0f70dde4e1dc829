"""Which provider a dependency is given from."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers

from application.scheduling import Inject, Injected
from domain.runs.errors import AmbiguousDependency, UnsatisfiedDependency
from infrastructure.runs.injection import ContainerInjector
from unit.runs.injection_kit import (
    Client,
    Clock,
    ClockResource,
    Order,
    OrderRepo,
    Parrot,
    Repo,
    Robot,
    Speaks,
    TestClock,
    User,
    UserRepo,
    WallClock,
    injected,
    inner_class,
    job,
    make_clock,
    make_maybe,
    make_user_repo,
    root,
    untold,
    yields_clock,
)


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


async def test_generic_types_are_given_only_as_what_they_are() -> None:
    both = root(users=providers.Singleton(UserRepo), orders=providers.Singleton(OrderRepo))
    assert type(await injected(Injected[Repo[User]], both)) is UserRepo
    assert type(await injected(Injected[Repo[Order]], both)) is OrderRepo
    assert type(await injected(Injected[Repo[User]], root(users=providers.Factory(make_user_repo)))) is Repo
    for wrong in (providers.Factory(make_user_repo), providers.Singleton(UserRepo), providers.Singleton(Repo)):
        with pytest.raises(UnsatisfiedDependency, match=r"'wanted: .*Repo"):
            await injected(Injected[Repo[Order]], root(wrong=wrong))
    assert type(await injected(Injected[Repo], root(users=providers.Singleton(UserRepo)))) is UserRepo


async def test_containers_within_containers_are_searched() -> None:
    outer = root(inner=providers.Container(inner_class()), user=providers.Singleton(User))
    assert type(await injected(Injected[Clock], outer)) is WallClock
    assert type(await injected(Annotated[Clock, Inject("inner.clock")], outer)) is WallClock


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
