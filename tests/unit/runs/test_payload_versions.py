"""How data of an older version becomes data of the present one, and what is said when it does not."""

from datetime import date
from typing import Any

import pytest

from application.runs.registry import JobRegistry
from application.scheduling import RecurrentBackgroundJob, backgroundjob
from domain.runs.errors import InvalidData, JobDefinitionError, NotUpgraded, UnknownVersion
from domain.runs.outcome import Failed, Succeeded
from unit.runs.job_kit import Runs, definition, recurrent
from unit.runs.runner_kit import RunnerKit


@backgroundjob(task_type="recurrent", version=3)
class Report(RecurrentBackgroundJob):
    """1: ``who``. 2: ``team`` instead. 3: and ``day``."""

    team: str
    day: date

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        if version < 2:
            data["team"] = data.pop("who")
        if version < 3:
            data["day"] = date(2026, 1, 31)
        return data

    async def run_every(self) -> list[str]:
        return [self.team, self.day.isoformat()]


def job(upgrade: Any, **options: Any) -> Any:
    """Return a class in version 2 with this ``upgrade``."""
    return recurrent(**{"version": 2, "name": "Bad", **options})(
        type("Bad", (Runs,), {"__annotations__": {"team": str}, "upgrade": upgrade})
    )


def made_of(upgrade: Any, data: str = '{"who":"ops"}') -> str:
    """Return what is said of data of version 1."""
    with pytest.raises(NotUpgraded) as caught:
        definition(job(classmethod(upgrade))).load(data, 1)
    return " ".join(str(caught.value).split())


@pytest.mark.parametrize(
    ("version", "data", "day"),
    [
        (1, '{"who":"ops"}', date(2026, 1, 31)),
        (2, '{"team":"ops"}', date(2026, 1, 31)),
        (3, '{"team":"ops","day":"2026-11-22"}', date(2026, 11, 22)),
        (None, '{"team":"ops","day":"2026-11-22"}', date(2026, 11, 22)),
    ],
)
def test_data_is_upgraded_from_the_version_it_was_stored_in(version: int | None, data: str, day: date) -> None:
    assert definition(Report).load(data, version) == {"team": "ops", "day": day}


def test_data_that_is_scheduled_in_an_older_version_is_stored_in_the_present_one() -> None:
    assert definition(Report).dump({"who": "ops"}, 1) == '{"team":"ops","day":"2026-01-31"}'


def test_upgrade_works_on_a_copy() -> None:
    given = {"who": "ops"}
    definition(Report).dump(given, 1)
    assert given == {"who": "ops"}


def test_a_class_that_upgrades_takes_the_lanes_of_older_versions_too() -> None:
    registry = JobRegistry([Report])
    assert registry.lanes == ("Report@1", "Report@2", "Report@3")
    assert [registry.expect("Report", "recurrent", version).version for version in (1, 2, 3, None)] == [3] * 4
    known = "version 4; this program knows version 3, and upgrades from version 1 on"
    with pytest.raises(UnknownVersion, match=known):
        registry.expect("Report", "recurrent", 4)


def test_a_class_may_say_from_which_version_on_it_upgrades() -> None:
    late = recurrent(version=4, upgrades_from=3, name="Late")(type("Late", (Report,), {}))
    registry = JobRegistry([late])
    assert registry.lanes == ("Late@3", "Late@4")
    with pytest.raises(UnknownVersion, match="version 2; this program knows version 4, and upgrades from version 3 on"):
        registry.expect("Late", "recurrent", 2)


def test_a_class_without_upgrade_takes_its_own_version_alone() -> None:
    plain = recurrent(version=2, name="Plain")(type("Plain", (Runs,), {}))
    registry = JobRegistry([plain])
    assert registry.lanes == ("Plain@2",)
    with pytest.raises(UnknownVersion, match=r"has version 1; this program knows version 2\. Leave"):
        registry.expect("Plain", "recurrent", 1)


def raises(cls: type, version: int, data: dict[str, Any]) -> Any:
    return data["team"]


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


def raises_what_cannot_say_what_it_is(cls: type, version: int, data: dict[str, Any]) -> Any:
    raise Mute


@pytest.mark.parametrize(
    ("upgrade", "why"),
    [
        (raises, r"its upgrade raised KeyError: 'team' (test_payload_versions.py, line "),
        (raises_what_cannot_say_what_it_is, "its upgrade raised Mute (test_payload_versions.py, line "),
        (lambda cls, version, data: None, "its upgrade returned NoneType, and not a dict of all data fields"),
        (lambda cls, version, data: [data], "its upgrade returned list, and not a dict"),
        (lambda cls, version, data: data, "what its upgrade returned does not fit: team: Field required; who: Extra"),
        (lambda cls, version, data: {"team": 5}, "does not fit: team: Input should be a valid string"),
        (lambda cls, version, data: {5: 5}, "does not fit: "),
        (lambda cls, version, data: {"team": "x" * 300_000}, "does not fit: it has 300011 bytes of JSON"),
    ],
)
def test_an_upgrade_that_fails_is_told_with_the_class_and_both_versions(upgrade: Any, why: str) -> None:
    said = made_of(upgrade)
    assert said.startswith("The data of 'Bad' has version 1 and cannot become version 2, which this program has: ")
    assert why in said


def test_data_of_another_version_without_an_upgrade_is_taken_as_it_is_or_refused() -> None:
    plain = definition(recurrent(version=2, name="Plain")(type("Plain", (Runs,), {"__annotations__": {"team": str}})))
    assert plain.dump({"team": "ops"}, 1) == '{"team":"ops"}'
    with pytest.raises(InvalidData, match="it has no upgrade from version 1, and as it is the data does not fit: team"):
        plain.dump({}, 1)


async def test_a_run_upgrades_what_it_loads() -> None:
    kit = RunnerKit(Report)
    assert await kit.run(Report, '{"who":"ops"}', version=1) == Succeeded('["ops","2026-01-31"]')


async def test_a_run_whose_data_does_not_upgrade_cannot_be_loaded() -> None:
    bad = job(classmethod(raises))
    kit = RunnerKit(bad)
    outcome = await kit.run(bad, "{}", version=1)
    assert isinstance(outcome, Failed)
    assert outcome.unloadable
    assert outcome.error.startswith("NotUpgraded: The data of 'Bad' has version 1 and cannot become version 2")


async def upgrades_later(cls: type, version: int, data: dict[str, Any]) -> Any:
    return data


@pytest.mark.parametrize(
    ("upgrade", "options", "why"),
    [
        (raises, {}, "its upgrade is no classmethod; write @classmethod def upgrade"),
        (staticmethod(lambda version, data: data), {}, "its upgrade is no classmethod"),
        (classmethod(lambda cls, data: data), {}, r"its upgrade cannot be called \(too many positional arguments\)"),
        (classmethod(lambda cls: {}), {}, "its upgrade cannot be called"),
        (classmethod(lambda cls, version, data, more: data), {}, r"cannot be called \(missing a required argument"),
        (classmethod(upgrades_later), {}, "its upgrade is async"),
        (classmethod(raises), {"upgrades_from": 0}, "upgrades_from is 0; it is the oldest .* 1 to 1"),
        (classmethod(raises), {"upgrades_from": 2}, "upgrades_from is 2; it is the oldest"),
        (classmethod(raises), {"upgrades_from": True}, "upgrades_from is True"),
        (classmethod(raises), {"upgrades_from": "1"}, "upgrades_from is '1'"),
        (classmethod(raises), {"version": 1, "upgrades_from": 1}, "upgrades_from is 1, and it has no older version"),
        (classmethod(raises), {"version": 22}, "would take 21 older versions, and 20 are allowed; say upgrades_from"),
        (classmethod(raises), {"version": 20261122}, "would take 20261121 older versions"),
    ],
)
def test_an_upgrade_that_could_not_be_called_is_found_when_the_class_is_made(
    upgrade: Any, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(JobDefinitionError, match=why):
        job(upgrade, **options)


def test_upgrades_from_without_an_upgrade_is_refused() -> None:
    with pytest.raises(JobDefinitionError, match="it has no older version, or no upgrade"):
        recurrent(version=3, upgrades_from=2)(type("Bare", (Runs,), {}))


def test_twenty_older_versions_are_allowed() -> None:
    assert len(definition(job(classmethod(raises), version=21)).lanes) == 21
    assert len(definition(job(classmethod(raises), version=20261122, upgrades_from=20261102)).lanes) == 21


def test_a_field_may_be_called_upgrade() -> None:
    made = recurrent(version=2)(type("Machine", (Runs,), {"__annotations__": {"upgrade": bool}, "upgrade": False}))
    assert definition(made).load("{}") == {"upgrade": False}
    assert definition(made).lanes == ("Machine@2",)


def test_in_version_1_a_method_may_be_called_upgrade() -> None:
    made = recurrent()(type("Machine", (Runs,), {"upgrade": lambda self: None}))
    assert definition(made).lanes == ("Machine@1",)


def test_upgrade_survives_slots() -> None:
    made = recurrent(version=2, slots=True)(
        type(
            "Slim", (Runs,), {"__annotations__": {"team": str}, "upgrade": classmethod(lambda cls, v, d: {"team": "a"})}
        )
    )
    assert definition(made).load("{}", 1) == {"team": "a"}
