"""What the providers of dependency-injector containers give, and what lies below them."""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from dependency_injector import providers, resources

SAYS_NOTHING = (Any, object, type(None), UnionType)
"""What a provider may be annotated to return without telling what it gives."""
ABSTRACT = (providers.AbstractFactory, providers.AbstractSingleton, providers.AbstractCallable)


@dataclass(frozen=True)
class Named:
    """A provider with its dotted name, which begins with its container's class, and the types that it gives."""

    name: str
    provider: Any
    gives: tuple[Any, ...]

    @property
    def source(self) -> Any:
        """Return the provider behind Dependencies, which only pass it on."""
        source = self.provider
        while isinstance(source, providers.Dependency) and source.last_overriding is not None:
            source = source.last_overriding
        return source


def walk(root: Any) -> Iterator[Named]:
    """Yield the providers of a container and of the containers within it."""
    yield from _walk(root, f"{getattr(root, '__name__', None) or root.parent_name or type(root).__name__}.")


def _walk(container: Any, prefix: str) -> Iterator[Named]:
    for name, provider in container.providers.items():
        if isinstance(provider, providers.Container | providers.DependenciesContainer):
            yield from _walk(provider, f"{prefix}{name}.")
        elif name != "__self__":
            yield Named(f"{prefix}{name}", provider, tuple(dict.fromkeys(_gives(provider))))


def _gives(provider: Any) -> Iterator[Any]:
    """Yield the types that a provider says it gives: its own, and that of whatever overrides it."""
    if isinstance(provider, providers.Dependency):
        if provider.instance_of is not object:
            yield provider.instance_of
        if provider.default is not None:
            yield from _gives(provider.default)
    elif isinstance(provider, providers.Object):
        yield type(provider.provides)
    elif (given := _given(_provides(provider))) is not None:
        yield given
    if provider.last_overriding is not None:
        yield from _gives(provider.last_overriding)


def _provides(provider: Any) -> Any:
    """Return the class or function that a provider calls; a Resource has wrapped a generator."""
    provides = getattr(provider, "provides", None)
    return inspect.unwrap(provides) if isinstance(provider, providers.Resource) and callable(provides) else provides


def _given(provides: Any) -> Any:
    if isinstance(provides, type) and issubclass(provides, resources.Resource | resources.AsyncResource):
        return _returned(provides.init)
    if isinstance(provides, type):
        return provides
    return _returned(provides) if callable(provides) and not isinstance(provides, providers.Provider) else None


def _returned(function: Any) -> Any:
    """Return what a function is annotated to return, or to yield; None when that is no class."""
    try:
        hint = get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):
        return None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        hint = next(iter(get_args(hint)), None)
    plain = get_origin(hint) or hint
    return hint if isinstance(plain, type) and plain not in SAYS_NOTHING else None


def derives(given: Any, wanted: Any) -> bool:
    """Tell whether what is ``given`` is a ``wanted``, by explicit inheritance. ``Repo[User]`` is no ``Repo[Order]``."""
    if given == wanted:
        return True
    cls = get_origin(given) or given
    if get_origin(wanted) is None:
        return isinstance(wanted, type) and wanted in cls.__mro__
    return get_origin(given) is None and any(wanted == base for base in _generic_bases(cls))


def _generic_bases(cls: type) -> Iterator[Any]:
    for base in cls.__mro__:
        yield from base.__dict__.get("__orig_bases__", ())


def effective(provider: Any) -> Any:
    """Return the provider that answers for ``provider`` now: its last override, as in tests, or itself."""
    while provider.last_overriding is not None:
        provider = provider.last_overriding
    return provider


def below(tops: Iterable[Any]) -> list[Any]:
    """Return the providers that ``tops`` need, and ``tops``, each once and after what it needs itself."""
    found: list[Any] = []
    seen: set[int] = set()

    def visit(provider: Any) -> None:
        if id(provider) in seen:
            return
        seen.add(id(provider))
        for other in [provider.last_overriding] if provider.last_overriding is not None else provider.related:
            visit(other)
        found.append(provider)

    for top in tops:
        visit(top)
    return found


def says_nothing(named: Named) -> bool:
    """Tell whether a provider calls something that does not say what it returns."""
    return not named.gives and callable(_provides(named.provider))


def is_async(provider: Any) -> bool:
    """Tell whether a provider gives a future instead of the thing itself."""
    if provider.last_overriding is not None:
        return False  # what overrides it is asked itself
    if isinstance(provider, providers.Object):
        return False  # an async function that is given as it stands is not called
    provides = _provides(provider)
    asynchronous = inspect.iscoroutinefunction(provides) or inspect.isasyncgenfunction(provides)
    resource = isinstance(provides, type) and issubclass(provides, resources.AsyncResource)
    return asynchronous or resource or bool(provider.is_async_mode_enabled())


def is_unbound(provider: Any) -> bool:
    """Tell whether a provider only stands for one that was never given."""
    if isinstance(provider, providers.Dependency):
        return not provider.is_defined
    return isinstance(provider, ABSTRACT) and provider.last_overriding is None


def lives_per_run(provider: Any) -> bool:
    """Tell whether a provider makes one thing a run (a context)."""
    return isinstance(provider, providers.ContextLocalSingleton)
