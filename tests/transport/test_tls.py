"""N23: certificates, authorities and proxies."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_plugin import Answer, FakeTime, FaultServer, json_answer, tls_context

from wandb_ops.errors import CertificateError, TransportError
from wandb_ops.transport import Kind, RetryPolicy, Transport

Make = Callable[..., Transport]
OK = json_answer({"data": {"ok": True}})


def send(transport: Transport) -> Any:
    body = transport.post_json("/graphql", b"{}", kind=Kind.QUERY, operation="Probe", where="w")
    return json.loads(body)


@pytest.fixture
def trusted(throwaway_ca: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    throwaway_ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))


def test_n23_an_unknown_authority_is_refused_without_retry(
    make_transport: Make, tls_server: FaultServer, fake_time: FakeTime
) -> None:
    """N23: nothing is sent; the hint names REQUESTS_CA_BUNDLE."""
    with pytest.raises(
        CertificateError, match=r"certificate that is not trusted.*REQUESTS_CA_BUNDLE"
    ) as caught:
        send(make_transport(tls_server))
    assert not caught.value.retryable
    assert fake_time.sleeps == []
    assert tls_server.requests == []


def test_n23_the_bundle_of_the_environment_is_honoured(
    make_transport: Make, tls_server: FaultServer, trusted: None
) -> None:
    """N23: a private authority, as companies have."""
    tls_server.handler = lambda _request: OK
    assert send(make_transport(tls_server)) == {"data": {"ok": True}}


@pytest.mark.parametrize("flaw", ["wrong-host", "expired", "self-signed"])
def test_n23_a_bad_certificate_is_refused(
    flaw: str, make_transport: Make, throwaway_ca: Any, trusted: None, fake_time: FakeTime
) -> None:
    """N23: another host's, an expired one, one that signed itself."""
    import trustme

    if flaw == "wrong-host":
        certificate = throwaway_ca.issue_cert("other.test")
    elif flaw == "expired":
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        certificate = throwaway_ca.issue_cert("localhost", not_before=past, not_after=past.replace(year=2021))
    else:
        certificate = trustme.CA().issue_cert("localhost")
    with FaultServer(tls=tls_context(certificate)) as server:
        with pytest.raises(CertificateError):
            send(make_transport(server))
        assert server.requests == []
    assert fake_time.sleeps == []


@pytest.mark.parametrize("fault", [Answer(reset=True), Answer(close=True), Answer(body=OK.body, cut_at=4)])
def test_n23_tls_that_dies_midway_is_a_lost_answer(
    fault: Answer, make_transport: Make, tls_server: FaultServer, trusted: None
) -> None:
    """N23: retried as such."""
    tls_server.handler = lambda _request: OK
    tls_server.on(None, fault)
    assert send(make_transport(tls_server)) == {"data": {"ok": True}}


def test_n23_a_handshake_that_fails_is_tried_again_and_reported(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N23: plain HTTP behind an https address: nothing was sent, in the system's words."""
    url = fault_server.url.replace("http:", "https:")
    with pytest.raises(TransportError, match="cannot be reached") as caught:
        send(make_transport(url, policy=RetryPolicy(attempts=2)))
    assert not isinstance(caught.value, CertificateError)


def test_n23_unverified_tls_is_explicit_and_warned_about_once(
    make_transport: Make,
    tls_server: FaultServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """N23: and stays off with a CA bundle in the environment."""
    (tmp_path / "ca.pem").write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    tls_server.handler = lambda _request: OK
    transport = make_transport(tls_server, verify_tls=False)
    for _ in range(3):
        with pytest.warns(Warning, match="Unverified HTTPS"):
            send(transport)
    warned = [r for r in caplog.records if r.name == "wandb_ops.transport" and r.levelno == logging.WARNING]
    assert len(warned) == 1
    assert len(tls_server.requests) == 3
    assert "not checked" in warned[0].getMessage()


def test_n23_the_proxy_of_the_environment_is_used(
    make_transport: Make, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N23: an http proxy for a plain server gets the whole URL."""
    fault_server.handler = lambda _request: OK
    monkeypatch.setenv("http_proxy", fault_server.url)
    transport = make_transport("http://wandb.test", allow_http=True)
    assert send(transport) == {"data": {"ok": True}}
    assert fault_server.requests[0].target == "http://wandb.test/graphql"


def test_n23_the_environment_is_asked_once_for_each_origin(
    make_transport: Make, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N23: what it said when an origin was first asked holds for the session; another origin asks again."""
    fault_server.handler = lambda _request: OK
    transport = make_transport("http://wandb.test", allow_http=True)
    monkeypatch.setenv("http_proxy", fault_server.url)
    assert send(transport) == {"data": {"ok": True}}
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "*")
    assert send(transport) == {"data": {"ok": True}}
    assert [request.target for request in fault_server.requests] == ["http://wandb.test/graphql"] * 2
    fresh = make_transport("http://wandb.test", allow_http=True, policy=RetryPolicy(attempts=1))
    with pytest.raises(TransportError, match="unknown host"):
        send(fresh)


def test_n23_a_proxy_that_refuses_the_tunnel_is_named_as_the_cause(
    make_transport: Make, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N23: https goes through CONNECT; the key does not go to the proxy."""
    fault_server.on(None, Answer(status=403), nth=None)
    monkeypatch.setenv("https_proxy", fault_server.url)
    with pytest.raises(TransportError, match="cannot be reached through the proxy"):
        send(make_transport("https://wandb.test", policy=RetryPolicy(attempts=2)))
    assert [request.method for request in fault_server.requests] == ["CONNECT", "CONNECT"]
    assert all("authorization" not in request.headers for request in fault_server.requests)


def test_n23_loopback_is_never_asked_of_a_proxy(
    make_transport: Make,
    fault_server: FaultServer,
    foreign_server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """N23: companies set proxies for everything; the embedded server is on this machine."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, foreign_server.url)
    fault_server.handler = lambda _request: OK
    assert send(make_transport(fault_server)) == {"data": {"ok": True}}
    assert foreign_server.requests == []
