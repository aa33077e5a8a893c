"""N16, N17, N19, N20: answers that are not what they should be, and answers that are too much."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import resource
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_plugin import Answer, FaultServer, json_answer

from wandb_ops.errors import ChecksumMismatch, ProtocolError, ResponseTooLarge, TransportError
from wandb_ops.transport import Kind, RetryPolicy, Transport

Make = Callable[..., Transport]
OK = json_answer({"data": {"ok": True}})
GZIP = ("Content-Encoding", "gzip")


def send(transport: Transport, kind: Kind = Kind.QUERY) -> Any:
    return json.loads(transport.post_json("/graphql", b"{}", kind=kind, operation="Probe", where="e/p/r"))


def md5(data: bytes) -> str:
    return b64encode(hashlib.md5(data).digest()).decode()


def bomb(decoded_bytes: int) -> bytes:
    """Zeros, compressed two hundredfold."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(decoded_bytes >> 20)) + packer.flush()


@pytest.mark.parametrize("kind", list(Kind))
def test_n16_a_login_page_is_a_protocol_error_and_no_retry_storm(
    kind: Kind, make_transport: Make, fault_server: FaultServer
) -> None:
    """N16: the content type is named; at most two more tries, none for a mutation."""
    page = Answer(body=b"<!doctype html><form>sign in</form>", headers=(("Content-Type", "text/html"),))
    fault_server.on(None, page, nth=None)
    with pytest.raises(Exception, match=r"web page \(text/html\)") as caught:
        send(make_transport(fault_server), kind)
    assert type(caught.value).__name__ == ("AmbiguousOutcome" if kind is Kind.MUTATION else "ProtocolError")
    assert "sign in" not in str(caught.value)
    assert len(fault_server.requests) == (1 if kind is Kind.MUTATION else 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b'{"data": {"ok"',
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b'\xef\xbb\xbf{"data": 1}',
        '{"data": "é"}'.encode("utf-16"),
        '{"data": "é"}'.encode("latin-1"),
        b"{} {}",
        b'{"a":' * 200_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=[
        "empty",
        "blank",
        "cut",
        "null",
        "list",
        "number",
        "text",
        "bom",
        "utf16",
        "latin1",
        "two",
        "deep",
        "digits",
    ],
)
def test_n17_a_body_that_is_no_json_object_is_tried_twice_more(
    body: bytes, make_transport: Make, fault_server: FaultServer
) -> None:
    """N17: and then a ProtocolError; the body is not quoted."""
    fault_server.on(None, Answer(body=body), nth=None)
    with pytest.raises(ProtocolError, match="gave a bad answer"):
        send(make_transport(fault_server))
    assert len(fault_server.requests) == 3


def test_n17_a_passing_bad_answer_is_forgotten(make_transport: Make, fault_server: FaultServer) -> None:
    """N17: a deploy in between."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, Answer(body=b'{"data"'), nth={1, 2})
    assert send(make_transport(fault_server)) == {"data": {"ok": True}}


def test_bare_nan_and_long_integers_in_an_answer_are_read(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """Python servers write NaN into JSON; that is no reason to refuse the answer."""
    fault_server.on(None, Answer(body=b'{"a": NaN, "b": 123456789012345678901234567890}'))
    answer = make_transport(fault_server).post_json("/x", b"{}", kind=Kind.QUERY, operation="x", where="")
    assert json.loads(answer)["b"] == 123456789012345678901234567890


def test_n19_a_truncated_gzip_of_matching_length_is_found(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N19: the libraries take it for whole; for JSON it is retried, for files too."""
    whole = gzip.compress(OK.body)
    fault_server.on(None, Answer(body=whole[:-9], headers=(GZIP,)), nth={1})
    fault_server.handler = lambda _request: Answer(body=whole, headers=(GZIP,))
    transport = make_transport(fault_server)
    assert send(transport) == {"data": {"ok": True}}
    fault_server.on("/file", Answer(body=whole[:-9], headers=(GZIP,)), nth=None)
    with pytest.raises(TransportError, match="ended early"):
        transport.download("/file", io.BytesIO(), where="file")


def test_n19_gzip_in_several_members_is_read_whole(make_transport: Make, fault_server: FaultServer) -> None:
    """Object stores concatenate."""
    fault_server.on(None, Answer(body=gzip.compress(b"one,") + gzip.compress(b"two"), headers=(GZIP,)))
    sink = io.BytesIO()
    assert make_transport(fault_server).download("/f", sink, where="f") == 7
    assert sink.getvalue() == b"one,two"


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(OK.body) + b"tail"], ids=["no-gzip", "tail"])
def test_n19_broken_compression_is_a_bad_answer(
    body: bytes, make_transport: Make, fault_server: FaultServer
) -> None:
    """N19."""
    fault_server.on(None, Answer(body=body, headers=(GZIP,)), nth=None)
    with pytest.raises(ProtocolError, match="compression is broken"):
        send(make_transport(fault_server))


def test_n19_an_encoding_nobody_asked_for_is_a_bad_answer(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """Accept-Encoding says gzip for JSON, identity for files."""
    fault_server.on(None, Answer(body=b"\x1b\x00", headers=(("Content-Encoding", "br"),)), nth=None)
    with pytest.raises(ProtocolError, match="encoded as br"):
        send(make_transport(fault_server))
    assert fault_server.requests[0].headers["accept-encoding"] == "gzip"


def test_n19_a_close_delimited_short_file_is_found_by_size_and_md5(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N19: 24,999 of 50,000 bytes, and no error from the libraries."""
    whole = bytes(range(250)) * 200
    fault_server.on(None, Answer(body=whole[:24_999], length=-1), nth=None)
    transport = make_transport(fault_server)
    with pytest.raises(ChecksumMismatch, match="24,999 bytes where 50,000"):
        transport.download("/f", io.BytesIO(), where="f", expected_size=50_000)
    assert len(fault_server.requests) == 3
    with pytest.raises(ChecksumMismatch, match="MD5"):
        transport.download("/f", io.BytesIO(), where="f", expected_md5_b64=md5(whole))


def test_n19_a_file_that_is_whole_at_the_second_try_is_taken(
    make_transport: Make, fault_server: FaultServer, tmp_path: Path
) -> None:
    """N19: started over, verified."""
    whole = bytes(range(250)) * 200
    fault_server.handler = lambda _request: Answer(body=whole)
    fault_server.on(None, Answer(body=whole[:-1] + b"!", length=-1))
    with (tmp_path / "f").open("wb") as sink:
        size = make_transport(fault_server).download(
            "/f", sink, where="f", expected_size=len(whole), expected_md5_b64=md5(whole)
        )
    assert size == len(whole)
    assert (tmp_path / "f").read_bytes() == whole
    assert fault_server.requests[0].headers["accept-encoding"] == "identity"


def test_n20_a_bomb_in_json_stops_at_the_cap_with_flat_memory(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N20: 100 MB out of 0.5 MB; not retried."""
    fault_server.on(None, Answer(body=bomb(100 << 20), headers=(GZIP,)), nth=None)
    transport = make_transport(fault_server, max_json_bytes=1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ResponseTooLarge, match="larger than 1,048,576 bytes"):
        send(transport)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # kilobytes
    assert len(fault_server.requests) == 1


def test_n20_a_bomb_in_a_file_stops_at_the_cap(make_transport: Make, fault_server: FaultServer) -> None:
    """N20: by declared size, and by an explicit cap."""
    packed = bomb(32 << 20)
    fault_server.on(None, Answer(body=packed, headers=(GZIP,)), nth=None)
    transport = make_transport(fault_server, policy=RetryPolicy(malformed=0))
    tracemalloc.start()
    sink = io.BytesIO()
    with pytest.raises(ResponseTooLarge):
        transport.download("/f", sink, where="f", max_bytes=1 << 20)
    with pytest.raises(ChecksumMismatch, match="more than 1,000 bytes"):
        transport.download("/f", sink, where="f", expected_size=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert len(sink.getvalue()) <= 1 << 20


def test_n20_a_bomb_in_an_error_body_does_not_mask_the_status(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N20: 400 stays 400."""
    fault_server.on(None, Answer(status=400, body=bomb(32 << 20), headers=(GZIP,)), nth=None)
    with pytest.raises(Exception, match="HTTP 400") as caught:
        send(make_transport(fault_server))
    assert type(caught.value).__name__ == "StatusError"


class FullDisk(io.BytesIO):
    def write(self, _data: Any) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_no_network_failure(make_transport: Make, fault_server: FaultServer) -> None:
    """The error of our own disk reaches the caller as it is, at once."""
    with pytest.raises(OSError, match="No space left") as caught:
        make_transport(fault_server).download("/f", FullDisk(), where="f")
    assert caught.value.errno == 28
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
@pytest.mark.parametrize("as_file", [False, True])
def test_an_upload_arrives_whole_also_when_the_first_answer_was_lost(
    size: int, as_file: bool, make_transport: Make, fault_server: FaultServer, tmp_path: Path
) -> None:
    """Bytes and files of every size carry a Content-Length; a retry sends them again from the start."""
    content = bytes(n % 251 for n in range(size))
    (tmp_path / "f").write_bytes(content)
    fault_server.on(None, Answer(reset=True))
    data = tmp_path / "f" if as_file else content
    make_transport(fault_server).upload("/up", data, headers={"Content-Type": "x/y"}, where="f")
    assert [request.body == content for request in fault_server.requests] == [True, True]
    assert all(request.headers["content-length"] == str(size) for request in fault_server.requests)
    assert all("transfer-encoding" not in request.headers for request in fault_server.requests)
    assert fault_server.requests[0].headers["content-type"] == "x/y"
