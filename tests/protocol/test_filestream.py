"""N3, W61 and the file stream's form: lines by number, sent again after lost answers, never twice kept."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from faults_plugin import Answer, FaultServer, Recorded, json_answer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wandb_ops.errors import DataError, Error, ServerError, UsageError
from wandb_ops.protocol import filestream
from wandb_ops.protocol.filestream import EVENTS, HISTORY, OUTPUT, SUMMARY, FileStream
from wandb_ops.transport import RetryPolicy, Transport

Make = Callable[..., Transport]
PATH = "/files/ent/proj/rid1/file_stream"


class Store:
    """What a server keeps: files of lines, overwritten from an offset on, as W&B does."""

    def __init__(self) -> None:
        self.files: dict[str, dict[int, str]] = {}
        self.exit_code: int | None = None
        self.sizes: list[int] = []

    def __call__(self, request: Recorded) -> Answer:
        body = request.json()
        self.sizes.append(len(request.plain_body))
        for name, part in body.get("files", {}).items():
            lines = self.files.setdefault(name, {})
            for place, line in enumerate(part["content"]):
                lines[part["offset"] + place] = line
        if body.get("complete"):
            self.exit_code = body["exitcode"]
        return json_answer({"limits": {}, "exitcode": None})

    def lines(self, name: str) -> list[str]:
        kept = self.files.get(name, {})
        assert sorted(kept) == list(range(min(kept, default=0), min(kept, default=0) + len(kept))), "a gap"
        return [kept[place] for place in sorted(kept)]


@pytest.fixture
def store(fault_server: FaultServer) -> Store:
    kept = Store()
    fault_server.handler = kept
    return kept


def open_stream(transport: Transport, offsets: dict[str, int] | None = None, **more: Any) -> FileStream:
    return FileStream(transport, entity="ent", project="proj", run_id="rid1", offsets=offsets or {}, **more)


def test_a_chunk_has_the_form_that_the_sdk_sends(
    make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """Files with offset and content, summary at 0, complete and exit code; NaN stays a bare token."""
    stream = open_stream(make_transport(fault_server))
    stream.append(HISTORY, ['{"_step":0,"loss":1}', b'{"_step":1,"loss":NaN,"inf":Infinity}'])
    stream.append(OUTPUT, ["hello\n", "Grüße 🙂"])
    stream.set_summary('{"loss":NaN}')
    assert stream.history_offset == 2
    stream.finish(0)
    (request,) = fault_server.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert request.json() == {
        "files": {
            HISTORY: {
                "offset": 0,
                "content": ['{"_step":0,"loss":1}', '{"_step":1,"loss":NaN,"inf":Infinity}'],
            },
            OUTPUT: {"offset": 0, "content": ["hello\n", "Grüße 🙂"]},
            SUMMARY: {"offset": 0, "content": ['{"loss":NaN}']},
        },
        "complete": True,
        "exitcode": 0,
    }


def test_offsets_go_on_where_the_run_stands(
    make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """Resume; each file has its own count."""
    stream = open_stream(make_transport(fault_server), {HISTORY: 7, EVENTS: 3})
    stream.append(HISTORY, ['{"a":1}'])
    stream.flush()
    stream.append(HISTORY, ['{"a":2}'])
    stream.append(EVENTS, ['{"e":1}'])
    assert (stream.history_offset, stream.acknowledged(HISTORY)) == (9, 8)
    stream.flush()
    stream.flush()
    assert store.files == {HISTORY: {7: '{"a":1}', 8: '{"a":2}'}, EVENTS: {3: '{"e":1}'}}
    assert len(fault_server.requests) == 2


@pytest.mark.parametrize("code", [0, 1, 255])
def test_finish_is_idempotent_and_tells_the_exit_code(
    code: int, make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """Also with nothing to send, and twice."""
    stream = open_stream(make_transport(fault_server))
    stream.finish(code)
    stream.finish(code)
    assert [request.json() for request in fault_server.requests] == [{"complete": True, "exitcode": code}] * 2
    assert store.exit_code == code


def test_a_heartbeat_is_an_empty_object_and_a_stop_is_noticed(
    make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """The server may say that someone asked the run to stop."""
    stream = open_stream(make_transport(fault_server))
    stream.heartbeat()
    assert not stream.stopped
    fault_server.on(None, json_answer({"stopped": True}))
    stream.heartbeat()
    stream.heartbeat()
    assert stream.stopped
    assert [request.body for request in fault_server.requests] == [b"{}"] * 3


def test_gzip_is_sent_when_asked_for(make_transport: Make, fault_server: FaultServer, store: Store) -> None:
    """For servers with FILESTREAM_GZIP."""
    stream = open_stream(make_transport(fault_server), gzip=True)
    stream.append(HISTORY, [json.dumps({"a": n}) for n in range(1000)])
    stream.finish(0)
    (request,) = fault_server.requests
    assert request.headers["content-encoding"] == "gzip"
    assert len(request.body) < len(request.plain_body) / 3
    assert store.lines(HISTORY) == [json.dumps({"a": n}) for n in range(1000)]


@pytest.mark.parametrize(
    "loss", [Answer(reset=True), Answer(close=True), Answer(cut_at=1), Answer(status=502), Answer(body=b"")]
)
def test_w61_a_retry_after_a_lost_answer_duplicates_nothing(
    loss: Answer, make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """N3, W61: the server kept the chunk and its answer was lost; the same chunk comes at the same offset."""
    lines = [json.dumps({"_step": n}) for n in range(10)]
    fault_server.on(None, Answer(**{**loss.__dict__, "apply_first": True}), nth={1, 3})
    stream = open_stream(make_transport(fault_server))
    stream.append(HISTORY, lines[:5])
    stream.flush()
    stream.append(HISTORY, lines[5:])
    stream.finish(0)
    assert store.lines(HISTORY) == lines
    assert len(fault_server.requests) == 4
    assert fault_server.requests[0].body == fault_server.requests[1].body


def test_w61_lines_of_a_failed_flush_are_sent_again_by_the_next(
    make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """Acknowledged means written; everything else stays in the buffer, in place."""
    fault_server.on(None, Answer(status=503, apply_first=True), nth={1, 2})
    stream = open_stream(make_transport(fault_server, policy=RetryPolicy(attempts=2)))
    stream.append(HISTORY, ["{}", '{"a":1}'])
    stream.set_summary('{"a":1}')
    with pytest.raises(ServerError):
        stream.flush()
    assert (stream.history_offset, stream.acknowledged(HISTORY)) == (2, 0)
    stream.append(HISTORY, ['{"a":2}'])
    stream.flush()
    assert store.lines(HISTORY) == ["{}", '{"a":1}', '{"a":2}']
    assert store.lines(SUMMARY) == ['{"a":1}']
    assert stream.acknowledged(HISTORY) == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 6), max_size=12))
def test_w61_any_series_of_losses_leaves_every_line_once(
    seed: int, sizes: list[int], make_transport: Make
) -> None:
    """Property: whatever is lost, before or after it was kept, the file is what was appended."""
    rng = random.Random(seed)
    store, written = Store(), 0
    with FaultServer(handler=store) as server:
        faults = [
            Answer(reset=True),
            Answer(reset=True, apply_first=True),
            Answer(status=503, apply_first=True),
        ]
        for nth in range(1, 60):
            if rng.random() < 0.5:
                server.on(None, rng.choice(faults), nth=nth)
        stream = open_stream(make_transport(server, policy=RetryPolicy(attempts=3)))
        for size in sizes:
            stream.append(HISTORY, [f'{{"n":{written + n}}}' for n in range(size)])
            written += size
            try:
                stream.flush()
            except Error:
                continue
        for _ in range(60):
            try:
                stream.finish(0)
                break
            except Error:
                continue
    assert store.lines(HISTORY) == [f'{{"n":{n}}}' for n in range(written)]
    assert store.exit_code == 0


def test_large_batches_are_sent_in_chunks_of_at_most_ten_mebibytes(
    make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """In order, over files, with the last part of the stream marked complete."""
    line = json.dumps({"x": "y" * 100_000})
    stream = open_stream(make_transport(fault_server))
    stream.append(HISTORY, [line] * 250)
    stream.append(EVENTS, [line] * 30)
    stream.set_summary(line)
    stream.finish(0)
    assert max(store.sizes) <= filestream.MAX_CHUNK
    assert len(store.sizes) == 3
    assert store.lines(HISTORY) == [line] * 250
    assert store.lines(EVENTS) == [line] * 30
    assert [("complete" in request.json()) for request in fault_server.requests] == [False, False, True]


def test_a_line_beyond_the_limit_is_refused_before_anything_is_taken(
    make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """W&B drops such lines with a warning; we say which it is."""
    stream = open_stream(make_transport(fault_server))
    with pytest.raises(DataError, match=r"Line 1 for wandb-history\.jsonl has 10,383,361 bytes"):
        stream.append(HISTORY, ["{}", "x" * (filestream.MAX_LINE + 1)])
    assert stream.history_offset == 0
    stream.append(HISTORY, ['"' * filestream.MAX_LINE])  # twice as long when encoded, and still one line
    stream.finish(0)
    assert store.lines(HISTORY) == ['"' * filestream.MAX_LINE]


@pytest.mark.parametrize("line", ['{"a":\n1}', '{"a":1}\r', b"\xff\xfe"])
def test_a_line_that_is_no_line_is_refused(
    line: str | bytes, make_transport: Make, fault_server: FaultServer
) -> None:
    """A line break inside would shift every following offset."""
    with pytest.raises(DataError, match="Line 0 for wandb-history"):
        open_stream(make_transport(fault_server)).append(HISTORY, [line])


def test_h58_lone_surrogates_travel_as_escapes(
    make_transport: Make, fault_server: FaultServer, store: Store
) -> None:
    """H58: they cannot be written as UTF-8."""
    stream = open_stream(make_transport(fault_server))
    stream.append(OUTPUT, ["\ud800 and 🙂"])
    stream.flush()
    assert store.lines(OUTPUT) == ["\ud800 and 🙂"]


def test_names_are_quoted_in_the_path(make_transport: Make, fault_server: FaultServer, store: Store) -> None:
    """No name leads to another path."""
    stream = FileStream(
        make_transport(fault_server), entity="e/../x", project="p q?", run_id="r#1", offsets={}
    )
    stream.heartbeat()
    assert fault_server.requests[0].target == "/files/e%2F..%2Fx/p%20q%3F/r%231/file_stream"


def test_a_negative_offset_is_a_usage_error(make_transport: Make, fault_server: FaultServer) -> None:
    """Nothing is sent."""
    with pytest.raises(UsageError):
        open_stream(make_transport(fault_server), {HISTORY: -1})
