"""Pools of workers: an error is waited out, an interrupt is not."""

from __future__ import annotations

import threading

import pytest
from dagster import DagsterExecutionInterruptedError

from wandb_ops.transport.workers import workers


class TaskTerminated(BaseException):
    """As Airflow's."""


@pytest.mark.parametrize(
    "interrupt", [KeyboardInterrupt, SystemExit, TaskTerminated, DagsterExecutionInterruptedError]
)
def test_an_interrupt_waits_for_no_worker_and_begins_no_more_work(interrupt: type[BaseException]) -> None:
    going, released, done = threading.Event(), threading.Event(), []

    def work() -> None:
        going.set()
        assert released.wait(20)
        done.append("first")

    def interrupted() -> None:
        with workers(1, "test") as pool:
            futures.append(pool.submit(work))
            futures.append(pool.submit(done.append, "second"))
            assert going.wait(20)
            raise interrupt

    futures: list = []
    with pytest.raises(interrupt):
        interrupted()
    assert done == []  # nobody waited: `released` is not set yet
    released.set()
    futures[0].result(20)
    assert futures[1].cancelled()
    assert done == ["first"]


def test_an_error_waits_for_what_is_going_on_and_begins_no_more_work() -> None:
    going, done = threading.Event(), []

    def work() -> None:
        going.set()
        threading.Event().wait(0.03)
        done.append("first")

    def fail() -> None:
        with workers(1, "test") as pool:
            futures.append(pool.submit(work))
            futures.append(pool.submit(done.append, "second"))
            assert going.wait(20)
            raise ValueError("bad")

    futures: list = []
    with pytest.raises(ValueError, match="bad"):
        fail()
    assert done == ["first"]
    assert futures[1].cancelled()


def test_a_block_that_ends_well_has_done_all_its_work() -> None:
    done: list[int] = []
    with workers(2, "test") as pool:
        for number in range(20):
            pool.submit(done.append, number)
    assert sorted(done) == list(range(20))
