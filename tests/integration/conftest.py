"""A cluster on the shared server, under a namespace of its own."""

from collections.abc import AsyncIterator

import pytest
from cluster import Cluster


@pytest.fixture
async def cluster(redis_url: str, namespace: str) -> AsyncIterator[Cluster]:
    async with Cluster(redis_url, namespace) as made:
        yield made
        keys = [key async for key in made.redis.command.scan_iter(match=f"{made.redis.prefix}:*", count=1000)]
    if keys:
        from infrastructure.redis.connection import RedisStore  # noqa: PLC0415

        store = RedisStore(redis_url, namespace)
        await store.command.unlink(*keys)
        await store.close()
