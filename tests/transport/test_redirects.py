"""N21, N22: no redirects on the API; for files over https, without the key, not into private networks."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_plugin import Answer, FaultServer

from wandb_ops.errors import ProtocolError
from wandb_ops.transport import Kind, Transport
from wandb_ops.transport.urls import check_file_url, origin_of

Make = Callable[..., Transport]


def to(location: str, status: int = 302) -> Answer:
    return Answer(status=status, headers=(("Location", location),))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.MUTATION])
def test_n21_an_api_call_is_never_redirected(
    status: int, kind: Kind, make_transport: Make, fault_server: FaultServer, foreign_server: FaultServer
) -> None:
    """N21: body and key are not sent on; the error names the target's origin only."""
    fault_server.on(None, to(f"{foreign_server.url}/login?token=abcdef", status), nth=None)
    with pytest.raises(ProtocolError, match=f"HTTP {status} and pointed to {foreign_server.url}") as caught:
        make_transport(fault_server).post_json("/graphql", b"{}", kind=kind, operation="Probe", where="w")
    assert "login" not in str(caught.value)
    assert "abcdef" not in str(caught.value)
    assert len(fault_server.requests) == 1
    assert foreign_server.requests == []


def test_n21_an_upload_is_never_redirected(
    make_transport: Make, fault_server: FaultServer, foreign_server: FaultServer
) -> None:
    """N21."""
    fault_server.on(None, to(foreign_server.url, 307), nth=None)
    with pytest.raises(ProtocolError):
        make_transport(fault_server).upload("/f", b"secret content", where="f")
    assert foreign_server.requests == []


def test_n22_a_file_on_another_host_is_fetched_without_the_key(
    make_transport: Make, fault_server: FaultServer, foreign_server: FaultServer, sentinel_key: str
) -> None:
    """N22: the API's own origin sees the key, the other one nothing, and netrc is not asked."""
    fault_server.on(None, to(f"{foreign_server.url}/bucket/f?sig=abc"), nth=None)
    foreign_server.handler = lambda _request: Answer(body=b"content", headers=(("Set-Cookie", "a=b"),))
    sink = io.BytesIO()
    transport = make_transport(fault_server)
    for _ in range(2):
        sink.seek(0)
        assert transport.download("/files/f", sink, where="f") == 7
    assert fault_server.requests[0].credentials == f"api:{sentinel_key}"
    for request in foreign_server.requests:
        assert request.query == {"sig": "abc"}
        assert not {"authorization", "cookie", "x-api-key"} & set(request.headers)


def test_n22_a_signed_url_of_another_host_gets_no_key(
    make_transport: Make, fault_server: FaultServer, foreign_server: FaultServer
) -> None:
    """N22: as GraphQL hands them out; up and down."""
    transport = make_transport(fault_server)
    transport.download(f"{foreign_server.url}/f?sig=1", io.BytesIO(), where="f")
    transport.upload(f"{foreign_server.url}/f?sig=1", b"x", where="f")
    assert [request.method for request in foreign_server.requests] == ["GET", "PUT"]
    assert all("authorization" not in request.headers for request in foreign_server.requests)


def test_n22_a_redirect_back_to_the_api_carries_no_key(
    make_transport: Make, fault_server: FaultServer, foreign_server: FaultServer
) -> None:
    """N22: another host must not be able to make us read the API for it."""
    foreign_server.on(None, to(f"{fault_server.url}/graphql?query=x"), nth=None)
    make_transport(fault_server).download(f"{foreign_server.url}/f", io.BytesIO(), where="f")
    assert [request.path for request in fault_server.requests] == ["/graphql"]
    assert "authorization" not in fault_server.requests[0].headers


def test_n22_a_redirect_from_https_to_http_is_refused(
    make_transport: Make,
    fault_server: FaultServer,
    tls_server: FaultServer,
    throwaway_ca: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """N22: even where plain http is good enough for the API itself."""
    throwaway_ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    tls_server.on(None, to(f"{fault_server.url}/f"), nth=None)
    with pytest.raises(ProtocolError, match="would leave https"):
        make_transport(fault_server).download(f"{tls_server.url}/f", io.BytesIO(), where="f")
    assert fault_server.requests == []


def test_n22_a_redirect_loop_ends(make_transport: Make, fault_server: FaultServer) -> None:
    """N22: five redirects, then an error; no retry of the whole loop."""
    fault_server.on(None, to("/again"), nth=None)
    with pytest.raises(ProtocolError, match="redirected more than 5 times"):
        make_transport(fault_server).download("/f", io.BytesIO(), where="f")
    assert len(fault_server.requests) == 6


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://files.test/x",
        "http://example.test/x",
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://user:word@files.test/x",
        "gopher://x/",
        "https://[fe80::1]/x",
    ],
)
def test_n22_a_redirect_to_a_dangerous_place_is_refused(
    location: str, make_transport: Make, fault_server: FaultServer
) -> None:
    """N22: one request, nothing sent on."""
    fault_server.on(None, to(location), nth=None)
    with pytest.raises(ProtocolError, match="refused") as caught:
        make_transport(fault_server).download("/f", io.BytesIO(), where="f")
    assert "word" not in str(caught.value)
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize(
    ("url", "base_url", "previous", "allowed"),
    [
        ("https://storage.test/f?sig=1", "https://api.wandb.ai", None, True),
        ("http://storage.test/f", "https://api.wandb.ai", None, False),
        ("http://storage.test/f", "https://api.wandb.ai", "https://storage.test/f", False),
        ("http://storage.test/f", "http://wandb.corp", None, True),
        ("http://storage.test/f", "http://wandb.corp", "https://storage.test/f", False),
        ("https://127.0.0.1/f", "https://api.wandb.ai", None, False),
        ("https://localhost/f", "https://api.wandb.ai", None, False),
        ("https://10.0.0.5/f", "https://api.wandb.ai", None, False),
        ("https://192.168.1.1/f", "https://api.wandb.ai", None, False),
        ("https://10.0.0.5/f", "https://10.0.0.1", None, True),
        ("https://8.8.8.8/f", "https://api.wandb.ai", None, True),
        ("https://2130706433/f", "https://api.wandb.ai", None, False),
        ("https://0x7f.1/f", "https://api.wandb.ai", None, False),
        ("https://127.1/f", "https://api.wandb.ai", None, False),
        ("https://[::1]/f", "https://api.wandb.ai", None, False),
        ("https://[::ffff:169.254.169.254]/f", "https://api.wandb.ai", None, False),
        ("https://[::ffff:10.0.0.1]/f", "https://api.wandb.ai", None, False),
        ("https://0.0.0.0/f", "https://api.wandb.ai", None, False),
        ("http://169.254.169.254/f", "http://127.0.0.1:8080", None, False),
        ("http://127.0.0.1:9000/f", "http://127.0.0.1:8080", None, True),
        ("https://1and1.test/f", "https://api.wandb.ai", None, True),
        ("https://files.test:99999/f", "https://api.wandb.ai", None, False),
        ("//files.test/f", "https://api.wandb.ai", None, False),
    ],
)
def test_n22_where_files_may_lie(url: str, base_url: str, previous: Any, allowed: bool) -> None:
    """N22: the rule, case by case; private addresses only when the API's own is one."""
    if allowed:
        assert check_file_url(url, base_url=base_url, previous=previous) == url
    else:
        with pytest.raises(ProtocolError):
            check_file_url(url, base_url=base_url, previous=previous)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.wandb.ai/x", "https://api.wandb.ai:443"),
        ("https://api.wandb.ai:443", "https://api.wandb.ai:443"),
        ("https://api.wandb.ai./x", "https://api.wandb.ai:443"),
        ("http://api.wandb.ai", "http://api.wandb.ai:80"),
        ("https://api.wandb.ai@evil.test/", "https://evil.test:443"),
        ("https://[::1]:8080/", "https://[::1]:8080"),
        ("nonsense", ""),
        ("https://x:notaport/", ""),
    ],
)
def test_an_origin_has_one_spelling(url: str, origin: str) -> None:
    """What the key is bound to: scheme, host and port, not how they are written."""
    assert origin_of(url) == origin
