"""N1-N5, N18, N24-N27: what the network does, and what a call makes of it."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from faults_plugin import Answer, FakeTime, FaultServer, json_answer

from wandb_ops.errors import AmbiguousOutcome, DeadlineExceeded, ServerError, TransportError
from wandb_ops.transport import Kind, RetryPolicy, Transport

Make = Callable[..., Transport]
OK = json_answer({"data": {"ok": True}})


def send(transport: Transport, kind: Kind = Kind.QUERY, **more: Any) -> Any:
    body = transport.post_json("/graphql", b"{}", kind=kind, operation="Probe", where="e/p/r", **more)
    return json.loads(body)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("kind", list(Kind))
def test_n1_a_refused_connection_is_retried_and_the_error_names_the_host(
    kind: Kind, make_transport: Make, fake_time: FakeTime
) -> None:
    """N1: nothing was sent, so even a mutation is tried again; then TransportError."""
    port = free_port()
    with pytest.raises(TransportError, match=f"127.0.0.1:{port} cannot be reached.*refused") as caught:
        send(make_transport(f"http://127.0.0.1:{port}"), kind)
    assert len(fake_time.sleeps) == 5
    assert "after 6 attempts" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_n1_an_unknown_host_is_named(make_transport: Make) -> None:
    """N1: DNS failure, with the name and without the path."""
    with pytest.raises(TransportError, match=r"nowhere.invalid cannot be reached: unknown host"):
        send(make_transport("https://nowhere.invalid", policy=RetryPolicy(attempts=2)))


def test_n2_a_reset_before_the_answer_to_a_query_is_retried(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N2: two requests, one result."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(reset=True))
    assert send(make_transport(fault_server)) == {"data": {"ok": True}}
    assert len(fault_server.requests) == 2
    assert len(fake_time.sleeps) == 1


@pytest.mark.parametrize("loss", [Answer(reset=True), Answer(close=True), Answer(cut_at=1)])
def test_n3_an_upsert_whose_answer_was_lost_is_sent_again_unchanged(
    loss: Answer, make_transport: Make, fault_server: FaultServer
) -> None:
    """N3: the server applied it; the second one finds the same state."""
    runs: dict[str, dict[str, str]] = {}

    def upsert(request: Any) -> Answer:
        runs.setdefault(request.json()["id"], {})["state"] = "running"
        return OK

    fault_server.handler = upsert
    fault_server.on(None, Answer(**{**loss.__dict__, "apply_first": True}))
    body = make_transport(fault_server).post_json(
        "/graphql", b'{"id": "r1"}', kind=Kind.UPSERT, operation="Upsert", where="w"
    )
    assert json.loads(body) == {"data": {"ok": True}}
    assert runs == {"r1": {"state": "running"}}
    assert [request.body for request in fault_server.requests] == [b'{"id": "r1"}'] * 2


@pytest.mark.parametrize(
    "fault",
    [
        Answer(reset=True),
        Answer(close=True),
        Answer(cut_at=1),
        Answer(body=b"{", length=None),
        Answer(status=500),
        Answer(status=502),
        Answer(status=503),
    ],
)
def test_n4_a_mutation_whose_answer_was_lost_is_never_sent_twice(
    fault: Answer, make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N4: one request, and an error that says that it may have been carried out."""
    fault_server.on(None, fault, nth=None)
    with pytest.raises(AmbiguousOutcome, match=r"Probe was sent, but .* may have been carried out") as caught:
        send(make_transport(fault_server), Kind.MUTATION)
    assert len(fault_server.requests) == 1
    assert fake_time.sleeps == []
    assert not caught.value.retryable


def test_n4_a_mutation_refused_with_429_is_sent_again(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N4: 429 says that it was not carried out."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=429))
    assert send(make_transport(fault_server), Kind.MUTATION) == {"data": {"ok": True}}


def test_n5_a_silent_server_times_out_by_the_read_timeout(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N5: read timeout, retried, then an error that says so."""
    fault_server.on(None, Answer(hang=True), nth=None)
    transport = make_transport(fault_server, read_timeout=0.03, policy=RetryPolicy(attempts=2))
    with pytest.raises(TransportError, match="gave no whole answer: timed out"):
        send(transport)
    assert len(fault_server.requests) == 2


@pytest.mark.parametrize("chunked", [False, True])
def test_n5_a_dripping_body_ends_with_the_total_deadline(
    chunked: bool, make_transport: Make, fault_server: FaultServer
) -> None:
    """N5: each byte comes in time, the whole never would; the clock is looked at for each."""
    fault_server.on(None, Answer(body=b" " * 5000, drip=0.001, chunked=chunked), nth=None)
    time = FakeTime(step=1.0)  # each look at the clock costs a second
    transport = make_transport(fault_server, clock=time.clock, sleep=time.sleep, timeout=30.0)
    with pytest.raises(DeadlineExceeded, match="the 30 s allowed for the call are over"):
        send(transport)
    assert len(fault_server.requests) == 1


def test_n5_dripping_headers_end_with_the_total_deadline(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N5: a header that never ends is no way around the deadline."""
    endless = Answer(headers=(), body=b"x" * 5000, drip=0.001)
    with FaultServer() as server:

        def drip(request: Any) -> Answer:
            return endless

        server.handler = drip
        server._answer = _drip_headers(server)  # type: ignore[method-assign]
        time = FakeTime(step=1.0)
        transport = make_transport(server, clock=time.clock, sleep=time.sleep, timeout=30.0)
        with pytest.raises(DeadlineExceeded):
            send(transport)


def _drip_headers(server: FaultServer) -> Callable[..., bool]:
    def answer(sock: socket.socket, *_: Any) -> bool:
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not server._stopped.wait(0.001):
            sock.sendall(b"x")
        return False

    return answer


def test_n5_a_download_that_moves_may_take_longer_than_the_deadline(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """Bytes that arrive extend the time: a large file over a slow line is no fault."""
    fault_server.on(None, Answer(body=b"x" * (16 << 20)), nth=None)
    time = FakeTime(step=0.5)
    transport = make_transport(fault_server, clock=time.clock, sleep=time.sleep, timeout=20.0)
    assert transport.download("/f", io.BytesIO(), where="f") == 16 << 20
    assert time.now > 1000.0 + 20.0


def test_n9_waiting_for_the_next_try_never_outlasts_the_deadline(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """The true status is kept when time runs out, not hidden behind a timeout."""
    fault_server.on(None, Answer(status=503, headers=(("Retry-After", "9"),)), nth=None)
    with pytest.raises(ServerError) as caught:
        send(make_transport(fault_server, timeout=20.0))
    assert caught.value.status == 503
    assert sum(fake_time.sleeps) < 20.0


@pytest.mark.parametrize(
    "spoiled",
    [
        Answer(body=OK.body, length=len(OK.body) + 10, close_after=True),
        Answer(body=OK.body, length=5),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"),
        Answer(raw=b"HTTP/1.1 200"),
        Answer(raw=b"no http at all\r\n\r\n"),
    ],
    ids=["too-long", "too-short", "broken-chunk", "cut-chunk", "early-eof", "cut-status", "garbage"],
)
def test_n18_broken_framing_is_retried_and_nothing_of_it_kept(
    spoiled: Answer, make_transport: Make, fault_server: FaultServer
) -> None:
    """N18: Content-Length too short and too long, broken chunks, early EOF."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, spoiled)
    assert send(make_transport(fault_server)) == {"data": {"ok": True}}
    assert len(fault_server.requests) == 2


def test_n18_a_cut_download_starts_over_in_an_empty_sink(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N18: partial bytes are discarded; what was in the sink before stays."""
    fault_server.handler = lambda _request: Answer(body=b"0123456789")
    fault_server.on(None, Answer(body=b"0123456789", cut_at=6))
    sink = io.BytesIO()
    sink.write(b"head:")
    assert make_transport(fault_server).download("/f", sink, where="f") == 10
    assert sink.getvalue() == b"head:0123456789"


def test_n24_a_keep_alive_connection_closed_by_the_server_is_replaced(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N24: between two pages, without a failure anyone notices."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(body=OK.body, close_after=True))
    transport = make_transport(fault_server)
    for _ in range(3):
        assert send(transport) == {"data": {"ok": True}}
    assert [request.connection for request in fault_server.requests] == [1, 2, 2]
    assert len(fault_server.requests) == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + OK.body,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(OK.body), OK.body),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
        % (len(OK.body), OK.body),
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: %d\r\n\r\n%b" % (len(OK.body), OK.body),
    ],
    ids=["http-1.0", "interim-answers", "continue", "duplicate-headers"],
)
def test_n25_unusual_but_valid_http_is_understood(
    raw: bytes, make_transport: Make, fault_server: FaultServer
) -> None:
    """N25: HTTP/1.0, 1xx noise, duplicate headers."""
    fault_server.on(None, Answer(raw=raw), nth=None)
    assert send(make_transport(fault_server)) == {"data": {"ok": True}}
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(150)) + b"\r\n{}",
    ],
    ids=["oversized", "too-many"],
)
def test_n25_oversized_headers_are_a_clean_error(
    raw: bytes, make_transport: Make, fault_server: FaultServer
) -> None:
    """N25: an error of our tree, after the usual tries."""
    fault_server.on(None, Answer(raw=raw), nth=None)
    with pytest.raises(TransportError, match="gave no whole answer"):
        send(make_transport(fault_server, policy=RetryPolicy(attempts=2)))


def test_n26_a_wall_clock_jump_changes_no_wait(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N26: NTP sets the clock back an hour between two tries; only the monotonic clock counts."""
    jumps = iter([5_000_000.0, 4_996_400.0, 9_000_000.0, 0.0, -5.0, 1.0])
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=503, headers=(("Retry-After", "2"),)), nth=range(1, 4))
    transport = make_transport(fault_server, wall=lambda: next(jumps), timeout=60.0)
    assert send(transport) == {"data": {"ok": True}}
    assert all(2.0 <= seconds <= 4.0 for seconds in fake_time.sleeps)
    assert len(fake_time.sleeps) == 3


def test_n27_a_spent_quota_fails_fast_and_spares_other_clients(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N27: an outage costs a bounded number of retries, per client."""
    fault_server.on("/down", Answer(status=503), nth=None)
    policy = RetryPolicy(quota=7)
    transport, other = (
        make_transport(fault_server, policy=policy),
        make_transport(fault_server, policy=policy),
    )

    def fail(which: Transport) -> int:
        before = len(fault_server.requests)
        with pytest.raises(ServerError):
            which.post_json("/down", b"{}", kind=Kind.QUERY, operation="Down", where="w")
        return len(fault_server.requests) - before

    assert [fail(transport) for _ in range(4)] == [6, 3, 1, 1]
    assert fail(other) == 6
    for _ in range(3):
        transport.post_json("/up", b"{}", kind=Kind.QUERY, operation="Up", where="w")
    assert fail(transport) == 4  # three successes earned three retries
