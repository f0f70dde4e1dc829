"""The version of the store's layout: what every process must agree on that shares the store."""

from collections.abc import Awaitable
from importlib.metadata import version
from typing import cast

from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.errors import StoreError

LAYOUT = 2
"""What this program reads and writes (docs/decisions/001). It grows only when older programs would do damage."""


class LayoutTooNew(StoreError):
    """The store at {address}, keys {prefix}:*, has layout {found}, and this program (version {version}) knows layout
    {known}: a newer version has been here. Start that version, or give this one keys of its own with the setting
    store.namespace. Nothing was changed; docs/upgrading.md says more."""


class LayoutTooOld(StoreError):
    """The store at {address}, keys {prefix}:*, has layout {found}, and this program (version {version}) knows layout
    {known} alone: its data was written by an older version. Start that version, or bring the data over as
    docs/upgrading.md says for layout {known}. Nothing was changed."""


async def check_layout(store: RedisStore) -> None:
    """Write the layout into a store that has none, as it is new; raise what is wrong with another one.

    Raises ``LayoutTooNew``, ``LayoutTooOld`` or ``StoreUnavailable``.
    """
    meta = store.key("meta")
    with store_errors():
        found = await cast(Awaitable[str | None], store.command.hget(meta, "layout"))
        if found is None:  # asked first, because a full store can be read
            await store.command.hsetnx(meta, "layout", str(LAYOUT))
            found = await cast(Awaitable[str | None], store.command.hget(meta, "layout"))
    if found in (None, str(LAYOUT)):
        return
    is_older = str(found).isdecimal() and int(str(found)) < LAYOUT
    refusal = LayoutTooOld if is_older else LayoutTooNew
    raise refusal(address=store.address, prefix=store.prefix, found=found, known=LAYOUT, version=version("roundsman"))
