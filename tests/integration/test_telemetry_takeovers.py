"""Runs that were taken over are counted, and those that are merely tried again are not."""

from cluster import Cluster
from domain.runs.run import RunStatus
from hands import Hands, one_shot, status
from support import wait_until


async def test_runs_that_were_taken_over_are_counted(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    dead, _ = hands
    await one_shot(dead, "lapsed")
    assert [claim.spec.run_id for claim in dead.claim()] == ["lapsed"]
    dead.lapse()
    worker = await cluster.start()

    async def ended(run_id: str) -> bool:
        return await status(dead, run_id) is RunStatus.SUCCEEDED

    await wait_until(lambda: ended("lapsed"))
    await one_shot(dead, "again", data={"fail_times": 1}, max_retries=1)
    await wait_until(lambda: ended("again"))
    figures = worker.engine.figures()
    assert figures is not None
    assert figures.taken_over == 1
