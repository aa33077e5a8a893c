"""X87, X88: the key and signed queries turn up nowhere, whatever fails."""

from __future__ import annotations

import base64
import copy
import http.client
import io
import json
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from urllib.parse import quote

import pytest
import requests
from faults_plugin import Answer, FaultServer, json_answer
from hypothesis import given
from hypothesis import strategies as st

from wandb_ops import errors
from wandb_ops.redaction import clean, redact, register_secret, safe_url, terminal_safe
from wandb_ops.settings import Settings
from wandb_ops.transport import Kind, RetryPolicy, Transport

Make = Callable[..., Transport]
QUERY = "X-Amz-Signature=51gn4tur3"


def everything_about(error: BaseException, *, frames: bool = True) -> str:
    """All texts a curious tool could make of an exception, locals of frames below the test's included."""
    seen: list[str] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is None:
            continue
        seen += [str(each), repr(each), repr(each.args), repr(vars(each)), repr(pickle.dumps(each))]
        seen += traceback.format_exception_only(each)
        if frames and each.__traceback__ is not None:
            below_the_test = each.__traceback__.tb_next
            seen += traceback.TracebackException(
                type(each), each, below_the_test, capture_locals=True
            ).format()
        todo += [each.__cause__, each.__context__]
    return "\n".join(seen)


FAULTS: dict[str, Answer] = {
    "reset": Answer(reset=True),
    "refusal": json_answer({"error": "no"}, status=400),
    "key-quoted": json_answer({"error": "bad key KEY BASIC"}, status=401),
    "server-error": Answer(status=500),
    "html": Answer(body=b"<html>", headers=(("Content-Type", "text/html"),)),
    "cut": Answer(body=b'{"a', cut_at=2),
    "redirect": Answer(status=302, headers=(("Location", "https://x.test/?" + QUERY),)),
    "bad-header": Answer(raw=b"HTTP/1.1 200 OK\r\n: bad\r\nX\x00: y\r\nContent-Length: 1\r\n\r\n{"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.MUTATION])
def test_x87_no_error_holds_the_key(
    fault: str, kind: Kind, make_transport: Make, fault_server: FaultServer, sentinel_key: str
) -> None:
    """X87: text, repr, args, vars, causes, pickle, traceback with locals; also when the server echoes it."""
    basic = base64.b64encode(f"api:{sentinel_key}".encode()).decode()
    answer = FAULTS[fault]
    echoed = answer.body.replace(b"KEY", sentinel_key.encode()).replace(b"BASIC", basic.encode())
    fault_server.on(None, Answer(**{**answer.__dict__, "body": echoed}), nth=None)
    transport = make_transport(fault_server, policy=RetryPolicy(attempts=2))
    with pytest.raises(errors.Error) as caught:
        transport.post_json("/graphql", b"{}", kind=kind, operation="Probe", where="w")
    told = everything_about(caught.value)
    for form in (sentinel_key, basic.rstrip("="), sentinel_key[:8], "51gn4tur3"):
        assert form not in told


@pytest.mark.parametrize(
    "fault",
    [
        Answer(body=b"[" + b"1," * 4096 + b"1]"),
        Answer(body=b'{"a"'),
        Answer(status=500),
        Answer(reset=True),
        Answer(status=302, headers=(("Location", "file:///etc/passwd"),)),
    ],
    ids=["too-large", "malformed", "status", "reset", "redirect"],
)
def test_x87_no_frame_of_an_error_keeps_a_request_or_response(
    fault: Answer, make_transport: Make, fault_server: FaultServer
) -> None:
    """X87: crash reporters dump locals, and requests' objects hold the Authorization header."""
    fault_server.on(None, fault, nth=None)
    transport = make_transport(fault_server, policy=RetryPolicy(attempts=2), max_json_bytes=1000)
    with pytest.raises(errors.Error) as caught:
        transport.post_json("/graphql", b"{}", kind=Kind.QUERY, operation="Probe", where="w")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    for frame, _line in traceback.walk_tb(caught.value.__traceback__):
        held = (requests.Response, requests.PreparedRequest, requests.Session)
        assert not any(isinstance(value, held) for value in frame.f_locals.values())


def test_x87_debugging_of_http_client_prints_nothing_of_ours(
    make_transport: Make,
    fault_server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """X87: `http.client.HTTPConnection.debuglevel = 1` prints every header of everybody else."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    transport = make_transport(fault_server)
    transport.post_json("/graphql", b"{}", kind=Kind.QUERY, operation="Probe", where="w")
    assert capfd.readouterr().out == ""


def test_x87_a_custom_header_with_a_line_break_is_refused_without_being_quoted(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """X87: requests quotes the value in its error."""
    with pytest.raises(errors.UsageError, match="cannot be sent") as caught:
        make_transport(fault_server).upload("/f", b"x", headers={"X-A": "hidden\nX-B: 1"}, where="f")
    assert "hidden" not in everything_about(caught.value, frames=False)
    assert fault_server.requests == []


def test_x87_nothing_that_is_shown_or_copied_holds_the_key(
    make_transport: Make, fault_server: FaultServer, sentinel_key: str
) -> None:
    """X87: repr and pickle of settings and transport."""
    transport = make_transport(fault_server)
    transport.post_json("/graphql", b"{}", kind=Kind.QUERY, operation="Probe", where="w")
    session = transport._current().session
    for thing in (transport, transport.settings, session, session.auth, session.headers):
        assert sentinel_key not in f"{thing!r} {thing}"
    for thing in (transport, transport.settings, {"t": transport}):
        assert sentinel_key.encode() not in pickle.dumps(thing)
    assert copy.deepcopy(transport.settings).api_key == sentinel_key


def test_x87_a_pickle_works_where_the_key_is_known_and_explains_itself_elsewhere(
    fault_server: FaultServer, sentinel_key: str
) -> None:
    """X87: the same process, a new process with the key in its environment, and one without."""
    transport = Transport(Settings(base_url=fault_server.url, api_key=sentinel_key, timeout=7.0))
    again = pickle.loads(pickle.dumps(transport))
    again.post_json("/graphql", b"{}", kind=Kind.QUERY, operation="Probe", where="w")
    assert again.settings == transport.settings
    assert fault_server.requests[0].credentials == f"api:{sentinel_key}"

    script = (
        "import pickle, sys\n"
        "try: t = pickle.load(sys.stdin.buffer)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "else: t.post_json('/graphql', b'{}', kind='query', operation='Probe', where='w'); print('sent')\n"
    )

    def elsewhere(**environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=pickle.dumps(transport),
            capture_output=True,
            check=True,
            timeout=60,
            env={"NETRC": "/dev/null", "HOME": "/nonexistent", **environment},
        )
        return done.stdout.decode()

    assert elsewhere(WANDB_API_KEY=sentinel_key) == "sent\n"
    assert fault_server.requests[1].credentials == f"api:{sentinel_key}"
    assert elsewhere().startswith("CredentialsError A pickled client")
    assert elsewhere(WANDB_API_KEY="0ther" * 8).startswith("CredentialsError A pickled client")
    assert len(fault_server.requests) == 2


def test_x88_signed_queries_are_in_no_log_and_no_error(
    make_transport: Make,
    foreign_server: FaultServer,
    fault_server: FaultServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """X88: urllib3 logs them at DEBUG, and quotes them when a connection fails."""
    url = f"{foreign_server.url}/bucket/f?{QUERY}&X-Amz-Credential=abc"
    transport = make_transport(fault_server, policy=RetryPolicy(attempts=2))
    transport.download(url, io.BytesIO(), where="f")
    assert foreign_server.requests[0].query["X-Amz-Signature"] == "51gn4tur3"
    foreign_server.__exit__()
    with pytest.raises(errors.TransportError) as caught:
        transport.download(url, io.BytesIO(), where="f")
    assert "51gn4tur3" not in everything_about(caught.value, frames=False)
    assert "urllib3.connectionpool" in {record.name for record in caplog.records}
    logged = caplog.text + "".join(f"{record.msg}{record.args}" for record in caplog.records)
    assert "51gn4tur3" not in logged


def test_x88_our_own_log_names_operation_host_and_status(
    make_transport: Make, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What a log is for."""
    fault_server.on(None, Answer(status=503))
    make_transport(fault_server).post_json("/graphql", b"{}", kind=Kind.QUERY, operation="Runs", where="e/p")
    ours = [r for r in caplog.records if r.name == "wandb_ops.transport"]
    assert [r.levelno for r in ours] == [logging.DEBUG, logging.INFO, logging.DEBUG]
    assert f"POST Runs {fault_server.url} [e/p]: HTTP 503" in ours[0].getMessage()
    assert "try 2 of 6" in ours[1].getMessage()


def test_x93_a_name_cannot_forge_a_log_line(
    make_transport: Make, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    """X93: a run id with a line break and an escape sequence."""
    fault_server.on(None, Answer(status=503))
    make_transport(fault_server).post_json(
        "/graphql", b"{}", kind=Kind.QUERY, operation="Runs", where="e/p/\nERROR forged\x1b[31m"
    )
    ours = [record.getMessage() for record in caplog.records if record.name == "wandb_ops.transport"]
    assert len(ours) == 3
    assert all(message.isprintable() for message in ours)


def test_redaction_masks_all_forms_of_a_key_longest_first() -> None:
    """X87: overlapping secrets leave no tail; URL-encoded, base64, JSON-escaped, and the beginning."""
    short, long = "k3y/with+odd&chars", "k3y/with+odd&chars-and-a-longer-tail"
    register_secret(short)
    register_secret(long)
    text = (
        f"{long} {short} {quote(long, safe='')} {json.dumps(long)} "
        f"{base64.b64encode(b'api:' + long.encode()).decode()} {long[:8]} {long[:12]}"
    )
    assert redact(text) == '[key] [key] [key] "[key]" [key] [key] [key]'


def test_redaction_knows_what_stands_before_the_random_part() -> None:
    """A product prefix is no secret; what follows it is."""
    register_secret("wandb_v1_Q7r8S9t0" + "u" * 60)
    assert redact("wandb_v1_other and wandb_v1_Q7r8S9t0uu") == "wandb_v1_other and [key]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://h.test/p?sig=1&x=2 failed", "GET https://h.test/p?... failed"),
        ("https://user:pw@h.test/p", "https://h.test/p"),
        ("with url: /p/q?sig=1 (Caused by", "with url: /p/q?... (Caused by"),
        ("Authorization: Basic YXBpOnNlY3JldHNlY3JldA==", "Authorization: Basic [key]"),
        ("Basic authentication required", "Basic authentication required"),
        ("X-Goog-Signature=abc&y=1", "X-Goog-Signature=[hidden]&y=1"),
        ("is loss < 3? yes", "is loss < 3? yes"),
    ],
)
def test_redaction_takes_out_queries_and_credentials_of_anybody(text: str, shown: str) -> None:
    """X88: also those nobody registered."""
    assert redact(text) == shown


def test_a_logged_url_is_bare() -> None:
    """No user, no query, no fragment."""
    assert safe_url("https://u:p@h.test:8443/a?b#c") == "https://h.test:8443/a"
    assert safe_url("https://[::1]:1/a?b") == "https://[::1]:1/a"
    assert safe_url("https://h.test:port/") == "(malformed URL)"


@given(st.text())
def test_x93_what_is_shown_in_a_terminal_is_printable(text: str) -> None:
    """X93: no escapes, no line breaks, no text direction marks; and it stays short."""
    assert terminal_safe(text).isprintable()
    assert len(clean(text * 50, 100)) <= 100


def test_cleaning_a_huge_hostile_text_is_quick() -> None:
    """A server's words are bounded before they are searched."""
    for text in ("a" * 1_000_000, "a-" * 500_000, "http://" * 200_000, "/" * 1_000_000, "@" * 1_000_000):
        assert len(clean(text)) <= 500
        assert redact(text[:20_000])
