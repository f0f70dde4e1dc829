"""Providers of the user's own: loaded by their names in the settings, checked at the start, made when first needed."""

import importlib
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from application.monitoring.providers import MetricsProvider
from domain.errors import RoundsmanError
from domain.monitoring.errors import CollectionFailed
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker
from domain.runs.errors import JobDefinitionError
from domain.runs.fields import DependencySpec, Inject
from domain.runs.job import JobDefinition
from domain.runs.retry import RetryPolicy
from infrastructure.runs.injection import ContainerInjector

BUILT_IN = ("local", "aws")
"""Names that belong to the program's own providers."""
NAME = re.compile(r"[a-z][a-z0-9_\-]{0,31}")


class InvalidProvider(RoundsmanError):
    """monitoring.providers names '{setting}', which cannot be used: {why}. Mend it, or take it out."""

    status = 500


@dataclass(frozen=True)
class ProviderClass:
    """A provider's class with what was found out about it; ``definition`` says what its constructor wants."""

    setting: str
    cls: Any
    name: str
    definition: JobDefinition


def load_providers(settings: Iterable[str]) -> tuple[ProviderClass, ...]:
    """Return the class of each ``module:Class``; raise ``InvalidProvider`` for the first that will not do."""
    loaded: dict[str, ProviderClass] = {}
    for setting in settings:
        cls = _found(setting)
        name = _name(setting, cls)
        if name in loaded:
            raise _invalid(setting, f"its name '{name}' is that of '{loaded[name].setting}' already; choose another")
        _check_methods(setting, cls)
        loaded[name] = ProviderClass(setting, cls, name, _definition(setting, cls))
    return tuple(loaded.values())


def check_providers(providers: Iterable[ProviderClass], injector: ContainerInjector) -> None:
    """Raise ``InvalidProvider`` for the first whose constructor asks for what the containers do not give."""
    for found in providers:
        try:
            injector.check_lasting(found.definition)
        except JobDefinitionError as error:
            raise _invalid(found.setting, _why(error)) from error


class UserProvider(MetricsProvider):
    """A provider of the settings. It is made when it is first needed, and lives as long as the program.

    So a process that only serves the API needs none of its dependencies, unless it checks workers itself.
    """

    def __init__(self, found: ProviderClass, injector: ContainerInjector) -> None:
        self.name = found.name
        self.default_interval_s = getattr(found.cls, "default_interval_s", None)
        self._found = found
        self._injector = injector
        self._made: Any = None

    async def collect(self, worker: Worker, now: datetime) -> MetricSample:
        """Look at the worker; raises ``CollectionFailed`` for an answer that is no sample of this worker."""
        sample = await self._instance().collect(worker, now)
        if not isinstance(sample, MetricSample):
            why = f"the provider '{self.name}' returned {type(sample).__name__}, and not a MetricSample"
            raise CollectionFailed(worker_id=worker.id, why=why)
        if (sample.worker_id, sample.provider) != (worker.id, worker.provider):
            why = f"the provider '{self.name}' returned a sample of {sample.provider}'s worker '{sample.worker_id}'"
            raise CollectionFailed(worker_id=worker.id, why=why)
        return sample

    def check(self, worker: Worker) -> None:
        """Ask the provider, where it has something to say."""
        if _own(self._found.cls, "check") is not None:
            self._instance().check(worker)

    def batch_of(self, worker: Worker) -> str | None:
        """Ask the provider, where it has something to say."""
        if _own(self._found.cls, "batch_of") is None:
            return None
        batch: str | None = self._instance().batch_of(worker)
        return batch

    def _instance(self) -> Any:
        if self._made is None:
            try:
                self._made = self._found.cls(**self._injector.give(self._found.definition))
            except JobDefinitionError as error:
                raise _invalid(self._found.setting, _why(error)) from error
            except Exception as error:
                why = f"it could not be made: {type(error).__name__}: {error}".rstrip(".")
                raise _invalid(self._found.setting, why) from error
        return self._made


def _found(setting: str) -> Any:
    module_name, _, attribute = setting.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end the program without a word
        raise _invalid(setting, f"{type(error).__name__}: {error}".rstrip(".")) from error
    found = getattr(module, attribute, None)
    if found is None:
        raise _invalid(setting, f"the module has no '{attribute}'")
    if not isinstance(found, type):
        raise _invalid(setting, "it is no class; name the class, and the program makes the one instance that it needs")
    return found


def _name(setting: str, cls: Any) -> str:
    name = getattr(cls, "name", None)
    if not isinstance(name, str):
        raise _invalid(setting, 'the class has no name; write name = "…" in it, as a worker\'s provider will say it')
    if not NAME.fullmatch(name):
        why = f"its name '{name}' is not made of a small letter and up to 31 of a-z, 0-9, _ and -"
        raise _invalid(setting, why)
    if name in BUILT_IN:
        raise _invalid(setting, f"the name '{name}' is that of a provider of the program itself; choose another")
    return name


def _check_methods(setting: str, cls: Any) -> None:
    collect = _own(cls, "collect")
    if collect is None:
        raise _invalid(setting, "it has no method collect; write async def collect(self, worker, now)")
    if not inspect.iscoroutinefunction(collect):
        raise _invalid(setting, "its collect is not async; write async def collect(self, worker, now)")
    _check_call(setting, cls, "collect", 3, "async def collect(self, worker, now)")
    _check_call(setting, cls, "check", 2, "def check(self, worker)")
    _check_call(setting, cls, "batch_of", 2, "def batch_of(self, worker)")
    interval = getattr(cls, "default_interval_s", None)
    if interval is not None and (not isinstance(interval, int | float) or isinstance(interval, bool) or interval < 0.1):
        raise _invalid(setting, f"its default_interval_s is {interval!r}, and must be 0.1 seconds or more")


def _check_call(setting: str, cls: Any, method: str, arguments: int, written: str) -> None:
    function = _own(cls, method)
    if function is None:
        return
    if method != "collect" and inspect.iscoroutinefunction(function):
        raise _invalid(setting, f"its {method} is async, and is called without await; write {written}")
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError as error:
        raise _invalid(setting, f"its {method} cannot be called as it is ({error}); write {written}") from None


def _own(cls: Any, method: str) -> Any:
    """Return a method that the provider's author wrote; None where it is only the port's."""
    found = inspect.getattr_static(cls, method, None)
    return None if found is None or found is inspect.getattr_static(MetricsProvider, method) else getattr(cls, method)


def _definition(setting: str, cls: Any) -> JobDefinition:
    """Return what the constructor wants in the words of the injector; parameters with a default are the author's."""
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
    except (NameError, AttributeError, TypeError) as error:
        raise _invalid(setting, f"an annotation of its constructor does not resolve: {error}") from error
    wanted = {}
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if (
            parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            or parameter.default is not parameter.empty
        ):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY or name not in hints:
            why = f"its constructor's parameter '{name}' must be given by name and say its type, as in {name}: Clock"
            raise _invalid(setting, why)
        wanted[name] = _spec(hints[name])
    return JobDefinition(
        cls=cls,
        name=setting,
        task_type="recurrent",
        version=1,
        retry=RetryPolicy(),
        timeout_s=None,
        data_model=BaseModel,
        dependencies=wanted,
    )


def _spec(hint: Any) -> DependencySpec:
    """Return a plain type, ``Injected[Type]`` or ``Annotated[Type, Inject("name")]`` as what is wanted."""
    if get_origin(hint) is not Annotated:
        return DependencySpec(hint)
    wanted, *marks = get_args(hint)
    return DependencySpec(wanted, next((mark.provider for mark in marks if isinstance(mark, Inject)), None))


def _why(error: JobDefinitionError) -> str:
    """Return what is wrong with a dependency, without calling the provider a job."""
    facts = error.facts
    wanted = f"it asks for '{facts.get('field')}: {facts.get('type')}'"
    if "known" in facts:
        return f"{wanted}, and no provider in the containers gives it ({facts['known']})"
    if "providers" in facts:
        return f"{wanted}, and several give it: {facts['providers']}"
    return str(facts.get("why", error))


def _invalid(setting: str, why: str) -> InvalidProvider:
    return InvalidProvider(setting=setting, why=why)
