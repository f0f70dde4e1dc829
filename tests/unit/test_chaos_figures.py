"""The recovery times of a chaos run are taken from the ledger, for runs that a fault interrupted, and for no other."""

import pytest

from distributed.chaos_figures import Recovery, figures, quantiles, recoveries
from distributed.chaos_stage import Struck
from unit.history import T0, History


def interrupted(ended: bool = False, told: bool = True) -> History:
    """A run that process 1 begins at 1000 and process 2 begins again at 3500."""
    history = History()
    history.job("queued", 900, "o", 0)
    history.begin_attempt("o", 1000, 1, pid=1)
    if ended:
        history.step("out", 1900, "o", 1, pid=1)
    if told:
        history.job("lost", 3400, "o", 1)
    history.begin_attempt("o", 3500, 2, pid=2)
    return history


def struck(at: int, kind: str = "kill", pid: int = 1, ended_at: int = 0) -> Struck:
    return Struck(T0 + at, kind, "p0", pid, T0 + (ended_at or at))


def test_the_time_runs_from_the_fault_to_the_next_begin_elsewhere() -> None:
    found = recoveries(interrupted().evidence(), [struck(2000)])
    assert found == [Recovery("kill", "o", 1500, alone=True)]


def test_another_fault_meanwhile_is_noted_and_the_first_one_counts() -> None:
    faults = [struck(2000, "freeze"), struck(3000, "kill"), struck(3600, "kill", pid=2)]
    assert recoveries(interrupted().evidence(), faults) == [Recovery("freeze", "o", 1500, alone=False)]


@pytest.mark.parametrize(
    ("history", "fault"),
    [
        (interrupted(), struck(500)),
        (interrupted(), struck(2000, pid=7)),
        (interrupted(ended=True), struck(2000)),
        (interrupted(told=False), struck(2000)),
        (interrupted(), struck(2000, pid=0)),
    ],
    ids=["before it began", "another process", "after it was over", "a retry, and no loss", "no process"],
)
def test_what_was_not_interrupted_by_a_fault_has_no_recovery(history: History, fault: Struck) -> None:
    assert recoveries(history.evidence(), [fault]) == []


def test_what_is_given_back_counts_as_recovery_after_sigterm() -> None:
    history = History()
    history.job("queued", 900, "o", 0)
    history.begin_attempt("o", 1000, 1, pid=1)
    history.job("queued", 2100, "o", 1, why="given back by an instance that stops")
    history.begin_attempt("o", 2200, 2, pid=2)
    found = recoveries(history.evidence(), [struck(2000, "terminate")])
    assert figures(found)[-1] == "recovery after SIGTERM: p50 0.20 s, p95 0.20 s, max 0.20 s of 1"


def test_quantiles_take_what_was_measured() -> None:
    found = [Recovery("kill", "o", n * 100, alone=True) for n in range(1, 101)]
    assert quantiles(found) == "p50 5.10 s, p95 9.60 s, max 10.00 s of 100"
    assert quantiles([]) == "none"
