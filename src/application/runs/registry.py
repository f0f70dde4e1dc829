"""The registry: which background jobs this program knows. Nothing else is ever instantiated."""

import difflib
import importlib
import inspect
import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType

from domain.runs.errors import (
    DuplicateJob,
    JobDefinitionError,
    JobModuleError,
    UnknownJob,
    UnknownVersion,
    WrongTaskType,
)
from domain.runs.job import BackgroundJob, JobDefinition

log = logging.getLogger(__name__)


class JobRegistry:
    """Job definitions by name. Built once at start; two classes of one name are refused."""

    def __init__(self, classes: Iterable[type] = ()) -> None:
        self._by_name: dict[str, JobDefinition] = {}
        for cls in classes:
            self._add(cls)
        self._lanes = tuple(sorted(lane for known in self._by_name.values() for lane in known.lanes))

    @classmethod
    def from_modules(cls, modules: Iterable[str]) -> "JobRegistry":
        """Import ``modules`` and register what they define or import by name.

        Raises ``JobModuleError`` for one that does not import, with its own error as the cause. Warns of one without
        jobs: perhaps another was meant.
        """
        return cls(job for module in modules for job in _jobs_in(_import(module)))

    def _add(self, cls: type) -> None:
        definition = cls.__dict__.get("__definition__")
        if not isinstance(definition, JobDefinition):
            raise JobDefinitionError(job=cls.__name__, why="it is not decorated with @backgroundjob")
        if definition.cls is not cls:
            why = "a decorator above @backgroundjob made another class of it; put @backgroundjob above all others"
            raise JobDefinitionError(job=definition.name, why=why)
        known = self._by_name.setdefault(definition.name, definition)
        if known.cls is not cls:
            raise DuplicateJob(name=definition.name, first=_where(known.cls), second=_where(cls))

    @property
    def definitions(self) -> Mapping[str, JobDefinition]:
        """All definitions by name."""
        return MappingProxyType(self._by_name)

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes whose work this program can take; those of older versions too, where a class can upgrade them."""
        return self._lanes

    def expect(self, name: str, task_type: str, version: int | None = None) -> JobDefinition:
        """Return the definition a request names; raise ``WrongTaskType`` or ``UnknownVersion`` if it is another."""
        definition = self.get(name)
        if definition.task_type != task_type:
            raise WrongTaskType(name=name, actual=definition.task_type, wanted=task_type)
        if version is not None and version not in definition.versions:
            older = "" if definition.oldest is None else f", and upgrades from version {definition.oldest} on"
            raise UnknownVersion(name=name, version=version, known=f"{definition.version}{older}")
        return definition

    def get(self, name: str) -> JobDefinition:
        """Return a definition; raise ``UnknownJob`` that names the nearest known ones."""
        definition = self._by_name.get(name)
        if definition is None:
            near = difflib.get_close_matches(name, self._by_name, n=3)
            known = ", ".join(sorted(self._by_name)) or "none"
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are: {known}."
            raise UnknownJob(name=name, hint=hint + " Its module must be listed in background_jobs.modules.")
        return definition


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end the program without a word
        raise JobModuleError(module=module, why=f"{type(error).__name__}: {error}".rstrip(".")) from error


def _jobs_in(module: ModuleType) -> list[type]:
    jobs = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, BackgroundJob) and "__definition__" in value.__dict__
    ]
    if not jobs:
        log.warning("the job module %s has no class with @backgroundjob", module.__name__)
    return jobs


def _where(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
