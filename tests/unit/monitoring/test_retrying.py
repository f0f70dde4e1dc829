"""What follows a failed try."""

from datetime import timedelta

import pytest

from application.monitoring.channel import LONGEST_ANSWER, NotDelivered
from application.monitoring.outbox import Ending, Sending
from application.monitoring.retrying import LONGEST_HOLD_S, MISCONFIGURED_HOLD_S, decide
from application.monitoring.sender import as_failure
from unit.monitoring.messages import notification

SENDING = Sending("hook", "cpu@w1", "1", 3, (notification(),))
FRESH, HOURS = timedelta(seconds=5), timedelta(hours=2)


def after(failure: NotDelivered, age: timedelta = FRESH) -> Ending:
    return decide(failure, SENDING, age)


def test_a_receiver_that_is_down_is_tried_again_for_a_day() -> None:
    ending = after(NotDelivered("gone", status=502, text="Bad Gateway"))
    assert (ending.how, ending.why, ending.hold_s, ending.opens) == ("again", "gone", 0, False)
    assert 0 < ending.delay_s <= 4
    assert (ending.answer.status, ending.answer.text) == (502, "Bad Gateway")
    assert after(NotDelivered("gone"), timedelta(hours=23)).how == "again"
    assert after(NotDelivered("gone"), timedelta(hours=25)).how == "expired"


def test_a_message_that_nobody_takes_is_given_up_at_once() -> None:
    assert after(NotDelivered("too large", "refused")) == Ending("refused", "too large")


def test_one_that_is_refused_does_not_take_the_others_along() -> None:
    many = Sending("hook", "cpu", "1", 1, (notification(), notification(worker_id="w2")))
    assert decide(NotDelivered("too large", "refused"), many, FRESH).how == "split"


def test_a_wrong_address_leaves_the_channel_alone_and_waits_an_hour_for_a_person() -> None:
    ending = after(NotDelivered("404", "misconfigured"))
    assert (ending.how, ending.opens, ending.hold_s) == ("again", True, MISCONFIGURED_HOLD_S)
    assert after(NotDelivered("404", "misconfigured"), HOURS).how == "expired"


@pytest.mark.parametrize(("asked_s", "held_s"), [(30.0, 30.0), (1e9, LONGEST_HOLD_S), (0.0, 0.0), (None, 0.0)])
def test_what_the_receiver_asks_for_is_kept_within_reason(asked_s: float | None, held_s: float) -> None:
    ending = after(NotDelivered("slow down", retry_after_s=asked_s))
    assert ending.hold_s == held_s
    assert ending.delay_s >= held_s


def test_patience_can_be_shorter_than_the_hour_for_a_person() -> None:
    failure = NotDelivered("404", "misconfigured")
    assert decide(failure, SENDING, timedelta(minutes=5), timedelta(minutes=1)).how == "expired"


def test_what_a_channel_did_not_foresee_is_told_without_its_text() -> None:
    assert "s3cret" not in as_failure(ValueError("https://u:s3cret@x")).why
    assert as_failure(ValueError("x")).why.startswith("ValueError")
    assert as_failure(TimeoutError()).why == "no answer within 10 s"
    assert as_failure(ConnectionRefusedError("nobody is there")).why == "nobody is there"
    known = NotDelivered("known")
    assert as_failure(known) is known


def test_answers_and_reasons_are_bounded() -> None:
    failure = NotDelivered("w" * 9_999, text="a" * 9_999)
    assert (len(failure.why), len(failure.answer.text)) == (LONGEST_ANSWER, LONGEST_ANSWER)
