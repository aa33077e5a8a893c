"""The one loop of everything that waits: when it looks, what it forgives, how it ends."""

from __future__ import annotations

import pytest

from wandb_ops.errors import (
    AuthenticationError,
    CommError,
    NotFoundError,
    RateLimited,
    ServerError,
    TransportError,
    UsageError,
    WaitTimeout,
)
from wandb_ops.polling import LONGEST_PAUSE, MAX_FAILURES, NotYet, wait_for

GOING_ON = NotYet("running")


class Story:
    """Looks that go as told; a clock that only waiting moves."""

    def __init__(self, *looks, then=GOING_ON):
        self.looks, self.then = list(looks), then
        self.now = 100.0
        self.seen = []

    def look(self):
        self.seen.append(self.now - 100.0)
        what = self.looks.pop(0) if self.looks else self.then
        if isinstance(what, BaseException):
            raise what
        return what

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def wait(self, timeout=None, poll_interval=10.0):
        return wait_for(
            self.look,
            what="The run",
            where="e/p/r",
            timeout=timeout,
            poll_interval=poll_interval,
            sleep=self.sleep,
            clock=lambda: self.now,
        )


def test_what_is_there_already_costs_one_look_and_no_wait():
    story = Story("finished")
    assert story.wait() == "finished"
    assert story.seen == [0]


def test_it_looks_at_once_then_at_every_interval():
    story = Story(*[NotYet("running")] * 3, "finished")
    assert story.wait(timeout=100) == "finished"
    assert story.seen == [0, 10, 20, 30]


def test_a_thing_may_come_that_is_no_truth_in_python():
    """0 and an empty list are results like others."""
    assert Story(0).wait() == 0
    assert Story(NotYet("x"), []).wait() == []


def test_the_last_look_is_when_the_time_is_over():
    story = Story()
    with pytest.raises(WaitTimeout, match=r"The run is still running after 25 s.*e/p/r") as caught:
        story.wait(timeout=25)
    assert story.seen == [0, 10, 20, 25]
    assert caught.value.retryable


def test_what_comes_at_the_last_look_counts():
    story = Story(NotYet("running"), "finished")
    assert story.wait(timeout=7) == "finished"
    assert story.seen == [0, 7]


def test_no_time_at_all_is_one_look():
    story = Story()
    with pytest.raises(WaitTimeout):
        story.wait(timeout=0)
    assert story.seen == [0]


def test_an_outage_is_waited_out_ever_more_patiently():
    outage = [
        ServerError("502", status=502),
        TransportError("refused"),
        ServerError("503", status=502),
        TransportError("reset"),
    ]
    story = Story(NotYet("running"), *outage, NotYet("running"), "finished")
    assert story.wait() == "finished"
    assert story.seen == [0, 10, 20, 40, 80, 160, 170]


def test_pauses_after_failures_are_bounded():
    outage = [ServerError("502", status=502)] * MAX_FAILURES
    story = Story(*outage, "finished")
    story.wait(poll_interval=100.0)
    pauses = [after - before for before, after in zip(story.seen, story.seen[1:], strict=False)]
    assert pauses == [100, 200, 300, 300, 300]
    patient = Story(*outage, "finished")
    patient.wait(poll_interval=2 * LONGEST_PAUSE)
    assert patient.seen[1:3] == [2 * LONGEST_PAUSE, 4 * LONGEST_PAUSE]


def test_an_outage_without_end_is_raised_as_it_is():
    story = Story(then=ServerError("502 from the proxy", status=502))
    with pytest.raises(ServerError, match="502 from the proxy"):
        story.wait()
    assert len(story.seen) == MAX_FAILURES + 1


def test_failures_count_in_a_row_only():
    almost = [ServerError("502", status=502)] * MAX_FAILURES
    story = Story(*almost, NotYet("running"), *almost, NotYet("running"), *almost, "finished")
    assert story.wait() == "finished"


def test_a_failure_of_the_last_look_is_not_told_as_a_timeout():
    """Nobody knows then whether the thing has come."""
    story = Story(NotYet("running"), then=TransportError("refused"))
    with pytest.raises(TransportError, match="refused"):
        story.wait(timeout=25)
    assert story.seen == [0, 10, 20, 25]


def test_a_rate_limit_is_waited_out_and_is_no_failure():
    asked = [RateLimited("slow down", status=429, retry_after=45.0)] * (MAX_FAILURES + 3)
    story = Story(*asked, "finished")
    assert story.wait() == "finished"
    assert story.seen == [45 * n for n in range(MAX_FAILURES + 4)]


def test_a_rate_limit_makes_no_wait_longer_than_it_may_be():
    story = Story(RateLimited("slow down", status=429, retry_after=3600.0), "finished")
    assert story.wait(timeout=60) == "finished"
    assert story.seen == [0, 60]


def test_a_rate_limit_that_names_no_time_is_a_failure_like_others():
    story = Story(then=RateLimited("slow down", status=429, retry_after=None))
    with pytest.raises(RateLimited):
        story.wait()
    assert len(story.seen) == MAX_FAILURES + 1


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("gone"),
        AuthenticationError("401", status=401),
        CommError("no"),
        WaitTimeout("of something else"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_will_not_pass_ends_the_wait_at_once(error):
    story = Story(NotYet("running"), error)
    with pytest.raises(type(error)):
        story.wait()
    assert story.seen == [0, 10]


def test_an_interrupt_goes_through_from_a_look_and_from_a_pause():
    story = Story(NotYet("running"), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        story.wait()
    assert story.seen == [0, 10]

    def interrupted(_seconds):
        raise KeyboardInterrupt

    story = Story()
    story.sleep = interrupted
    with pytest.raises(KeyboardInterrupt):
        story.wait()
    assert story.seen == [0]


@pytest.mark.parametrize(
    ("timeout", "poll_interval"),
    [(-1, 1), (float("nan"), 1), (1, 0), (1, -1), (1, float("nan")), (None, float("inf"))],
)
def test_times_that_make_no_sense_are_refused_before_the_first_look(timeout, poll_interval):
    story = Story()
    with pytest.raises(UsageError, match="poll_interval"):
        story.wait(timeout=timeout, poll_interval=poll_interval)
    assert story.seen == []
