"""N6-N15: every HTTP status, what it becomes, and what is waited for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from faults_plugin import Answer, FakeTime, FaultServer, json_answer

from wandb_ops import errors
from wandb_ops.transport import Kind, RetryPolicy, Transport

Make = Callable[..., Transport]
OK = json_answer({"data": {"ok": True}})
NOW = 1_800_000_000.0


def send(transport: Transport, kind: Kind = Kind.QUERY, operation: str = "Probe") -> Any:
    body = transport.post_json("/graphql", b"{}", kind=kind, operation=operation, where="e/p/r")
    return json.loads(body)


@pytest.mark.parametrize(
    ("header", "at_least", "at_most"),
    [
        ("3", 3.0, 3.0),
        ("2.5", 2.5, 2.5),
        (formatdate(NOW + 40, usegmt=True), 40.0, 40.0),
        (formatdate(NOW - 40, usegmt=True), 0.0, 0.5),
        ("0", 0.0, 0.5),
        ("-7", 0.0, 0.5),
        ("inf", 0.0, 0.5),
        ("nan", 0.0, 0.5),
        ("soon", 0.0, 0.5),
        ("", 0.0, 0.5),
        ("Wed, 99 Foo 20", 0.0, 0.5),
        ("300", 300.0, 300.0),
    ],
)
def test_n6_retry_after_is_obeyed_in_all_its_forms(
    header: str,
    at_least: float,
    at_most: float,
    make_transport: Make,
    fault_server: FaultServer,
    fake_time: FakeTime,
) -> None:
    """N6: seconds, dates, the past, and nonsense; never a negative or endless sleep."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=429, headers=(("Retry-After", header),)))
    transport = make_transport(fault_server, wall=lambda: NOW, timeout=1000.0)
    assert send(transport) == {"data": {"ok": True}}
    assert at_least <= sum(fake_time.sleeps) <= at_most + 1e-6
    assert len(fault_server.requests) == 2


def test_n6_of_two_retry_after_headers_the_longer_counts(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N6: two headers."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=429, headers=(("Retry-After", "2"), ("Retry-After", "6"))))
    send(make_transport(fault_server))
    assert sum(fake_time.sleeps) == pytest.approx(6.0)


def test_n6_a_date_is_read_against_the_servers_clock(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N6: our clock is a day off; the difference of the server's own two dates counts."""
    fault_server.handler = lambda _request: OK
    headers = (("Date", formatdate(NOW, usegmt=True)), ("Retry-After", formatdate(NOW + 12, usegmt=True)))
    fault_server.on(None, Answer(status=429, headers=headers))
    send(make_transport(fault_server, wall=lambda: NOW - 86_400))
    assert sum(fake_time.sleeps) == pytest.approx(12.0)


@pytest.mark.parametrize("header", ["301", "1000000000", formatdate(NOW + 9_000, usegmt=True)])
def test_n6_a_wait_beyond_the_bound_is_handed_to_the_caller(
    header: str, make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N6: 10^9 seconds; RateLimited at once, with the wait, so that a scheduler can come back later."""
    fault_server.on(None, Answer(status=429, headers=(("Retry-After", header),)), nth=None)
    with pytest.raises(errors.RateLimited) as caught:
        send(make_transport(fault_server, wall=lambda: NOW))
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 300
    assert fake_time.sleeps == []
    assert len(fault_server.requests) == 1


def test_n6_a_wait_told_to_one_client_holds_for_all_of_the_process(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N6, N8: the second client does not learn it the hard way."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=429, headers=(("Retry-After", "7"),)))
    with pytest.raises(errors.RateLimited):
        send(make_transport(fault_server, policy=RetryPolicy(attempts=1)))
    assert fake_time.sleeps == []
    send(make_transport(fault_server))
    assert sum(fake_time.sleeps) == pytest.approx(7.0)


def test_n7_a_429_that_is_not_graphql_is_rate_limited(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N7: without header, `{"error": "rate limit exceeded"}`; backoff with jitter, then RateLimited."""
    fault_server.on(None, json_answer({"error": "rate limit exceeded"}, status=429), nth=None)
    with pytest.raises(errors.RateLimited, match="rate limit exceeded") as caught:
        send(make_transport(fault_server))
    assert caught.value.retry_after is None
    assert caught.value.attempts == 6
    assert len(set(fake_time.sleeps)) == 5
    assert all(wait <= 0.5 * 2**n for n, wait in enumerate(fake_time.sleeps))


def test_n8_no_request_left_makes_the_next_one_wait(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N8: RateLimit-Remaining 0 and Reset 5 on a 200."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, OK.with_headers(RateLimit_Remaining="0", RateLimit_Reset="5"))
    transport = make_transport(fault_server)
    send(transport)
    assert fake_time.sleeps == []
    send(transport)
    assert sum(fake_time.sleeps) == pytest.approx(5.0)
    send(transport)
    assert sum(fake_time.sleeps) == pytest.approx(5.0)


def test_n8_eight_threads_and_two_clients_share_the_budget(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N8: none of them sends before the reset."""
    sent_at: list[float] = []

    def note(_request: Any) -> Answer:
        sent_at.append(fake_time.now)
        return OK

    fault_server.handler = note
    fault_server.on(None, OK.with_headers(RateLimit_Remaining="0", RateLimit_Reset="5"))
    transports = [make_transport(fault_server), make_transport(fault_server)]
    send(transports[0])
    threads = [threading.Thread(target=send, args=(transports[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(sent_at) == 8
    assert min(sent_at) >= 1005.0


@pytest.mark.parametrize(
    ("remaining", "reset"),
    [("0", "-5"), ("0", "inf"), ("0", "x"), ("0", "100000"), ("x", "5"), ("1", "5"), ("", "")],
)
def test_n8_unbelievable_rate_headers_are_ignored(
    remaining: str, reset: str, make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N8: bad values."""
    fault_server.handler = lambda _request: OK.with_headers(
        RateLimit_Remaining=remaining, RateLimit_Reset=reset
    )
    transport = make_transport(fault_server)
    send(transport)
    send(transport)
    assert fake_time.sleeps == []


def test_n8_a_wait_longer_than_the_call_is_refused_at_once(
    make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N8: nothing is sent, and the caller learns for how long."""
    fault_server.handler = lambda _request: OK.with_headers(RateLimit_Remaining="0", RateLimit_Reset="200")
    transport = make_transport(fault_server, timeout=60.0)
    send(transport)
    with pytest.raises(errors.RateLimited) as caught:
        send(transport)
    assert caught.value.retry_after == pytest.approx(200.0)
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 529])
def test_n9_a_passing_server_error_is_retried(
    status: int, make_transport: Make, fault_server: FaultServer
) -> None:
    """N9: singly."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=status))
    assert send(make_transport(fault_server)) == {"data": {"ok": True}}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_n9_a_lasting_server_error_keeps_status_and_attempts(
    status: int, make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """N9: for ever; six tries, full jitter under a doubling ceiling."""
    fault_server.on(None, json_answer({"error": {"message": "database is gone"}}, status=status), nth=None)
    with pytest.raises(
        errors.ServerError, match=f"HTTP {status}: database is gone.*after 6 attempts"
    ) as caught:
        send(make_transport(fault_server))
    assert (caught.value.status, caught.value.attempts) == (status, 6)
    assert caught.value.retryable
    assert len(fault_server.requests) == 6


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.StatusError),
        (403, errors.PermissionDenied),
        (404, errors.NotFoundError),
        (409, errors.Conflict),
        (410, errors.StatusError),
        (413, errors.StatusError),
        (422, errors.StatusError),
        (501, errors.StatusError),
    ],
)
def test_n11_n13_n14_n15_a_refusal_is_final_and_shows_the_servers_words(
    status: int, kind: type[errors.Error], make_transport: Make, fault_server: FaultServer, sentinel_key: str
) -> None:
    """N11, N13, N14, N15: no retry; the message cut to 500 characters and without the key."""
    words = f"no way\x1b[31m {sentinel_key} https://x.test/f?X-Sig=abc " + "y" * 2000
    fault_server.on(None, json_answer({"errors": [{"message": words}]}, status=status), nth=None)
    with pytest.raises(kind, match=r"no way\\x1b\[31m \[key\] https://x.test/f\?\.\.\. yyy") as caught:
        send(make_transport(fault_server))
    assert len(fault_server.requests) == 1
    assert len(caught.value.message) < 600
    assert not caught.value.retryable or status == 409


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "plain"}', "plain"),
        (b'{"error": {"message": "nested"}}', "nested"),
        (b'{"errors": ["one", {"message": "two"}]}', "one; two"),
        (b'{"message": "said"}', "said"),
        (b"just text", "just text"),
        (b"<html><body>nginx</body></html>", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_n11_error_bodies_of_all_shapes_are_read(
    body: bytes, words: str | None, make_transport: Make, fault_server: FaultServer
) -> None:
    """N11: `error` as text or object, `errors[]`, text; a web page is not quoted."""
    fault_server.on(None, Answer(status=400, body=body), nth=None)
    with pytest.raises(errors.StatusError) as caught:
        send(make_transport(fault_server))
    assert caught.value.message.endswith(f"HTTP 400: {words}" if words else "HTTP 400")


def test_n12_a_refused_key_names_its_source_and_the_host(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N12: no retry."""
    fault_server.on(None, Answer(status=401), nth=None)
    transport = make_transport(fault_server, key_source="netrc /home/me/.netrc")
    with pytest.raises(
        errors.AuthenticationError, match="does not accept the API key from netrc /home/me/"
    ) as caught:
        send(transport)
    assert f"127.0.0.1:{fault_server.port}" in str(caught.value)
    assert len(fault_server.requests) == 1


def test_n12_a_key_that_expires_midway_stops_the_second_page(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N12: what was read before is the caller's; the failing page is tried once."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=401), nth=range(2, 99))
    transport = make_transport(fault_server)
    assert send(transport) == {"data": {"ok": True}}
    with pytest.raises(errors.AuthenticationError):
        send(transport)
    assert len(fault_server.requests) == 2


@pytest.mark.parametrize("status", [403, 404])
def test_n13_a_missing_project_names_the_three_usual_causes(
    status: int, make_transport: Make, fault_server: FaultServer
) -> None:
    """N13: name, entity, account."""
    fault_server.on(None, Answer(status=status), nth=None)
    with pytest.raises(errors.Error, match="misspelt name, the wrong entity, or a key of an account"):
        send(make_transport(fault_server))


def test_n14_a_conflict_is_retried_for_upserts_only(make_transport: Make, fault_server: FaultServer) -> None:
    """N14: 409 on upsertBucket is a race with another writer of the same run."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(status=409))
    assert send(make_transport(fault_server), Kind.UPSERT) == {"data": {"ok": True}}
    assert len(fault_server.requests) == 2


@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.MUTATION])
def test_n14_a_conflict_elsewhere_is_final(
    kind: Kind, make_transport: Make, fault_server: FaultServer
) -> None:
    """N14."""
    fault_server.on(None, Answer(status=409), nth=None)
    with pytest.raises(errors.Conflict):
        send(make_transport(fault_server), kind)
    assert len(fault_server.requests) == 1


def test_n10_an_error_tied_to_the_page_size_tells_its_status(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N10: what pagination needs to halve the page: which status it was, after how many tries."""
    fault_server.handler = lambda request: Answer(status=504) if request.json()["first"] > 50 else OK
    transport = make_transport(fault_server, policy=RetryPolicy(attempts=2))
    with pytest.raises(errors.ServerError) as caught:
        transport.post_json("/graphql", b'{"first": 100}', kind=Kind.QUERY, operation="Runs", where="w")
    assert caught.value.status == 504
    body = transport.post_json("/graphql", b'{"first": 50}', kind=Kind.QUERY, operation="Runs", where="w")
    assert json.loads(body) == {"data": {"ok": True}}
