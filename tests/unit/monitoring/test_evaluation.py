"""One step of all alerts of a worker: what stands above comes first, alerts do not mix, words are filled in."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings

from application.monitoring.alert_book import WorkerAlerts
from application.monitoring.evaluation import Evaluation, Subject, group_of
from application.monitoring.outbox import Sending
from application.monitoring.policy import Policy
from domain.monitoring.alert import AlertState
from domain.monitoring.notification import Notification, Told
from domain.monitoring.observation import Closing, Failure, Observation, Reach, Reading, Tick
from domain.monitoring.rule import AlertRule
from domain.monitoring.sample import CheckStatus, StatusChecks
from domain.monitoring.worker import WorkerStatus
from unit.monitoring.plays import Play, at, perform, plays
from unit.monitoring.waveforms import INTERVAL_S, cpu_rule, reading, sample, tick

SUBJECT = Subject("w1", "web one", "aws", "eu-1", {"env": "prod", "team": "a"})
MEMORY = AlertRule(id="memory", metric="memory_utilization", fire=0.9)
SILENT = AlertRule(id="silent", metric="no_data")
AWAY = AlertRule.model_validate({"id": "away", "metric": "status", "statuses": ["unreachable", "stopped"]})
CHECKED = AlertRule.model_validate({"id": "checked", "metric": "status", "checks": ["system", "instance"]})
DOWN = AlertRule(id="down", metric="provider_down")


class Worker:
    """The alerts of one worker, stepped without a store."""

    def __init__(self, *rules: AlertRule, subject: Subject = SUBJECT, states: Any = None) -> None:
        self.rules = rules
        self.subject = subject
        self.states: dict[str, AlertState] = states or {}
        self.down: frozenset[str] = frozenset()
        self.told: list[Notification] = []
        self.topics: list[str] = []

    def see(self, seen: Observation) -> Evaluation:
        before = WorkerAlerts(self.subject.id, "1", 0, dict(self.states), seen.at, "1", self.down)
        evaluation = Evaluation(before, self.subject, list(self.rules), Policy("1", tuple(self.rules)))
        evaluation.observe(seen)
        step = evaluation.step()
        for rule_id, state in step.states.items():
            if state is None:
                del self.states[rule_id]
            else:
                self.states[rule_id] = state
        self.told += step.notifications
        self.topics += [change.topic for change in step.changes if change.topic]
        return evaluation

    @property
    def kinds(self) -> list[str]:
        return [f"{one.kind} {one.rule_id}" for one in self.told]


def failure(at_s: float) -> Failure:
    return Failure(at(at_s), INTERVAL_S)


@given(plays())
@settings(deadline=None)
def test_alerts_are_independent_of_each_other(play: Play) -> None:
    """Beside others, which the same samples raise and resolve, an alert tells what it tells alone."""
    others = (MEMORY, cpu_rule().model_copy(update={"id": "other", "severity": "critical"}))
    worker = Worker(play.rule, *others)
    samples = tuple(act for act in play.acts if act.is_sample)
    for act in samples:
        one = sample(at(act.at_s), act.cpu, memory_utilization=0.95 if round(act.at_s) % 3 else 0.1)
        worker.see(Reading(one, INTERVAL_S))
    told = [one for one in worker.told if one.rule_id == play.rule.id]
    alone = perform(Play(play.rule, samples)).told
    assert [(one.key, one.kind, one.severity, one.at) for one in told] == [
        (one.key, one.kind, one.severity, one.at) for one in alone
    ]


def test_the_words_of_a_rule_say_what_is_known_of_the_worker() -> None:
    rule = cpu_rule().model_copy(
        update={"message": "{worker} ({labels}, {region}): {value} {{{severity}}} {kind} {rule}"}
    )
    worker = Worker(rule)
    worker.see(reading(0, 0.95))
    (one,) = worker.told
    assert one.text == one.about == "web one (env=prod, team=a, eu-1): 0.95 {warning} firing cpu"
    assert (one.worker_name, one.provider, one.region, one.labels["env"]) == ("web one", "aws", "eu-1", "prod")


def test_what_stands_above_is_stepped_first_whatever_the_order_of_the_rules() -> None:
    worker = Worker(cpu_rule(), AWAY)
    worker.see(failure(0))
    seen = reading(10, 0.95)
    stopped = seen.sample.model_copy(update={"status": WorkerStatus.STOPPED})
    worker.see(Reading(stopped, INTERVAL_S))
    assert worker.kinds == ["firing away"]
    assert worker.states["cpu"].hidden_by == "away"
    worker.see(reading(20, 0.95))
    assert worker.kinds == ["firing away", "resolved away", "firing cpu"]


def test_a_failed_check_is_told_and_unknown_ones_change_nothing() -> None:
    worker = Worker(CHECKED)
    seen = [("impaired", "ok"), ("initializing", "ok"), ("ok", "ok"), ("insufficient_data", "ok"), ("ok", "impaired")]
    for n, (system, instance) in enumerate(seen):
        checks = StatusChecks(system=CheckStatus(system), instance=CheckStatus(instance))
        one = sample(at(n * 10.0)).model_copy(update={"status_checks": checks})
        worker.see(Reading(one, INTERVAL_S))
    assert worker.kinds == ["firing checked", "resolved checked", "firing checked"]
    assert [one.subject for one in worker.told] == ["check system", "running", "check instance"]
    worker.see(failure(60))
    assert worker.kinds[3:] == [], "a look that failed says nothing of checks"


def test_failed_looks_far_apart_are_one_run() -> None:
    """A worker that fails is looked at less and less often."""
    worker = Worker(AWAY.model_copy(update={"for_s": 300.0}))
    for at_s in (0, 60, 200, 500):
        worker.see(failure(at_s))
    assert worker.kinds == ["firing away"]
    again = Worker(AWAY.model_copy(update={"for_s": 300.0}))
    for at_s in (0, 60, 200):
        again.see(failure(at_s))
    again.see(reading(300))
    again.see(failure(400))
    again.see(failure(600))
    assert again.kinds == []


def test_a_status_is_of_the_moment_of_the_look_and_not_of_its_values() -> None:
    """A provider's values may be minutes old; that the worker was reached is news nevertheless."""
    worker = Worker(AWAY)
    worker.see(failure(100))
    late = sample(at(60)).model_copy(update={"collected_at": at(110)})
    worker.see(Reading(late, INTERVAL_S))
    assert worker.kinds == ["firing away", "resolved away"]


def test_a_region_that_is_down_hides_all_but_resolves() -> None:
    worker = Worker(SILENT, cpu_rule())
    worker.see(reading(0, 0.95))
    worker.down = frozenset({group_of("aws", "eu-1")})
    worker.see(tick(50, 0))
    assert worker.kinds == ["firing cpu"]
    worker.see(reading(60, 0.1))
    assert worker.kinds == ["firing cpu", "resolved cpu"]
    worker.see(tick(100, 60))
    assert worker.states["silent"].hidden_by == "aws~eu-1 is down"
    worker.down = frozenset()
    worker.see(tick(101, 60))
    assert worker.kinds[2:] == ["firing silent"]


def test_a_region_is_down_when_nobody_is_reached_and_enough_fail() -> None:
    region = Worker(DOWN.model_copy(update={"for_s": 10.0}), subject=Subject.of_group("aws~eu-1"))
    seen = [(1, 0), (2, 1), (2, 0), (2, 0), (3, 0), (3, 0), (1, 0), (0, 0)]
    downs = []
    for n, (failing, reached) in enumerate(seen):
        step = region.see(Reach(at(n * 5.0), failing, reached)).step()
        downs.append(step.is_down)
    assert downs == [False, False, True, True, True, True, True, False]
    assert region.kinds == ["firing down", "resolved down"]
    assert region.told[0].worker_name == "aws in eu-1"
    assert (
        "2 workers cannot be looked at"
        in Worker(DOWN, subject=Subject.of_group("aws~")).see(Reach(at(0), 2, 0)).changes[0].record.summary
    )  # type: ignore[union-attr] # it fires, so there is a record
    assert Subject.of_group("local~").name == "local"


def test_a_state_that_an_older_version_stored_goes_on() -> None:
    """It knew neither severity nor metric, nor when it was told last."""
    old = AlertState.model_validate_json(
        '{"rule_id":"cpu","worker_id":"w1","phase":"firing","run":"breach","run_since":"2026-11-22T08:00:00Z",'
        '"heard_at":"2026-11-22T08:00:00Z","episode":"cpu@w1@1","opened_at":"2026-11-22T08:00:00Z",'
        '"fired_at":"2026-11-22T08:00:00Z","value":0.95,"future":1,'
        '"told":{"alert_id":"cpu@w1@1","fired_at":"2026-11-22T08:00:00Z","severity":"warning"}}'
    )
    assert old.told == Told(alert_id="cpu@w1@1", fired_at=at(0), severity="warning")
    worker = Worker(cpu_rule().model_copy(update={"repeat_s": 15.0}), states={"cpu": old})
    worker.see(reading(10, 0.95))
    worker.see(reading(20, 0.95))
    worker.see(reading(30, 0.1))
    assert worker.kinds == ["repeat cpu", "resolved cpu"]
    assert worker.topics == ["alert.resolved"]
    assert {one.alert_id for one in worker.told} == {"cpu@w1@1"}


def test_closing_ends_everything_and_says_why() -> None:
    worker = Worker(cpu_rule(), MEMORY, SILENT)
    worker.see(Reading(sample(at(0), 0.95, memory_utilization=0.95), INTERVAL_S))
    worker.rules = ()
    step = worker.see(Closing(at(5), "the worker was removed")).step()
    assert sorted(worker.kinds) == ["firing cpu", "firing memory"]
    assert step.states == dict.fromkeys(["cpu", "memory", "silent"])
    assert step.is_at_rest


def test_a_tick_looks_at_time_for_every_rule() -> None:
    rule = cpu_rule().model_copy(update={"repeat_s": 60.0})
    worker = Worker(rule)
    worker.see(reading(0, 0.95))
    evaluation = worker.see(Tick(at(5), at(0), INTERVAL_S))
    assert evaluation.step().look_at == at(0) + timedelta(seconds=60)
    worker.see(Tick(at(61), at(0), INTERVAL_S))
    assert worker.kinds == ["firing cpu", "repeat cpu"]


def test_what_a_silence_held_back_for_days_is_not_too_old_when_it_may_go_out() -> None:
    worker = Worker(cpu_rule())
    worker.see(reading(0, 0.95))
    held = worker.told[0].model_copy(update={"not_before": at(200_000)})
    assert Sending("log", "x", "1", 1, (held,)).oldest == at(200_000)
    assert Sending("log", "x", "1", 1, (held, worker.told[0])).oldest == at(0)
