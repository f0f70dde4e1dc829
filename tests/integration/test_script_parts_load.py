"""Every script is one that a server takes: Lua allows a function no more than sixty names from outside."""

import pytest

from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import WHERE, Retention, source


@pytest.mark.parametrize("name", WHERE)
async def test_a_server_takes_each_script(store: RedisStore, name: str) -> None:
    assert await store.command.script_load(source(name, Retention()))
