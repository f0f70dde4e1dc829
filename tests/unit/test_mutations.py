"""The list of mutations fits the code that it breaks."""

import pytest

from mutations import MUTATIONS, ROOT, SUITES, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_finds_its_text_once(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text()
    assert text.count(mutation.old) == 1
    assert mutation.old != mutation.new


def test_the_suites_are_there() -> None:
    assert [suite for suite in SUITES if not (ROOT / suite).exists()] == []
