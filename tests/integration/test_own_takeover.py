"""Who takes its own run over holds two claims of it, of which only the newer one counts: the token tells."""

from domain.runs.outcome import Succeeded
from domain.runs.run import RunStatus
from hands import Hands, one_shot, status


async def test_the_older_claim_of_the_same_owner_settles_nothing(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await one_shot(a)
    (first,) = a.claim()
    a.lapse()
    (second,) = a.claim()
    assert second.attempt == 2
    assert a.settle(first, Succeeded('"late"')) == "lost"
    assert await status(a, "o") is RunStatus.RUNNING
    assert a.settle(second, Succeeded('"mine"')) == "settled"
    run = await a.instance.runs.get("o")
    assert run is not None
    assert run.result == "mine"


async def test_the_older_claim_of_the_same_owner_renews_nothing(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await one_shot(a)
    (first,) = a.claim()
    a.lapse()
    (second,) = a.claim()
    assert a.renew(first) == ["o"]
    assert a.renew(second) == []
