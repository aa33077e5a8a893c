"""Histories read as pages from a server that does things wrong: exact, or an error that says so."""

from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wandb_ops.errors import (
    DataError,
    GraphQLError,
    IncompleteHistory,
    NotFoundError,
    ProtocolError,
    ResponseTooLarge,
    ServerError,
    UsageError,
)
from wandb_ops.history import events
from wandb_ops.history.pages import PageReader, steps_of
from wandb_ops.history.read import read_table, scan_rows
from wandb_ops.history.ref import RunRef, run_counts
from wandb_ops.history.windows import Window, WindowPlan
from wandb_ops.protocol.documents import history as documents
from wandb_ops.transport.session import Transport


def dense(rows: int) -> list[dict[str, Any]]:
    return [{"_step": step, "loss": 1 / (step + 1)} for step in range(rows)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.integers(0, 400), min_size=1, max_size=80).map(sorted),
    page_size=st.integers(1, 40),
    concurrency=st.sampled_from([1, 3]),
)
def test_any_steps_and_page_size_give_the_rows_that_were_logged(
    steps: list[int], page_size: int, concurrency: int, new_run: Callable[[], Any], transport: Transport
) -> None:
    run = new_run()
    rows = [{"_step": step, "n": n} for n, step in enumerate(steps)]
    run.log(*rows)
    assert list(scan_rows(transport, run.ref, page_size=page_size)) == rows
    made = read_table(transport, run.ref, page_size=page_size, concurrency=concurrency)
    assert list(made.iter_rows()) == rows
    assert (made.rows, made.expected_rows, made.first_step, made.last_step) == (
        len(rows),
        len(rows),
        steps[0],
        steps[-1],
    )


def test_a_scan_asks_for_no_page_before_its_rows_are_wanted(run: Any, transport: Transport) -> None:
    run.log(*dense(3000))
    scan = scan_rows(transport, run.ref, page_size=500)
    assert run.asked == []
    assert next(scan) == {"_step": 0, "loss": 1.0}
    assert run.pages == [(0, 500)]
    scan.close()


def test_three_rows_over_two_hundred_thousand_steps_cost_two_requests(run: Any, transport: Transport) -> None:
    rows = [{"_step": step} for step in (0, 61_010, 200_000)]
    run.log(*rows)
    assert list(scan_rows(transport, run.ref)) == rows
    assert [name for name, _ in run.asked] == ["RunHistorySources", "HistoryPage"]


def test_only_exact_operations_are_sent(run: Any, transport: Transport) -> None:
    run.log(*dense(2500))
    read_table(transport, run.ref)
    assert {name for name, _ in run.asked} == {"RunHistorySources", "HistoryPage"}
    assert all(v["pageSize"] > v["maxStep"] - v["minStep"] for name, v in run.asked if name == "HistoryPage")


def test_a_run_without_history_is_an_empty_table_and_no_page(run: Any, transport: Transport) -> None:
    assert list(scan_rows(transport, run.ref)) == []
    made = read_table(transport, run.ref)
    assert (made.rows, made.columns, made.expected_rows) == (0, ("_step",), 0)
    assert run.pages == []


def test_missing_rows_are_an_error_and_not_a_short_result(run: Any, transport: Transport) -> None:
    run.log(*dense(30))
    run.line_count = 33
    with pytest.raises(IncompleteHistory, match="30 rows came of 33") as caught:
        read_table(transport, run.ref)
    assert (caught.value.expected, caught.value.received) == (33, 30)
    assert caught.value.retryable
    scan = scan_rows(transport, run.ref)
    with pytest.raises(IncompleteHistory):
        list(scan)


def test_more_rows_than_the_server_says_exist_are_an_error(run: Any, transport: Transport) -> None:
    run.log(*dense(30))
    run.line_count = 29
    with pytest.raises(IncompleteHistory, match="30 rows came, not 29"):
        read_table(transport, run.ref)


def test_a_last_step_that_is_too_low_hides_no_row(run: Any, transport: Transport) -> None:
    run.log(*dense(3000))
    run.last_step = 1200
    assert [row["_step"] for row in scan_rows(transport, run.ref)] == list(range(3000))
    assert read_table(transport, run.ref).rows == 3000


def test_without_a_last_step_all_rows_are_found(run: Any, transport: Transport) -> None:
    rows = [{"_step": step} for step in (3, 5_000, 9_000_000)]
    run.log(*rows)
    run.last_step = -1
    assert list(scan_rows(transport, run.ref, page_size=2)) == rows


def test_rows_that_no_window_shows_are_still_found(run: Any, transport: Transport) -> None:
    run.log({"_step": 0, "a": 1}, {"a": 2}, {"_step": 1, "a": 3})
    got = list(scan_rows(transport, run.ref))
    assert sorted(row["a"] for row in got) == [1, 2, 3]
    assert {"a": 2} in got
    made = read_table(transport, run.ref)
    assert made.rows == 3
    assert made.to_arrow()["_step"].null_count == 1


def test_rows_logged_while_a_run_is_read_are_no_error(run: Any, transport: Transport) -> None:
    run.state = "running"
    run.log(*dense(2000))

    def grow(name: str, variables: dict[str, Any]) -> None:
        if name == "HistoryPage" and len(run.texts) < 2010:
            run.log({"_step": len(run.texts)}, {"_step": 1999, "late": True})

    run.on_request = grow
    made = read_table(transport, run.ref)
    assert 2000 <= made.rows <= 2010
    assert [row["_step"] for row in made.iter_rows()] == sorted([*range(2000), *[1999] * (made.rows - 2000)])


def test_a_run_that_is_rewound_while_it_is_read_is_an_error(run: Any, transport: Transport) -> None:
    run.log(*dense(2000))

    def rewind(name: str, variables: dict[str, Any]) -> None:
        if name == "HistoryPage" and variables["minStep"] >= 1000:
            del run.texts[500:], run.steps[500:]

    run.on_request = rewind
    with pytest.raises(IncompleteHistory, match="shrank"):
        list(scan_rows(transport, run.ref))


def test_a_server_that_counts_the_last_step_in_returns_no_row_twice(run: Any, transport: Transport) -> None:
    run.log(*dense(2500))

    def inclusive(name: str, variables: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if name != "HistoryPage":
            return None
        answer = run.answer(name, {**variables, "maxStep": variables["maxStep"] + 1, "pageSize": 10_000})
        return 200, {"data": {"project": {"run": answer}}}

    run.on_request = inclusive
    assert list(scan_rows(transport, run.ref, page_size=800)) == dense(2500)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_pages_are_halved_when_the_gateway_times_out_on_their_size(
    concurrency: int, run: Any, transport: Transport
) -> None:
    run.log(*dense(2000))

    def slow(name: str, variables: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        wide = name == "HistoryPage" and variables["maxStep"] - variables["minStep"] > 300
        return (504, {}) if wide else None

    run.on_request = slow
    made = read_table(transport, run.ref, concurrency=concurrency)
    assert list(made.iter_rows()) == dense(2000)


def test_a_server_that_is_down_is_not_asked_for_ever(run: Any, transport: Transport) -> None:
    run.log(*dense(2000))
    run.on_request = lambda name, variables: (502, {}) if name == "HistoryPage" else None
    with pytest.raises(ServerError):
        read_table(transport, run.ref)
    assert len(run.pages) < 80


def test_a_page_with_errors_is_no_page(run: Any, transport: Transport) -> None:
    run.log(*dense(10))

    def half(name: str, variables: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if name != "HistoryPage":
            return None
        return 200, {
            "data": {"project": {"run": run.answer(name, variables)}},
            "errors": [{"message": "half"}],
        }

    run.on_request = half
    with pytest.raises(GraphQLError) as caught:
        read_table(transport, run.ref)
    assert caught.value.data is not None


@pytest.mark.parametrize("history", [{"a": 1}, [1], "text"])
def test_a_history_that_is_no_list_of_texts_is_a_protocol_error(
    history: Any, run: Any, transport: Transport
) -> None:
    run.log(*dense(10))
    run.on_request = lambda name, variables: (
        (200, {"data": {"project": {"run": {"history": history}}}}) if name == "HistoryPage" else None
    )
    with pytest.raises(ProtocolError):
        read_table(transport, run.ref)


def test_a_row_that_cannot_be_read_names_run_and_place(run: Any, transport: Transport) -> None:
    run.log(*dense(3))
    run.texts[1] = '{"_step": 1, "loss": oops}'
    with pytest.raises(DataError, match="row 1 of the page") as caught:
        read_table(transport, run.ref)
    assert run.run_id in str(caught.value)
    assert "oops" not in str(caught.value)


def test_a_run_that_does_not_exist_is_not_found(transport: Transport) -> None:
    missing = RunRef("ent", "proj", "no-such-run")
    for read in (run_counts, read_table, lambda *args: next(scan_rows(*args))):
        with pytest.raises(NotFoundError, match="no-such-run"):
            read(transport, missing)


def test_names_from_outside_travel_as_variables_only(
    new_run: Callable[[], Any], transport: Transport
) -> None:
    nasty = 'x"){id}} # \n'
    with pytest.raises(NotFoundError):
        run_counts(transport, RunRef("ent", "proj", nasty))


def test_keys_choose_rows_and_columns_and_completeness_is_still_proven(
    run: Any, transport: Transport
) -> None:
    rows = [
        {"_step": 0, "loss": 1.0, "acc": 0.1},
        {"_step": 1, "loss": 0.5},
        {"_step": 2, "acc": 0.2},
        {"_step": 3, "lr": 1e-3},
        {"_step": 4, "nest": {"a": {"b.c": 7}}},
    ]
    run.log(*rows)
    both = list(scan_rows(transport, run.ref, keys=["loss", "acc"]))
    assert both == [{"loss": 1.0, "acc": 0.1}]
    either = list(scan_rows(transport, run.ref, keys=["loss", "acc"], keys_mode="any"))
    assert either == [{"loss": 1.0, "acc": 0.1}, {"loss": 0.5}, {"acc": 0.2}]
    assert list(scan_rows(transport, run.ref, keys=["nest.a.b.c"])) == [{"nest.a.b.c": 7}]
    made = read_table(transport, run.ref, keys=["loss", "acc"], keys_mode="any")
    assert list(made.iter_rows()) == [{"_step": n, **row} for n, row in enumerate(either)]
    assert list(read_table(transport, run.ref, keys=["nope"]).iter_rows()) == []
    run.line_count = 6
    with pytest.raises(IncompleteHistory):
        read_table(transport, run.ref, keys=["loss"])


def test_a_range_of_steps_is_half_open_and_not_taken_for_the_whole(run: Any, transport: Transport) -> None:
    run.log(*dense(100))
    assert [row["_step"] for row in scan_rows(transport, run.ref, min_step=10, max_step=13)] == [10, 11, 12]
    made = read_table(transport, run.ref, min_step=90)
    assert (made.rows, made.expected_rows, made.first_step) == (10, None, 90)
    assert read_table(transport, run.ref, max_step=100).expected_rows == 100
    assert read_table(transport, run.ref, min_step=5, max_step=5).rows == 0


def test_arguments_that_make_no_sense_are_refused_before_anything_is_sent(
    run: Any, transport: Transport
) -> None:
    bad: list[dict[str, Any]] = [{"keys": "loss"}, {"keys_mode": "some"}, {"page_size": 0}]
    for arguments in bad:
        with pytest.raises(UsageError):
            scan_rows(transport, run.ref, **arguments)
        with pytest.raises(UsageError):
            read_table(transport, run.ref, **arguments)
    with pytest.raises(UsageError):
        read_table(transport, run.ref, stream="logs")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(UsageError):
        read_table(transport, run.ref, stream="events", min_step=3)
    assert run.asked == []


def test_values_that_json_readers_lose_survive_the_whole_way(run: Any, transport: Transport) -> None:
    texts = [
        '{"_step":0,"x":NaN,"big":10000000000000000000000,"exact":9007199254740993,"neg":-0.0,"s":"NaN"}',
        '{"_step":1,"x":-Infinity,"u":"\\ud800","b":true,"i":1,"e":""}',
    ]
    run.log(*texts)
    for rows in (list(scan_rows(transport, run.ref)), list(read_table(transport, run.ref).iter_rows())):
        assert math.isnan(rows[0]["x"])
        assert rows[0]["big"] == 10**22
        assert rows[0]["exact"] == 2**53 + 1
        assert math.copysign(1, rows[0]["neg"]) == -1
        assert rows[0]["s"] == "NaN"
        assert rows[1] == {"_step": 1, "x": -math.inf, "u": "\ud800", "b": True, "i": 1, "e": ""}


def test_several_pages_are_in_flight_at_once_but_never_more_than_asked_for(
    run: Any, transport: Transport
) -> None:
    run.log(*dense(1000))
    lock, together, most = threading.Lock(), 0, 0
    everyone = threading.Barrier(3, timeout=5)

    def watch(name: str, variables: dict[str, Any]) -> None:
        nonlocal together, most
        if name == "HistoryPage" and variables["minStep"] < 300:
            with lock:
                together += 1
                most = max(most, together)
            everyone.wait()  # passes only when three requests are here together
            with lock:
                together -= 1

    run.on_request = watch
    assert read_table(transport, run.ref, page_size=100, concurrency=3).rows == 1000
    assert most == 3


def test_system_metrics_are_read_whole_or_not_at_all(run: Any, transport: Transport) -> None:
    run.events = [f'{{"_timestamp":{n}.5,"_runtime":{n},"system.cpu":{n}}}' for n in range(1500)]
    made = read_table(transport, run.ref, stream="events")
    assert made.columns == ("_timestamp", "_runtime", "system.cpu")
    assert [row["system.cpu"] for row in made.iter_rows()] == list(range(1500))
    assert made.expected_rows == 1500
    run.on_request = lambda name, variables: (
        (200, {"data": {"project": {"run": {"events": run.events[:700]}}}})
        if name == "RunFullHistory"
        else None
    )
    with pytest.raises(IncompleteHistory, match="700"):
        read_table(transport, run.ref, stream="events")


def test_a_scan_that_is_given_up_asks_for_few_pages_more(run: Any, transport: Transport) -> None:
    run.log(*dense(3000))
    scan = scan_rows(transport, run.ref, page_size=10)
    for _ in range(25):
        next(scan)
    scan.close()
    assert len(run.pages) <= 3 + 4


def test_the_server_is_told_only_what_names_the_run(run: Any, transport: Transport) -> None:
    run.log(*dense(3))
    list(scan_rows(transport, run.ref))
    names = {"entity": "ent", "project": "proj", "run": run.run_id}
    assert all(names.items() <= variables.items() for _, variables in run.asked)


def test_system_metrics_too_large_for_an_answer_are_an_error_that_says_why(
    run: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.events = [json.dumps({"_timestamp": n, "gpu": "x" * 50}) for n in range(100)]
    monkeypatch.setattr(events.documents, "FULL_EVENTS", replace(documents.FULL_EVENTS, max_bytes=1000))
    with pytest.raises(ResponseTooLarge, match="100 rows of system metrics") as caught:
        read_table(transport, run.ref, stream="events")
    assert run.run_id in str(caught.value)
    monkeypatch.undo()
    assert read_table(transport, run.ref, stream="events").rows == 100


def test_no_page_is_kept_while_the_next_one_is_fetched() -> None:
    taken: list[list[dict[str, Any]]] = []
    holders: list[int] = []

    def fetch(window: Window) -> list[str]:
        holders.extend(map(sys.getrefcount, taken))
        taken.clear()
        return [f'{{"_step":{step}}}' for step in range(window.low, window.high)]

    reader = PageReader(fetch, WindowPlan(0, 50, page_size=10), where="e/p/r")
    pages = reader.pages()
    for _ in range(5):
        taken.append(next(pages))
    assert next(pages, None) is None
    alone = [[{"_step": 0}]]
    assert holders == list(map(sys.getrefcount, alone)) * 4


def test_steps_are_a_range_when_they_go_on_evenly_and_none_when_one_is_no_integer() -> None:
    assert steps_of([{"_step": 3}, {"_step": 5}, {"_step": 7}]) == range(3, 9, 2)
    assert list(steps_of([{"_step": 3}, {"_step": 5}, {"_step": 6}])) == [3, 5, 6]
    for odd in (True, 1.0, None, "1"):
        assert not steps_of([{"_step": 0}, {"_step": odd}])
    assert not steps_of([{"_step": 0}, {"loss": 1.0}])
