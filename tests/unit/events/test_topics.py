"""Topics and patterns."""

import pytest

from domain.events.errors import InvalidTopic
from domain.events.event import FAMILIES
from domain.events.topics import REMEMBERED_TOPICS, TopicFilter, check_topic, family, matches

HOSTILE = [
    "",
    "job",
    "job.",
    ".started",
    "Job.started",
    "job..started",
    "job.started ",
    "job.started\n",
    "job.sta:rted",
    "jöb.started",
    "jobs.started",
    "toString.started",
    "job." + "x" * 100,
    "job.*.started",
    "*.started",
    "**",
    "job*",
    "{job}.started",
]


@pytest.mark.parametrize("topic", [*HOSTILE, "*", "job.*"])
def test_an_event_has_one_exact_topic_of_a_known_family(topic: str) -> None:
    with pytest.raises(InvalidTopic) as refused:
        check_topic(topic)
    assert "worker.metrics.collected" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("topic", ["job.started", "worker.metrics.collected", "alert.x_1.y2"])
def test_a_good_topic_is_returned(topic: str) -> None:
    assert check_topic(topic) == topic


@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_wrong_pattern_is_refused_even_beside_a_right_one(pattern: str) -> None:
    with pytest.raises(InvalidTopic):
        TopicFilter(["job.*", pattern])


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(InvalidTopic):
        TopicFilter([])


def test_a_lone_string_is_one_pattern() -> None:
    assert TopicFilter("worker.*").families == ("worker",)


@pytest.mark.parametrize(
    ("patterns", "families"),
    [
        (["*"], FAMILIES),
        (["worker.*", "*"], FAMILIES),
        (["worker.metrics.collected", "job.*"], ("job", "worker")),
        (["worker.metrics.*", "worker.removed"], ("worker",)),
    ],
)
def test_a_filter_needs_the_streams_of_its_families_only(patterns: list[str], families: tuple[str, ...]) -> None:
    assert TopicFilter(patterns).families == families


@pytest.mark.parametrize(
    ("pattern", "topic", "wanted"),
    [
        ("job.started", "job.started", True),
        ("job.started", "job.started.twice", False),
        ("job.*", "job.started", True),
        ("job.*", "job.a.b", True),
        ("job.*", "jobs.a", False),
        ("worker.metrics.*", "worker.metrics.collected", True),
        ("worker.metrics.*", "worker.metrics", False),
        ("*", "alert.firing", True),
    ],
)
def test_patterns_cover_topics(pattern: str, topic: str, wanted: bool) -> None:
    assert matches(pattern, topic) is wanted
    filtered = TopicFilter([pattern])
    assert filtered.matches(topic) is wanted
    assert filtered.matches(topic) is wanted, "the remembered answer is the same"


def test_a_writer_of_endless_topics_does_not_fill_the_memory() -> None:
    filtered = TopicFilter(["job.*"])
    for number in range(3 * REMEMBERED_TOPICS):
        assert filtered.matches(f"job.t{number}")
    assert len(filtered._known) <= REMEMBERED_TOPICS


def test_the_family_is_the_first_word() -> None:
    assert [family(topic) for topic in ("job.started", "worker.*", "*")] == ["job", "worker", "*"]
