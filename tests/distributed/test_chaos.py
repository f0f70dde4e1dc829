"""A short chaos run: nothing lost, nothing doubled, nothing unexplained. ``make chaos`` makes long ones."""

from pathlib import Path

import pytest

from distributed.chaos import run_chaos
from distributed.chaos_plan import FAULTS, Scale, make_plan
from support import THOROUGH

SHORT = Scale(
    seconds=14,
    processes=3,
    controls=2,
    schedules=12,
    lease_s=1.0,
    fault_every_s=1.2,
    control_every_s=0.3,
    longest_hold_s=1.5,
    roll_patience_s=3.0,
)
ALL_KINDS = 5011
"""A seed whose plan has every kind of fault."""
SEEDS = (ALL_KINDS, 22, 8, 1784, 794) if THOROUGH else (ALL_KINDS,)


@pytest.mark.timeout(500)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_fleet_survives_a_short_chaos(seed: int, tmp_path: Path, no_server_left: None) -> None:
    plan = make_plan(seed, SHORT)
    if seed == ALL_KINDS:
        assert {fault.kind for fault in plan.faults} == {*FAULTS}, "choose another seed: the plan has changed"
    outcome = await run_chaos(plan, tmp_path)
    assert outcome.ok, f"seed {seed}\n{outcome.text()}"
    assert len(outcome.struck) == len(plan.faults)
    assert outcome.report.fires["settled"] > 0
    assert outcome.report.one_shots["settled"] > 0


def test_a_seed_decides_the_whole_plan() -> None:
    assert make_plan(7, SHORT) == make_plan(7, SHORT)
    assert make_plan(7, SHORT) != make_plan(8, SHORT)
