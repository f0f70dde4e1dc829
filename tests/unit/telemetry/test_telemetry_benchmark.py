"""The benchmark's table: ratios within a round. The measurement itself is run by hand: it takes a minute."""

import pytest

from benchmarks.rates import Load
from benchmarks.telemetry import NOTHING, VARIANTS, markdown, parse

LOAD = Load(schedules=10, rate=10, seconds=1.0, warm_up_s=0.0)


def figures(cost: float | None) -> dict[str, float | None]:
    return {"cpu_us_a_fire": cost, "late_p99": 0.012, "started_per_s": 10.0}


def test_each_variant_is_compared_with_nothing_in_the_same_round() -> None:
    calm = {variant: figures(100.0 if variant == NOTHING else 110.0) for variant in VARIANTS}
    slow = {variant: figures(300.0 if variant == NOTHING else 390.0) for variant in VARIANTS}
    lines = markdown([calm, slow, slow], LOAD).splitlines()
    assert "| nothing | nobody looks on | 300 us | 1.00 (1.00 to 1.00) | 12 ms | 10/s |" in lines
    assert next(line for line in lines if line.startswith("| spans |")).split("|")[4].strip() == "1.30 (1.10 to 1.30)"


def test_a_round_in_which_nothing_started_breaks_no_table() -> None:
    silent = {variant: figures(None) for variant in VARIANTS}
    assert "No round in which all variants fired." in markdown([silent], LOAD)
    assert "1.00 (1.00 to 1.00)" in markdown([silent, {variant: figures(100.0) for variant in VARIANTS}], LOAD)


def test_options_have_defaults_and_a_quick_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse([]).rounds == 5
    assert (parse(["--quick"]).rounds, parse(["--quick", "--rounds", "2"]).rounds) == (1, 2)
    with pytest.raises(SystemExit):
        parse(["--rounds", "many"])
    assert "invalid int value" in capsys.readouterr().err
