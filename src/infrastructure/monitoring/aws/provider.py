"""The provider ``aws``: EC2 instances, through the status checks of EC2 and the metrics of CloudWatch."""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from application.monitoring.providers import MetricsProvider
from domain.monitoring.errors import CollectionFailed, InvalidWorker, WorkerVanished
from domain.monitoring.found import FoundWorker, ImportRequest
from domain.monitoring.import_errors import InvalidImport, ProviderFailed
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker
from infrastructure.monitoring.aws.agent import Agents
from infrastructure.monitoring.aws.board import RegionBoard
from infrastructure.monitoring.aws.calls import RegionCalls
from infrastructure.monitoring.aws.connections import AwsConnections
from infrastructure.monitoring.aws.loader import RegionLoader
from infrastructure.monitoring.aws.look import RegionLook
from infrastructure.monitoring.aws.picture import sample_of
from infrastructure.monitoring.aws.search import filters_for, found_worker
from infrastructure.monitoring.aws.seen import Seen
from infrastructure.monitoring.aws.settings import AwsSettings
from infrastructure.monitoring.aws.trouble import AwsTrouble
from infrastructure.monitoring.scripts import MonitoringScripts

INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d{1,2}")
SETTLED = timedelta(minutes=10)
"""EC2 may not yet have an instance that was launched a moment ago, nor in the next moment one that it just had."""
ABSENCES = 3
ABSENT_FOR = timedelta(minutes=2)


class AwsProvider(MetricsProvider):
    """Measure EC2 instances. Hosted service: ``stop`` ends what looks at regions, and closes the connections.

    Nothing of AWS is imported before the first use.
    """

    name = "aws"

    def __init__(self, settings: AwsSettings, scripts: MonitoringScripts, instance_id: str) -> None:
        """``instance_id`` is this process's: it names it to the others that look at the same regions."""
        self.connections = AwsConnections(settings)
        self.default_interval_s = settings.interval_s
        self._settings = settings
        self._accounts, self._first_account = settings.known_accounts, settings.first_account
        self._scripts = scripts
        self._owner = instance_id
        self._loaders: dict[tuple[str, str], RegionLoader] = {}

    async def start(self) -> None:
        """Do nothing: what is needed is opened then."""

    async def stop(self) -> None:
        """End all looks and close; twice is fine."""
        loaders, self._loaders = self._loaders, {}
        for loader in loaders.values():
            await loader.stop()
        await self.connections.stop()

    def check(self, worker: Worker) -> None:
        """Refuse a worker without what names an instance, or of an account or region that is not watched."""
        if not worker.instance_id or not INSTANCE_ID.fullmatch(worker.instance_id):
            raise InvalidWorker(
                why=f"instance_id is {worker.instance_id!r}, and must be one of EC2, such as i-0abc12345def67890"
            )
        try:
            self._place(worker.account, worker.region)
        except ValueError as error:
            raise InvalidWorker(why=str(error)) from None

    def batch_of(self, worker: Worker) -> str:
        """Return account and region: what can be asked for in one call."""
        return f"{worker.account or self._first_account}/{worker.region}"

    async def collect(self, worker: Worker, now: datetime) -> MetricSample:
        """Return the newest closed period; the same one again, as long as there is no newer one."""
        try:
            self.check(worker)
            account, region = self._place(worker.account, worker.region)
            seen = await self._loader(account, region).load(worker.instance_id or "")
        except InvalidWorker as error:  # the settings have changed since it was registered
            raise CollectionFailed(worker_id=worker.id, why=error.facts["why"]) from None
        except AwsTrouble as trouble:
            raise CollectionFailed(worker_id=worker.id, why=trouble.why) from None
        if seen.trouble is not None:
            raise CollectionFailed(worker_id=worker.id, why=seen.trouble)
        if seen.instance is None or seen.values is None:
            raise _absence(worker, account, seen, now)
        return sample_of(worker, seen, seen.instance, seen.values)

    async def discover(self, wanted: ImportRequest) -> AsyncIterator[Sequence[FoundWorker]]:
        """Yield the instances that are wanted, a page at a time; those that are gone, or about to be, are none."""
        try:
            account, region = self._place(wanted.account, wanted.region)
        except ValueError as error:
            raise InvalidImport(why=str(error)) from None
        calls = RegionCalls(self.connections, account, region)
        try:
            for filters in filters_for(wanted.filters):
                async for page in calls.find(filters):
                    yield [found_worker(one, account, region) for one in page]
        except AwsTrouble as trouble:
            raise ProviderFailed(provider=self.name, why=trouble.why) from None

    def _place(self, account: str | None, region: str | None) -> tuple[str, str]:
        """Return account and region; raises ``ValueError`` that says what is wrong with them."""
        account = account or self._first_account
        if account not in self._accounts:
            raise ValueError(
                f"there is no account '{account}' in monitoring.aws.accounts (there: {', '.join(self._accounts)})"
            )
        if not region or not REGION.fullmatch(region):
            raise ValueError(f"region is {region!r}, and must be one of AWS, such as eu-west-1")
        allowed = self._settings.regions
        if allowed and region not in allowed:
            raise ValueError(f"the region {region} is not in monitoring.aws.regions (there: {', '.join(allowed)})")
        return account, region

    def _loader(self, account: str, region: str) -> RegionLoader:
        loader = self._loaders.get((account, region))
        if loader is None:
            calls = RegionCalls(self.connections, account, region)
            board = RegionBoard(self._scripts, f"{account}/{region}", self._owner)
            agents = Agents(board, calls, self._settings.filesystems_per_worker)
            look = RegionLook(calls, agents, self._settings.delay_s)
            loader = RegionLoader(board, look, f"region {region} (account '{account}')")
            self._loaders[account, region] = loader
        return loader


def _absence(worker: Worker, account: str, seen: Seen, now: datetime) -> CollectionFailed | WorkerVanished:
    """Say whether an instance that EC2 does not have is gone, or may only not be visible yet."""
    nowhere = f"EC2 has no instance {worker.instance_id} in {worker.region} (account '{account}')"
    absent_for = seen.at - (seen.absent_since or seen.at)
    if now - worker.created_at < SETTLED or seen.absences < ABSENCES or absent_for < ABSENT_FOR:
        why = f"{nowhere}; one that was just launched may take minutes to appear"
        return CollectionFailed(worker_id=worker.id, why=why)
    return WorkerVanished(worker_id=worker.id, why=nowhere)
