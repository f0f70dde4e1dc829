"""The checker of the distributed tests reports every kind of fault, and lets a clean history pass."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from distributed.checker import Report, check
from distributed.checker_evidence import Event, Kept, RunAsked
from unit.history import T0, History, every_second, fire, state, text


def clean() -> History:
    """A schedule every second, from 0 to 9: run, again, skipped, coalesced, missed, withdrawn; and one-shots."""
    history = History()
    history.change("created", 0, None, state(1000), every_second())
    history.run(fire(1000), 1001)
    history.job("queued", 2001, fire(2000), 0)  # its owner is killed: again, elsewhere
    history.begin_attempt(fire(2000), 2002, 1, pid=1)
    history.tell("schedule.fire_skipped", 3001, id="s", why="overlap", count=1, run_id=fire(3000), fire_time=text(3000))
    history.job("lost", 3500, fire(2000), 1)
    history.begin_attempt(fire(2000), 3500, 2, pid=2)
    history.succeed(fire(2000), 3600, 2, pid=2)
    history.tell("schedule.fire_skipped", 5500, id="s", why="missed", count=1, since=text(4000))
    history.run(fire(6000), 6001, missed=1)  # stands for 5000 too
    history.change("paused", 7500, state(7000), state(7000, paused=True))  # late at 7000, and 8000 comes while it rests
    history.change("resumed", 8500, state(7000, paused=True), state(9000))
    history.run(fire(9000), 9001)
    history.change("removed", 9500, state(10_000), None)
    history.asked.append(RunAsked("submit", "o", "one_shot", "created", T0))
    history.job("queued", 0, "o", 0)
    history.begin_attempt("o", 1)
    history.step("end", 2, "o", 1)
    history.job("retrying", 2, "o", 1)
    history.job("queued", 3, "o", 1)
    history.begin_attempt("o", 4, 2)
    history.succeed("o", 5, 2)
    history.ledger = [step for step in history.ledger if (step.run_id, step.attempt, step.phase) != ("o", 1, "end")]
    return history


def kept(due: int, until: int) -> History:
    """A schedule that lives on: run at 1000, next due at ``due``."""
    history = History()
    history.change("created", 0, None, state(1000), every_second())
    history.run(fire(1000), 1001)
    history.schedules["s"] = Kept(state(due), every_second())
    history.until = until
    return history


def kinds(report: Report) -> Counter[str]:
    return Counter(finding.kind for finding in report.findings)


def test_a_clean_history_passes_and_every_fire_is_counted_once() -> None:
    report = check(clean().evidence())
    assert report.ok, report.text()
    assert report.fires == Counter(settled=3, again=1, skipped=1, missed=1, coalesced=1, withdrawn=1)
    assert report.one_shots == Counter(settled=1)
    assert report.crashed_attempts == 1


def begun_twice(history: History) -> None:
    history.step("begin", 1002, fire(1000), 1, pid=2)


def settled_twice(history: History) -> None:
    history.job("succeeded", 1100, fire(1000), 1)


def settled_and_begun_again(history: History) -> None:
    history.begin_attempt(fire(1000), 1100, 2)


def claimed_twice_without_a_loss(history: History) -> None:
    history.forget("job.lost")


def same_number_given_twice(history: History) -> None:
    history.job("queued", 1, "p", 0)
    history.begin_attempt("p", 2, 1)
    history.job("lost", 3, "p", 1)
    history.job("started", 4, "p", 1)
    history.job("cancelled", 5, "p", 1)


def two_runs_of_one_fire(history: History) -> None:
    history.run(fire(1000, kind="catch_up."), 1500)


def no_run_and_no_word(history: History) -> None:
    history.events = [e for e in history.events if e.data.get("run_id") != fire(1000)]
    history.ledger = [step for step in history.ledger if step.run_id != fire(1000)]


def skipped_in_silence(history: History) -> None:
    history.events = [e for e in history.events if e.data.get("why") != "overlap"]


def missed_in_silence(history: History) -> None:
    history.events = [e for e in history.events if e.data.get("why") != "missed"]


def coalesced_in_silence(history: History) -> None:
    history.events = [replace(e, data={k: v for k, v in e.data.items() if k != "missed"}) for e in history.events]


def run_vanished(history: History) -> None:
    history.forget("job.succeeded", fire(9000))


def one_shot_vanished(history: History) -> None:
    history.forget("job.succeeded", "o")


def one_shot_never_queued(history: History) -> None:
    history.asked.append(RunAsked("submit", "never", "one_shot", "created", T0))


def acknowledged_change_not_told(history: History) -> None:
    history.change("changed", 9600, state(1), state(2), told=False)


def run_never_ends(history: History) -> None:
    run_vanished(history)
    history.open_runs[fire(9000)] = "running"


def one_shot_never_begins(history: History) -> None:
    history.job("queued", 1, "p", 0)
    history.open_runs["p"] = "queued"


def succeeded_without_its_body(history: History) -> None:
    history.ledger = [step for step in history.ledger if (step.run_id, step.phase) != (fire(1000), "end")]


def began_without_a_claim(history: History) -> None:
    history.step("begin", 1002, fire(1000), 7, pid=2)


def ran_without_an_event(history: History) -> None:
    history.step("begin", 1002, "nobody-told", 1)


def succeeded_and_was_retried(history: History) -> None:
    history.step("end", 2, "o", 1)


def run_made_while_paused(history: History) -> None:
    history.run(fire(8000), 8001)


def run_made_after_the_stop(history: History) -> None:
    history.run(fire(10_000), 10_001)


def late_run_after_the_stop(history: History) -> None:
    history.events = [replace(e, at=T0 + 9600) if e.data.get("run_id") == fire(9000) else e for e in history.events]


def announced_though_it_ran(history: History) -> None:
    history.tell("schedule.fire_skipped", 1002, id="s", why="overlap", count=1, run_id=fire(1000), fire_time=text(1000))


def stands_for_too_many(history: History) -> None:
    history.events = [replace(e, data={**e.data, "missed": 20}) if e.data.get("missed") else e for e in history.events]


def no_such_fire(history: History) -> None:
    history.run(fire(1234), 1240)


def no_such_missed_fire(history: History) -> None:
    history.tell("schedule.fire_skipped", 1002, id="s", why="missed", count=1, since=text(1234))


def rhythm_is_wrong(history: History) -> None:
    after = history.changes[0].after
    assert after is not None
    history.changes[0] = replace(history.changes[0], after=after.model_copy(update={"due": T0 + 1500}))


def fired_while_it_rested(history: History) -> None:
    history.changes[2] = replace(history.changes[2], before=state(8000, paused=True))


def still_there_after_its_removal(history: History) -> None:
    history.schedules["s"] = Kept(state(10_000), every_second())


def changed_by_nobody_known(history: History) -> None:
    history.tell("schedule.changed", 9400, id="s")


def cancelled_in_vain(history: History) -> None:
    history.asked.append(RunAsked("cancel", fire(9000), answer="running", at=T0))


def over_but_still_in_the_store(history: History) -> None:
    history.open_runs[fire(1000)] = "running"


def in_the_store_untold(history: History) -> None:
    history.open_runs["x"] = "queued"


def attempt_is_wrong(history: History) -> None:
    history.events = [
        replace(e, data={**e.data, "attempt": 4}) if e.topic == "job.retrying" else e for e in history.events
    ]


def events_are_missing(history: History) -> None:
    history.facts["trimmed"] = 3


PLANTED: list[tuple[Callable[[History], None], str]] = [
    (begun_twice, "doubled"),
    (settled_twice, "doubled"),
    (settled_and_begun_again, "doubled"),
    (claimed_twice_without_a_loss, "doubled"),
    (same_number_given_twice, "doubled"),
    (two_runs_of_one_fire, "doubled"),
    (no_run_and_no_word, "unexplained"),
    (skipped_in_silence, "unexplained"),
    (missed_in_silence, "unexplained"),
    (coalesced_in_silence, "unexplained"),
    (run_vanished, "lost"),
    (one_shot_vanished, "lost"),
    (one_shot_never_queued, "lost"),
    (acknowledged_change_not_told, "lost"),
    (run_never_ends, "stuck"),
    (one_shot_never_begins, "stuck"),
    (succeeded_without_its_body, "wrong"),
    (began_without_a_claim, "wrong"),
    (ran_without_an_event, "wrong"),
    (succeeded_and_was_retried, "wrong"),
    (run_made_while_paused, "wrong"),
    (run_made_after_the_stop, "wrong"),
    (late_run_after_the_stop, "wrong"),
    (announced_though_it_ran, "wrong"),
    (stands_for_too_many, "wrong"),
    (no_such_fire, "wrong"),
    (no_such_missed_fire, "wrong"),
    (rhythm_is_wrong, "wrong"),
    (fired_while_it_rested, "wrong"),
    (still_there_after_its_removal, "wrong"),
    (changed_by_nobody_known, "wrong"),
    (cancelled_in_vain, "lost"),
    (over_but_still_in_the_store, "wrong"),
    (in_the_store_untold, "wrong"),
    (attempt_is_wrong, "wrong"),
    (events_are_missing, "wrong"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_fault_is_reported_as_what_it_is(plant: Callable[[History], None], kind: str) -> None:
    history = clean()
    plant(history)
    report = check(history.evidence())
    assert not report.ok
    assert kinds(report)[kind] >= 1, report.text()
    assert kind.upper() in report.text()


def test_a_schedule_that_lives_on_is_asked_for_all_fires_until_the_end_of_observation() -> None:
    assert check(kept(2000, until=1999).evidence()).ok
    report = check(kept(2000, until=4000).evidence())
    assert kinds(report) == Counter(unexplained=3)
    assert report.fires == Counter(settled=1, unexplained=3)


def test_fires_that_were_planned_in_silence_at_the_end_are_unexplained() -> None:
    assert kinds(check(kept(4000, until=1999).evidence())) == Counter(unexplained=2)


def test_a_schedule_that_vanished_is_lost() -> None:
    history = kept(2000, until=1999)
    history.schedules.clear()
    assert kinds(check(history.evidence()))["lost"] == 1


def test_a_schedule_without_a_journal_is_judged_by_its_state_in_the_store() -> None:
    history = kept(3000, until=2500)
    history.changes.clear()
    history.events = [Event(e.topic, e.at, {**e.data, "op": ""}, e.n) for e in history.events]
    assert kinds(check(history.evidence())) == Counter(unexplained=1)
    history.run(fire(2000), 2001)
    assert check(history.evidence()).ok


def test_jitter_holds_a_fire_back_and_a_late_one_is_still_asked_for() -> None:
    history = kept(2000, until=2100)
    history.changes[0] = replace(history.changes[0], definition=every_second(jitter_s=30.0))
    history.schedules["s"] = Kept(state(2000), every_second(jitter_s=30.0))
    assert check(history.evidence()).ok
    history.until = 40_000
    assert not check(history.evidence()).ok


def test_a_schedule_that_ends_by_itself_owes_nothing_after_its_end() -> None:
    history = History()
    end = text(2500)
    history.change("created", 0, None, state(1000), every_second(end=end))
    history.run(fire(1000), 1001)
    history.run(fire(2000), 2001)
    history.tell("schedule.removed", 2001, id="s", why="it has no further fire")
    assert check(history.evidence()).ok
    early = [replace(e, at=T0 + 1001) if e.topic == "schedule.removed" else e for e in history.events]
    history.events = [e for e in early if e.data.get("run_id") != fire(2000)]
    history.ledger = [step for step in history.ledger if step.run_id != fire(2000)]
    assert kinds(check(history.evidence())) == Counter(wrong=1)


def test_a_schedule_that_its_own_job_ended_owes_what_was_planned_before() -> None:
    history = kept(0, until=100_000)
    history.schedules.clear()
    history.run(fire(3000), 3001)
    history.tell("schedule.removed", 4500, id="s", why="enough", terminated=True)
    report = check(history.evidence())
    assert kinds(report) == Counter(unexplained=1)
    assert report.fires == Counter(settled=2, unexplained=1, withdrawn=1)


def test_a_removal_may_have_seen_an_older_state_than_it_removed() -> None:
    history = History()
    history.change("created", 0, None, state(1000), every_second())
    for due in (1000, 2000, 3000):
        history.run(fire(due), due + 5)
    history.change("removed", 3600, state(2000), None)
    report = check(history.evidence())
    assert report.ok, report.text()
    assert report.fires == Counter(settled=3)


def test_what_a_removal_saw_planned_must_be_told_of() -> None:
    history = History()
    history.change("created", 0, None, state(1000), every_second())
    history.run(fire(1000), 1005)
    history.change("removed", 4600, state(3000), None)
    report = check(history.evidence())
    assert report.fires == Counter(settled=1, unexplained=1, withdrawn=2)


def test_a_new_incarnation_is_another_schedule() -> None:
    history = clean()
    history.change("created", 20_000, None, state(21_000, anchor=20_000, incarnation="b"), every_second())
    history.schedules["s"] = Kept(state(22_000, anchor=20_000, incarnation="b"), every_second())
    history.until = 21_500
    assert kinds(check(history.evidence())) == Counter(unexplained=1)
    history.run(fire(21_000, "b"), 21_001)
    assert check(history.evidence()).ok


def test_what_is_given_back_before_it_began_keeps_its_number_for_the_next() -> None:
    history = History()
    history.job("queued", 1, "o", 0)
    history.job("started", 2, "o", 1)
    history.job("queued", 3, "o", 0, why="given back")
    history.begin_attempt("o", 4, 1)
    history.job("queued", 5, "o", 1, why="given back")
    history.begin_attempt("o", 6, 2)
    history.succeed("o", 7, 2)
    report = check(history.evidence())
    assert report.ok, report.text()
    assert report.one_shots == Counter(again=1)


def test_a_body_in_a_thread_may_come_to_an_end_that_does_not_count() -> None:
    history = clean()
    succeeded_and_was_retried(history)
    history.facts["threaded"] = frozenset({"Write"})
    assert check(history.evidence()).ok


def test_what_waits_for_a_later_time_is_not_stuck() -> None:
    history = History()
    history.until = 10
    history.job("queued", 20, "o", 0)
    history.open_runs["o"] = "queued"
    assert check(history.evidence()).one_shots == Counter(waiting=1)


@pytest.mark.parametrize("came", [True, False])
def test_what_waits_for_an_instance_that_knows_it_is_not_stuck_and_may_go_on(came: bool) -> None:
    history = History()
    history.asked.append(RunAsked("submit", "o", "one_shot", "created", T0))
    history.job("queued", 0, "o", 0)
    history.job("parked", 10_000, "o", 0, why="no running instance knows 'Write' in version 2; start one")
    if came:
        history.job("queued", 20_000, "o", 0, why="an instance that knows it has come")
        history.begin_attempt("o", 20_001)
        history.succeed("o", 20_002)
    else:
        history.open_runs["o"] = "parked"
    report = check(history.evidence())
    assert report.ok, report.text()
    assert report.one_shots == (Counter(settled=1) if came else Counter(waiting=1))


def test_what_is_parked_is_not_stuck() -> None:
    history = History()
    history.job("queued", 1, "o", 0)
    history.begin_attempt("o", 2)
    history.job("lost", 3, "o", 1)
    history.job("parked", 3, "o", 1, why="it has outlived 1 owners")
    history.open_runs["o"] = "parked"
    report = check(history.evidence())
    assert report.ok
    assert report.one_shots == Counter(parked=1)


@pytest.mark.parametrize("plant", [begun_twice, began_without_a_claim, one_shot_never_queued, ran_without_an_event])
def test_what_the_killed_store_lost_is_a_class_of_its_own(plant: Callable[[History], None]) -> None:
    history = clean()
    plant(history)
    assert not check(history.evidence()).ok
    history.facts |= {"store_kills": [T0 + 1500], "store_loses_ms": 2000}
    report = check(history.evidence())
    assert report.ok, report.text()
    assert (report.fires + report.one_shots + report.extra_runs)["store_lost"] >= 1
    history.facts["store_kills"] = [T0 + 60_000]
    assert not check(history.evidence()).ok


@pytest.mark.parametrize(("times", "kind"), [(2, "settled"), (1, "doubled")])
def test_a_backfill_runs_as_often_as_it_was_asked_for(times: int, kind: str) -> None:
    history = clean()
    again = fire(1000, kind="backfill.")
    history.asked += [RunAsked("submit", again, "backfill", "created", T0)] * times
    history.run(again, 9002)
    history.run(again, 9100)
    report = check(history.evidence())
    assert report.extra_runs == Counter({kind: times})
    assert report.ok is (times == 2)


def test_a_finding_tells_the_whole_story_of_its_run() -> None:
    history = clean()
    begun_twice(history)
    (finding,) = check(history.evidence()).findings
    story = finding.text()
    assert "begin of attempt 1, process 2" in story
    assert "job.started" in story
    assert "schedule.created" in story


def late_pause() -> History:
    """The fires from 2000 to 9000 are late when a pause takes them away at 9600: those to 7000 by over 2 s."""
    history = History()
    history.change("created", 0, None, state(1000), every_second())
    history.run(fire(1000), 1005)
    history.change("paused", 9600, state(2000), state(2000, paused=True))
    history.schedules["s"] = Kept(state(2000, paused=True), every_second())
    history.until = 9700
    return history


def test_fires_that_a_pause_took_away_must_be_told() -> None:
    history = late_pause()
    assert kinds(check(history.evidence())) == Counter(wrong=6)
    history.tell("schedule.fire_skipped", 9600, id="s", why="paused", count=8, since=text(2000))
    report = check(history.evidence())
    assert report.ok, report.text()
    assert report.fires == Counter(settled=1, withdrawn=8)


def test_fires_that_were_not_late_are_told_wrongly() -> None:
    history = late_pause()
    history.tell("schedule.fire_skipped", 9600, id="s", why="paused", count=8, since=text(2000))
    history.tell("schedule.fire_skipped", 9600, id="s", why="changed", count=1, since=text(12_000))
    assert kinds(check(history.evidence())) == Counter(wrong=1)


def test_fires_that_a_removal_took_away_are_told_of_what_was_late() -> None:
    history = History()
    history.change("created", 0, None, state(1000), every_second())
    history.run(fire(1000), 1005)
    history.change("removed", 4600, state(2000), None)
    history.tell("schedule.fire_skipped", 4600, id="s", why="stopped", count=3, since=text(2000))
    assert check(history.evidence()).ok
    history.tell("schedule.fire_skipped", 4600, id="s", why="stopped", count=1, since=text(5000))
    assert kinds(check(history.evidence())) == Counter(wrong=1)
