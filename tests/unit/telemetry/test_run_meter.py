"""What is counted of runs, and that no number of names makes it grow."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from domain.runs.outcome import Cancelled, Failed, Lost, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim, RunReason, RunSpec
from infrastructure.telemetry.run_meter import LATENESS_S, MOST_NAMES, OTHER, Buckets, RunMeter


def claim(name: str = "Job", late_s: float = 0.0, attempt: int = 1, reason: RunReason = RunReason.FIRE) -> Claim:
    fire_time = datetime.now(UTC) - timedelta(seconds=late_s)
    spec = RunSpec(run_id="r", job_id="j", name=name, reason=reason, fire_time=fire_time, timeout_s=1)
    return Claim(spec, "{}", f"{name}@1", attempt, attempt - 1, "1")


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Succeeded(), "succeeded"),
        (Retry("e", 1), "retry"),
        (Failed("e"), "failed"),
        (Cancelled("w"), "cancelled"),
        (Terminated("w"), "terminated"),
        (Released(True), "released"),
        (Lost("w"), "lost"),
    ],
)
def test_each_outcome_is_counted_once(outcome: Outcome, counted: str) -> None:
    meter, one = RunMeter(), claim()
    meter.began(one)
    meter.ended(one, outcome)
    figures = meter.jobs()["Job"]
    assert {name: count for name, count in figures.ended.items() if count} == {counted: 1}
    assert figures.duration.cumulated()[-1] == ("+Inf", 1)


def test_a_claim_that_was_taken_back_before_it_began_is_no_lost_run_and_one_that_is_given_back_counts() -> None:
    meter = RunMeter()
    meter.ended(claim(), Lost("it was taken back before it began"))
    assert meter.jobs() == {}
    meter.ended(claim(), Released(started=False))
    assert meter.jobs()["Job"].ended["released"] == 1
    assert meter.jobs()["Job"].duration.cumulated()[-1] == ("+Inf", 0)


@pytest.mark.parametrize(("late_s", "offset_s", "below"), [(3.0, 0.0, "5.0"), (3.0, 2.4, "1.0"), (-60.0, 0.0, "0.005")])
def test_lateness_goes_by_the_stores_clock_and_is_never_negative(late_s: float, offset_s: float, below: str) -> None:
    meter = RunMeter(lambda: offset_s)
    meter.began(claim(late_s=late_s))
    lateness = meter.jobs()["Job"].lateness
    reached = next(bound for bound, count in lateness.cumulated() if count)
    assert reached == below
    assert lateness.total >= 0


@pytest.mark.parametrize(
    "other",
    [claim(attempt=2), claim(reason=RunReason.CATCH_UP), claim(reason=RunReason.BACKFILL)],
    ids=["a retry", "caught up", "a backfill"],
)
def test_what_was_never_meant_to_be_in_time_is_not_late(other: Claim) -> None:
    meter = RunMeter()
    meter.began(other)
    assert meter.jobs()["Job"].lateness.cumulated()[-1] == ("+Inf", 0)
    assert meter.jobs()["Job"].started == 1


def test_ten_thousand_names_share_one_label_after_the_first_hundred() -> None:
    meter = RunMeter()
    for number in range(10_000):
        one = claim(f"Job{number}")
        meter.fired(one.spec.name, 2)
        meter.began(one)
        meter.ended(one, Succeeded())
    jobs = meter.jobs()
    assert len(jobs) == MOST_NAMES + 1
    assert jobs[OTHER].started == jobs[OTHER].ended["succeeded"] == 10_000 - MOST_NAMES
    assert jobs[OTHER].fired == 2 * (10_000 - MOST_NAMES)
    assert jobs["Job0"].started == 1
    assert meter._begun == {}


def test_a_job_that_is_called_other_has_no_second_line() -> None:
    meter = RunMeter(most_names=2)
    for name in (OTHER, "A", "B", "C"):
        meter.began(claim(name))
    assert {name: figures.started for name, figures in meter.jobs().items()} == {"A": 1, "B": 1, OTHER: 2}


def test_two_threads_that_meet_a_name_first_count_into_the_same_figures() -> None:
    meter = RunMeter(most_names=500)
    ready = threading.Barrier(2)

    def fire() -> None:
        ready.wait()
        for number in range(400):
            meter.fired(f"Job{number}", 1)

    thread = threading.Thread(target=fire)
    thread.start()
    ready.wait()
    for number in range(400):
        meter.began(claim(f"Job{number}"))
    thread.join()
    assert {(figures.fired, figures.started) for figures in meter.jobs().values()} == {(1, 1)}


def test_an_observation_on_a_bound_is_below_it() -> None:
    buckets = Buckets(LATENESS_S)
    for value in (0.005, 0.0051, 1e9):
        buckets.observe(value)
    found = dict(buckets.cumulated())
    assert (found["0.005"], found["0.01"], found["300.0"], found["+Inf"]) == (1, 2, 2, 3)
