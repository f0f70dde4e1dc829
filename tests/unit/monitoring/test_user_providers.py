"""Providers of the user's own, from the settings: what will do, and what is wrong with what will not."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
from dependency_injector import containers, providers

from domain.monitoring.errors import CollectionFailed
from domain.monitoring.sample import METRICS
from domain.monitoring.seen import sample_of
from domain.monitoring.worker import Worker, WorkerRequest, WorkerStatus
from infrastructure.monitoring.user_providers import (
    InvalidProvider,
    UserProvider,
    check_providers,
    load_providers,
)
from infrastructure.runs.injection import ContainerInjector

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
HEAD = """
from typing import Annotated, Protocol
from application.monitoring.providers import MetricsProvider
from application.scheduling import Injected
from domain.monitoring.seen import sample_of
from domain.runs.fields import Inject
"""
COLLECT = "    async def collect(self, worker, now):\n        return sample_of(worker, now, {'load_1m': 1})\n"


class Clock: ...


class ClockContainer(containers.DeclarativeContainer):
    clock = providers.Singleton(Clock)
    spare = providers.Singleton(Clock)


class OneClock(containers.DeclarativeContainer):
    clock = providers.Singleton(Clock)


class RunClock(containers.DeclarativeContainer):
    clock = providers.ContextLocalSingleton(Clock)


def a_worker(**facts: Any) -> Worker:
    return Worker.register(WorkerRequest(name="x", provider="mine", **facts), "w1", NOW)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write a module of providers; it is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def written(body: str, head: str = HEAD) -> str:
        name = f"fleet_providers_{tmp_path.name.replace('-', '_')}_{len(made)}"
        made.append(name)
        (tmp_path / f"{name}.py").write_text(head + dedent(body))
        return name

    yield written
    for name in made:
        sys.modules.pop(name, None)


def provider(body: str, base: str = "(MetricsProvider)") -> str:
    return f"class Mine{base}:\n" + indent(dedent(body).strip("\n"), "    ") + "\n"


def load(write: Any, text: str) -> Any:
    (found,) = load_providers([f"{write(text)}:Mine"])
    return found


async def test_a_provider_in_one_file_measures(write: Any) -> None:
    found = load(write, provider('name = "mine"\ndefault_interval_s = 60') + COLLECT)
    made = UserProvider(found, ContainerInjector([]))
    sample = await made.collect(a_worker(), NOW)
    assert (made.name, made.default_interval_s, made.batch_of(a_worker())) == ("mine", 60, None)
    assert (sample.metrics.load_1m, sample.status, sample.worker_name) == (1, WorkerStatus.RUNNING, "x")
    made.check(a_worker())


async def test_it_need_not_derive_from_the_port(write: Any) -> None:
    text = provider('name = "mine"\ndef batch_of(self, worker): return worker.region', "") + COLLECT
    made = UserProvider(load(write, text), ContainerInjector([]))
    assert (made.batch_of(a_worker(region="north")), made.default_interval_s) == ("north", None)
    assert (await made.collect(a_worker(), NOW)).metrics.load_1m == 1


@pytest.mark.parametrize(
    "init",
    [
        "def __init__(self, clock: Clock, tries: int = 3): self.clock = clock",
        "def __init__(self, *, clock: Injected[Clock]): self.clock = clock",
        'def __init__(self, clock: Annotated[Clock, Inject("clock")]): self.clock = clock',
    ],
)
def test_its_constructor_gets_what_it_asks_for(write: Any, init: str) -> None:
    head = f"from {__name__} import Clock\n"
    found = load(write, head + provider(f'name = "mine"\n{init}\ndef check(self, worker): seen.append(self)') + COLLECT)
    container = OneClock()
    injector = ContainerInjector([container])
    check_providers([found], injector)
    seen: list[Any] = []
    sys.modules[found.cls.__module__].seen = seen  # type: ignore[attr-defined]
    made = UserProvider(found, injector)
    made.check(a_worker())
    made.check(a_worker())
    assert [one.clock for one in seen] == [container.clock(), container.clock()]
    assert seen[0] is seen[1], "one instance"


NAMED = 'name = "mine"\n'
GOOD = "async def collect(self, worker, now): ...\n"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (GOOD, "the class has no name"),
        ("name = 7\n" + GOOD, "the class has no name"),
        ('name = "My Provider"\n' + GOOD, "its name 'My Provider' is not made of"),
        ('name = "local"\n' + GOOD, "the name 'local' is that of a provider of the program itself"),
        ('name = "aws"\n' + GOOD, "the name 'aws' is that of a provider of the program itself"),
        (NAMED, "it has no method collect"),
        (NAMED + "def collect(self, worker, now): ...", "its collect is not async"),
        (NAMED + "async def collect(self, worker): ...", "its collect cannot be called as it is"),
        (NAMED + "async def collect(self, worker, now, more): ...", "its collect cannot be called as it is"),
        (NAMED + GOOD + "async def check(self, worker): ...", "its check is async"),
        (NAMED + GOOD + "def check(self): ...", "its check cannot be called as it is"),
        (NAMED + GOOD + "def batch_of(self): ...", "its batch_of cannot be called as it is"),
        (NAMED + GOOD + "default_interval_s = 0", "its default_interval_s is 0"),
        (NAMED + GOOD + 'default_interval_s = "1m"', "its default_interval_s is '1m'"),
        (NAMED + GOOD + "def __init__(self, clock): ...", "its constructor's parameter 'clock' must be given by name"),
        (NAMED + GOOD + "def __init__(self, a: int, /): ...", "its constructor's parameter 'a' must be given by name"),
        (NAMED + GOOD + 'def __init__(self, a: "Nowhere"): ...', "an annotation of its constructor does not resolve"),
    ],
)
def test_what_is_no_provider_is_refused_and_says_why(write: Any, body: str, says: str) -> None:
    with pytest.raises(InvalidProvider) as caught:
        load(write, provider(body))
    assert says in str(caught.value)
    assert str(caught.value).startswith("monitoring.providers names 'fleet_providers_")
    assert caught.value.status == 500


def test_a_module_or_a_class_that_is_not_there_is_refused(write: Any) -> None:
    broken = write("raise SystemExit('no')")
    for setting, says in (
        ("nowhere_at_all:Mine", "No module named 'nowhere_at_all'"),
        (f"{broken}:Mine", "SystemExit: no"),
        (f"{write('x = 1')}:Mine", "the module has no 'Mine'"),
        (f"{write('Mine = 1')}:Mine", "it is no class"),
    ):
        with pytest.raises(InvalidProvider, match=says):
            load_providers([setting])


def test_two_of_one_name_are_refused(write: Any) -> None:
    one, two = (write(provider('name = "mine"') + COLLECT) for _ in range(2))
    with pytest.raises(InvalidProvider, match=f"its name 'mine' is that of '{one}:Mine' already"):
        load_providers([f"{one}:Mine", f"{two}:Mine"])
    with pytest.raises(InvalidProvider, match="already"):
        load_providers([f"{one}:Mine", f"{one}:Mine"])


@pytest.mark.parametrize(
    ("container", "says"),
    [
        (None, "it asks for 'clock: Clock', and no provider in the containers gives it (there are no providers)"),
        (ClockContainer, "it asks for 'clock: Clock', and several give it: ClockContainer.clock, ClockContainer.spare"),
        (RunClock, "it lives as long as the program, and needs RunClock.clock, which lives for one run"),
    ],
)
def test_what_no_container_can_give_is_told_at_the_start(write: Any, container: Any, says: str) -> None:
    head = f"from {__name__} import Clock\n"
    init = "def __init__(self, clock: Clock): ...\ndef check(self, worker): ...\n"
    found = load(write, head + provider(NAMED + GOOD + init))
    injector = ContainerInjector([container()] if container else [])
    with pytest.raises(InvalidProvider) as caught:
        check_providers([found], injector)
    assert says in str(caught.value)
    with pytest.raises(InvalidProvider) as caught:
        UserProvider(found, injector).check(a_worker())
    assert says in str(caught.value)


def test_who_only_serves_the_api_needs_no_dependencies_unless_it_checks(write: Any) -> None:
    head = f"from {__name__} import Clock\n"
    found = load(write, head + provider(NAMED + GOOD + "def __init__(self, clock: Clock): ...\n"))
    made = UserProvider(found, ContainerInjector([]))
    made.check(a_worker())
    assert made.batch_of(a_worker()) is None


async def test_a_constructor_that_fails_is_told(write: Any) -> None:
    text = provider(NAMED + GOOD + "def __init__(self): raise OSError('no route')\n")
    made = UserProvider(load(write, text), ContainerInjector([]))
    with pytest.raises(InvalidProvider, match="it could not be made: OSError: no route"):
        await made.collect(a_worker(), NOW)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("{'cpu': 1}", "returned dict, and not a MetricSample"),
        ("None", "returned NoneType, and not a MetricSample"),
        ("sample_of(worker.model_copy(update={'id': 'w2'}), now, {})", "returned a sample of mine's worker 'w2'"),
    ],
)
async def test_an_answer_that_is_no_sample_of_the_worker_is_a_failed_look(write: Any, answer: str, says: str) -> None:
    text = provider(f"{NAMED}async def collect(self, worker, now): return {answer}\n")
    made = UserProvider(load(write, text), ContainerInjector([]))
    with pytest.raises(CollectionFailed, match=says):
        await made.collect(a_worker(), NOW)


def test_what_was_not_seen_has_a_reason() -> None:
    seen = sample_of(
        a_worker(), NOW, {"cpu_utilization": 0.5, "load_1m": None}, missing={"load_1m": "it is asleep"}, otherwise="no"
    )
    assert seen.metrics.cpu_utilization == 0.5
    assert seen.missing == {
        "region": "no",
        **{name: "no" for name in METRICS if name != "cpu_utilization"},
        "load_1m": "it is asleep",
    }
    with pytest.raises(ValueError, match="cpu"):
        sample_of(a_worker(), NOW, {"cpu": 1})
    with pytest.raises(ValueError, match="cpu_utilization"):
        sample_of(a_worker(), NOW, {"cpu_utilization": 90})
