"""Who measures workers: the port that each provider fills, and the set of those that are there."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from domain.monitoring.errors import ProviderNotSupported
from domain.monitoring.found import FoundWorker, ImportRequest
from domain.monitoring.import_errors import ImportNotSupported
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker


class MetricsProvider(Protocol):
    """One way to measure workers; its ``name`` is what a worker's ``provider`` says."""

    name: str
    default_interval_s: float | None = None
    """How often a worker is looked at when nobody says; None: as ``monitoring.interval_s`` does."""

    @abstractmethod
    async def collect(self, worker: Worker, now: datetime) -> MetricSample:
        """Look at the worker once. ``now`` is the store's clock, which samples are timed by.

        What cannot be measured is null with its reason in the sample. Raises ``CollectionFailed`` when nothing can be,
        ``WorkerVanished`` when the provider is sure that there is no such worker any more.
        """
        ...

    def check(self, worker: Worker) -> None:
        """Refuse with ``InvalidWorker`` a worker that this provider could never measure."""

    def batch_of(self, worker: Worker) -> str | None:
        """Name what workers have in common that can be asked for in one call (an account and region); None: nothing.

        Workers of one batch with the same interval are looked at in the same moment. It must always say the same of a
        worker that did not change.
        """
        return None

    def discover(self, wanted: ImportRequest) -> AsyncIterator[Sequence[FoundWorker]]:
        """Yield the workers that there are, a page at a time, to be imported.

        Raises ``InvalidImport``, ``ProviderFailed``, and ``ImportNotSupported``, as a provider does that cannot.
        """
        raise ImportNotSupported(provider=self.name)


class MetricsProviders:
    """The providers of this program, by name."""

    def __init__(self, providers: Iterable[MetricsProvider]) -> None:
        self._providers = {provider.name: provider for provider in providers}

    @property
    def names(self) -> list[str]:
        """Return what is supported."""
        return sorted(self._providers)

    def find(self, name: str) -> MetricsProvider | None:
        """Return a provider, or None: a worker may outlive the provider that it was registered for."""
        return self._providers.get(name)

    def get(self, name: str) -> MetricsProvider:
        """Return a provider; raise ``ProviderNotSupported``, naming those that are."""
        provider = self._providers.get(name)
        if provider is None:
            raise ProviderNotSupported(provider=name, supported=", ".join(self.names) or "none")
        return provider
