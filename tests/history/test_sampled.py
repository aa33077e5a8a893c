"""The one reading that samples, and what the server says a run holds."""

from __future__ import annotations

from typing import Any

import pytest

from wandb_ops.errors import ProtocolError, UsageError
from wandb_ops.history.ref import RunRef, run_counts
from wandb_ops.history.sampled import sampled
from wandb_ops.transport.session import Transport


def test_a_sample_is_one_request_for_so_many_rows(run: Any, transport: Transport) -> None:
    run.log(*({"_step": n, "loss": n} for n in range(1000)))
    rows = sampled(transport, run.ref, samples=50)
    assert len(rows) == 50
    assert all(row["_step"] == row["loss"] for row in rows)
    assert run.asked == [("RunFullHistory", {**run.ref.variables, "samples": 50})]


def test_system_metrics_come_under_both_of_w_and_bs_names(run: Any, transport: Transport) -> None:
    run.events = ['{"system.cpu":1}', '{"system.cpu":NaN}']
    for stream in ("system", "events"):
        rows = sampled(transport, run.ref, stream=stream)  # type: ignore[arg-type]  # a loop over literals
        assert rows[0] == {"system.cpu": 1}
        assert len(rows) == 2


@pytest.mark.parametrize(
    "answer", [[[{"_step": 1, "loss": 2.0}]], ['[{"_step":1,"loss":2.0}]'], [['{"_step":1,"loss":2.0}']]]
)
def test_keys_are_sent_as_a_spec_and_rows_come_parsed_or_as_text(
    answer: Any, run: Any, transport: Transport
) -> None:
    run.on_request = lambda name, variables: (200, {"data": {"project": {"run": {"sampledHistory": answer}}}})
    assert sampled(transport, run.ref, keys=["loss", "_step"], samples=9) == [{"_step": 1, "loss": 2.0}]
    assert run.asked[0][1]["specs"] == ['{"keys":["_step","loss"],"samples":9}']


def test_an_answer_of_another_shape_is_a_protocol_error(run: Any, transport: Transport) -> None:
    run.on_request = lambda name, variables: (
        200,
        {"data": {"project": {"run": {"sampledHistory": [{"a": 1}]}}}},
    )
    with pytest.raises(ProtocolError):
        sampled(transport, run.ref, keys=["loss"])


def test_arguments_that_make_no_sense_are_refused(run: Any, transport: Transport) -> None:
    bad: list[dict[str, Any]] = [
        {"samples": 0},
        {"keys": "loss"},
        {"stream": "logs"},
        {"stream": "system", "keys": ["a"]},
    ]
    for arguments in bad:
        with pytest.raises(UsageError):
            sampled(transport, run.ref, **arguments)
    assert run.asked == []


def test_counts_say_what_the_run_holds(run: Any, transport: Transport) -> None:
    counts = run_counts(transport, run.ref)
    assert (counts.history_lines, counts.last_step, counts.ended) == (0, -1, True)
    run.log({"_step": 41})
    run.state = "running"
    run.events = ["{}"]
    counts = run_counts(transport, run.ref, events=True)
    assert (counts.history_lines, counts.last_step, counts.ended, counts.events_lines) == (1, 41, False, 1)
    assert counts.heartbeat_at == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "keys", [None, "null", '{"lastStep": 7, "keys": {"a": {}}}', {"lastStep": 7, "keys": {"a": {}}}]
)
def test_history_keys_are_read_in_every_form_servers_send_them(
    keys: Any, run: Any, transport: Transport
) -> None:
    answer = {"state": "finished", "historyLineCount": 8, "historyKeys": keys}
    run.on_request = lambda name, variables: (200, {"data": {"project": {"run": answer}}})
    counts = run_counts(transport, run.ref)
    known = keys not in (None, "null")
    assert (counts.last_step, list(counts.keys)) == ((7, ["a"]) if known else (-1, []))


def test_a_server_that_does_not_count_rows_proves_nothing(run: Any, transport: Transport) -> None:
    answer = {"state": "finished", "historyLineCount": None, "historyKeys": {"lastStep": 7}}
    run.on_request = lambda name, variables: (200, {"data": {"project": {"run": answer}}})
    with pytest.raises(ProtocolError, match="how many rows"):
        run_counts(transport, run.ref)


def test_a_path_names_a_run_by_three_parts() -> None:
    assert RunRef.parse("/e/p/r/") == RunRef("e", "p", "r")
    assert RunRef("e", "p", "r").path == "e/p/r"
    for path in ("p/r", "e//r", "e/p/r/x", ""):
        with pytest.raises(UsageError):
            RunRef.parse(path)
