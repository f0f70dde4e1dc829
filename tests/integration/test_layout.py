"""A process that is too old or too new for what is in the store refuses to start, and says so."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cli_program import call
from infrastructure.program import Program, Role
from infrastructure.redis.connection import RedisStore
from infrastructure.runs import layout
from infrastructure.runs.layout import LAYOUT, LayoutTooNew, LayoutTooOld, check_layout
from infrastructure.settings import Settings


def settings(redis_url: str, namespace: str) -> Settings:
    return Settings.model_validate(
        {"store": {"redis_url": redis_url, "namespace": namespace}, "monitoring": {"local_worker": False}}
    )


async def the_layout(store: RedisStore) -> Any:
    return await store.command.hget(store.key("meta"), "layout")


async def test_a_new_store_gets_the_layout_and_keeps_it(store: RedisStore) -> None:
    await check_layout(store)
    assert await the_layout(store) == str(LAYOUT)
    await check_layout(store)
    assert await the_layout(store) == str(LAYOUT)


@pytest.mark.parametrize("found", [str(LAYOUT + 1), "2.5", "later", ""])
async def test_what_this_program_does_not_know_is_taken_for_newer(store: RedisStore, found: str) -> None:
    await store.command.hset(store.key("meta"), "layout", found)
    with pytest.raises(LayoutTooNew, match="a newer version has been here") as caught:
        await check_layout(store)
    assert f"knows layout {LAYOUT}:" in " ".join(str(caught.value).split())
    assert store.prefix in str(caught.value)
    assert await the_layout(store) == found


async def test_an_older_layout_is_refused_too(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_layout(store)
    monkeypatch.setattr(layout, "LAYOUT", LAYOUT + 1)
    with pytest.raises(LayoutTooOld, match="written by an older version"):
        await check_layout(store)
    assert await the_layout(store) == str(LAYOUT)


async def test_two_that_come_first_at_the_same_time_agree(store: RedisStore) -> None:
    await asyncio.gather(*(check_layout(store) for _ in range(5)))
    assert await the_layout(store) == str(LAYOUT)


@pytest.mark.parametrize("role", ["all", "api", "scheduler"])
async def test_a_program_of_any_role_does_not_open_such_a_store(store: RedisStore, redis_url: str, role: Role) -> None:
    await store.command.hset(store.key("meta"), "layout", LAYOUT + 1)
    namespace = store.prefix.strip("{}")
    program = Program(settings(redis_url, namespace), role)
    with pytest.raises(LayoutTooNew):
        await program.start()
    await program.stop()
    assert await store.command.hlen(store.key("instances")) == 0


async def test_the_command_says_it_and_fails(store: RedisStore, redis_url: str, tmp_path: Path) -> None:
    await store.command.hset(store.key("meta"), "layout", LAYOUT + 1)
    env = {
        "ROUNDSMAN_STORE__REDIS_URL": redis_url,
        "ROUNDSMAN_STORE__NAMESPACE": store.prefix.strip("{}"),
        "ROUNDSMAN_DATA_DIR": str(tmp_path),
        "ROUNDSMAN_BACKGROUND_JOBS__MODULES": json.dumps([]),
    }
    found = await asyncio.to_thread(call, "run", "--port", "0", "--role", "api", env=env)
    assert found.status == 1
    assert f"has layout {LAYOUT + 1}" in found.err
    assert "docs/upgrading.md" in found.err
    assert "Traceback" not in found.err
