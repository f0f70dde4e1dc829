"""Health says when alerts do not go out."""

from infrastructure.program import Program
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.web.health import Finding
from integration.watched_kit import DEGRADED, OK, Start
from support import wait_until


async def sender(program: Program) -> Finding:
    return (await program.services().health.look()).components["sender"]


async def test_what_keeps_alerts_from_going_out_is_shown_until_it_is_over(valkey: EmbeddedValkey, begin: Start) -> None:
    program = await begin(valkey, monitoring={"local_worker": False})
    assert await sender(program) == Finding(OK, "", {"sent": 0, "failed": 0, "given_up": 0, "waiting": {}})
    store = program.container.store()
    due = store.key("mon", "outbox_due", "log")
    await store.command.set(due, "not ours")

    async def is_said() -> bool:
        found = await sender(program)
        return found.status is DEGRADED and "alerts do not go out" in found.detail

    await wait_until(is_said, "health to say so")
    assert (await program.services().health.look()).status is DEGRADED
    await store.command.delete(due)

    async def is_over() -> bool:
        return (await sender(program)).status is OK

    await wait_until(is_over, "health to be well again")
