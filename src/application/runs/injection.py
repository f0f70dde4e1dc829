"""What the runner needs from the container."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from domain.runs.job import JobDefinition


class Injector(Protocol):
    """Give jobs their dependencies by type, anew for every run."""

    def check(self, definitions: Iterable[JobDefinition]) -> None:
        """Raise ``UnsatisfiedDependency`` or ``AmbiguousDependency`` for the first job that cannot be satisfied."""
        ...

    def scope(self, definition: JobDefinition) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Open the scope of one run: field name → dependency. Leaving it sees the exception that ended the body."""
        ...
