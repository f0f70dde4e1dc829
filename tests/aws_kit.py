"""Processes that watch one stand-in for AWS: each has its own provider and connections, all share one store."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from aws_fake import AwsFake, Fleet
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker, WorkerRequest
from infrastructure.monitoring.aws import loader
from infrastructure.monitoring.aws.provider import AwsProvider
from infrastructure.monitoring.aws.settings import AwsSettings
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.monitoring.workers import RedisWorkers
from infrastructure.redis.connection import RedisStore

REGION = "eu-west-1"


def use_key(monkeypatch: pytest.MonkeyPatch, key: str = "AKIATESTTESTTESTTEST") -> None:
    """Give this process credentials, and nothing else of the machine's own AWS set-up."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-nobody-may-see-0123456789")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


def gather_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let looks begin soon: for tests that ask about few instances, at once."""
    for name in ("GATHER_S", "QUIET_S", "POLL_S"):
        monkeypatch.setattr(loader, name, 0.05)


class AwsSite:
    """One stand-in, one store, and as many providers as a test wants."""

    def __init__(self, fake: AwsFake, url: str, namespace: str) -> None:
        self.fake = fake
        self._url = url
        self._namespace = namespace
        self._stores: list[RedisStore] = []
        self._providers: list[AwsProvider] = []

    @property
    def fleet(self) -> Fleet:
        return self.fake.fleet

    async def provider(self, **settings: Any) -> AwsProvider:
        """Return the provider of one more process."""
        store = RedisStore(self._url, self._namespace)
        await store.open()
        self._stores.append(store)
        name = f"p{len(self._stores)}"
        chosen = AwsSettings.model_validate({"endpoint_url": self.fake.url, **settings})
        self._providers.append(AwsProvider(chosen, MonitoringScripts(store, name), name))
        return self._providers[-1]

    async def now(self) -> datetime:
        return await RedisWorkers(MonitoringScripts(self._stores[0], "x")).now()

    async def look(self, provider: AwsProvider, instance_id: str, **facts: Any) -> MetricSample:
        """Have a provider look at an instance once."""
        now = await self.now()
        return await provider.collect(worker(instance_id, facts.pop("created_at", now), **facts), now)

    async def look_at_all(self, provider: AwsProvider, ids: Iterable[str]) -> list[MetricSample]:
        return await asyncio.gather(*(self.look(provider, name) for name in ids))

    async def forget_looks(self) -> None:
        """Let no look be fresh any more, as if time had passed."""
        store = self._stores[0]
        async for key in store.command.scan_iter(match=store.key("mon", "aws_seen", "*"), count=1000):
            at, _, text = (await store.command.get(key)).partition(" ")
            await store.command.set(key, f"{int(at) - 60_000} {text}", keepttl=True)

    async def close(self) -> None:
        for provider in self._providers:
            await provider.stop()
        for store in self._stores:
            async for key in store.command.scan_iter(match=f"{store.prefix}:*", count=1000):
                await store.command.unlink(key)
            await store.close()


@asynccontextmanager
async def aws_site(url: str, namespace: str) -> AsyncIterator[AwsSite]:
    async with AwsFake() as fake:
        site = AwsSite(fake, url, namespace)
        try:
            yield site
        finally:
            await site.close()


def worker(instance_id: str, created_at: datetime, **facts: Any) -> Worker:
    """Return a registered worker."""
    said = {"name": instance_id, "provider": "aws", "region": REGION, "instance_id": instance_id, **facts}
    return Worker.register(WorkerRequest.model_validate(said), f"aws-{instance_id}", created_at)
