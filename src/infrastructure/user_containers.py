"""The containers that give jobs what they need: those that a setting names, and those of a host application."""

import importlib
import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dependency_injector import containers, providers

from domain.errors import RoundsmanError
from infrastructure.runs.providers import Named, below, effective, is_unbound, walk

log = logging.getLogger(__name__)

SETTING = "background_jobs.containers"
ARGUMENT = "Roundsman(containers=…)"


class InvalidContainer(RoundsmanError):
    """{source} names '{name}', which cannot be used: {why}. Mend it, or take it out."""

    status = 500


class ResourceFailed(RoundsmanError):
    """The resource {name} of background_jobs.containers did not open: {why}. What was open already was closed again.
    Mend that, and start again."""

    status = 500


def load_containers(names: Iterable[str]) -> list[containers.Container]:
    """Return the container of each ``module:Name``, a class or an instance; raises ``InvalidContainer``."""
    loaded: dict[str, containers.Container] = {}
    for name in names:
        if name in loaded:
            raise InvalidContainer(source=SETTING, name=name, why="it is named twice; name it once")
        loaded[name] = _made(SETTING, name, _found(name))
    _check_doubles(SETTING, loaded)
    return list(loaded.values())


def given_containers(given: Iterable[Any]) -> list[containers.Container]:
    """Return the containers that a host application gives, classes or instances; raises ``InvalidContainer``."""
    made = {f"{place}: {_shown(one)}": one for place, one in enumerate(given)}
    made = {name: _made(ARGUMENT, name, one) for name, one in made.items()}
    _check_doubles(ARGUMENT, made)
    return list(made.values())


def _found(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end the program without a word
        why = f"{type(error).__name__}: {error}".rstrip(".")
        raise InvalidContainer(source=SETTING, name=name, why=why) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InvalidContainer(source=SETTING, name=name, why=f"the module has no '{attribute}'") from None


def _made(source: str, name: str, found: Any) -> containers.Container:
    if isinstance(found, containers.DynamicContainer):
        return found
    if not (isinstance(found, type) and issubclass(found, containers.DeclarativeContainer)):
        why = "it is no class derived from dependency_injector's DeclarativeContainer, and no instance of one"
        raise InvalidContainer(source=source, name=name, why=why)
    try:
        made: containers.Container = found()
    except Exception as error:
        why = f"it could not be made: {type(error).__name__}: {error}".rstrip(".")
        raise InvalidContainer(source=source, name=name, why=why) from error
    return made


def _check_doubles(source: str, made: Mapping[str, containers.Container]) -> None:
    """Refuse one container under two names: everything in it would be given twice, and equally."""
    names: dict[int, str] = {}
    for name, container in made.items():
        if (first := names.setdefault(id(container), name)) != name:
            raise InvalidContainer(source=source, name=name, why=f"it is the same as '{first}'; name it once")


def _shown(found: Any) -> str:
    return found.__qualname__ if isinstance(found, type) else type(found).__name__


class Bindings:
    """Give the program's own parts to ``Dependency`` providers of the user's containers that wait for such a type."""

    def __init__(self, roots: Sequence[containers.Container]) -> None:
        self._roots = roots
        self._bound: list[Any] = []

    def bind(self, ours: Mapping[type, Any]) -> None:
        """Override each ``Dependency(instance_of=…)`` that nothing was given for; leave all others alone."""
        for named in self._named():
            if not isinstance(named.provider, providers.Dependency):
                continue
            wanted: Any = named.provider.instance_of
            if wanted not in ours:
                continue
            if is_unbound(named.provider):
                named.provider.override(ours[wanted])
                self._bound.append(named.provider)
            elif named.provider not in self._bound and _is_a_programs(named, ours[wanted]):
                why = f"{named.name} belongs to another running program already; give each a container of its own"
                raise InvalidContainer(source=ARGUMENT, name=named.name.partition(".")[0], why=why)

    def release(self) -> None:
        """Take everything back, and forget the singletons that were made of it: the next start gives other parts."""
        bound, self._bound = self._bound, []
        reset_singletons(self._roots, bound)
        for provider in bound:
            provider.reset_last_overriding()

    def _named(self) -> Iterable[Named]:
        return [named for root in self._roots for named in walk(root)]


def _is_a_programs(named: Named, our: Any) -> bool:
    """Tell whether what was given comes from a program of this kind, and not from a test or the user."""
    source = effective(named.provider)
    return isinstance(source, providers.Singleton) and source.provides is our.provides


def reset_singletons(roots: Iterable[containers.Container], made_of: Iterable[Any]) -> None:
    """Forget the singletons that need one of these providers, whose things are about to be gone."""
    gone = {id(provider) for provider in made_of}
    if not gone:
        return
    for named in (named for root in roots for named in walk(root)):
        if isinstance(named.provider, providers.BaseSingleton) and _needs(named.provider, gone):
            named.provider.reset()


def _needs(provider: Any, wanted: set[int]) -> bool:
    return any(id(one) in wanted for one in below([provider]))


class Resources:
    """Open the resources of the containers that the program made itself. A hosted service.

    They are opened in the order in which they need each other, on the event loop, and closed in reverse. What is async
    is awaited once, and stands as a plain thing from then on: jobs get it like everything else. A ``Dependency`` or an
    override that answers for a resource is left alone.
    """

    def __init__(self, roots: Sequence[containers.Container]) -> None:
        self._roots = roots
        names = [named for root in roots for named in walk(root)]
        self._names = {id(named.provider): named.name for named in names}
        self.all = [one for one in below(named.provider for named in names) if isinstance(one, providers.Resource)]
        """The resources, each after those that it needs."""
        self._open: list[Any] = []

    async def start(self) -> None:
        """Open all; raise ``ResourceFailed`` for the first that does not, with those before it closed again."""
        if self._open:
            return
        for resource in self.all:
            if resource.last_overriding is not None:
                continue
            try:
                await self._open_one(resource)
            except BaseException as error:
                await self.stop()
                if not isinstance(error, Exception):
                    raise
                why = f"{type(error).__name__}: {error}".rstrip(".")
                raise ResourceFailed(name=self._name(resource), why=why) from error

    async def _open_one(self, resource: Any) -> None:
        self._open.append(resource)
        value = resource.init()
        if inspect.isawaitable(value) and resource.is_async_mode_enabled():
            resource.override(providers.Object(await value))
            resource.disable_async_mode()  # which makes futures of plain things, too

    async def stop(self) -> None:
        """Close what is open, last first. One that fails is logged and keeps no other open."""
        reset_singletons(self._roots, self._open)
        while self._open:
            resource = self._open.pop()
            if resource.last_overriding is not None:
                resource.reset_last_overriding()
                resource.reset_async_mode()
            try:
                closing = resource.shutdown()
                if inspect.isawaitable(closing):
                    await closing
            except Exception:
                log.exception("the resource %s did not close cleanly", self._name(resource))

    def _name(self, resource: Any) -> str:
        return self._names.get(id(resource), str(resource))
