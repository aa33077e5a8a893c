"""Reading answers: bounded, decoded by us, whole or not at all.

The libraries take a gzip stream that ends early for a whole one, and decode a bomb into memory before anyone
can count. Here the decoder is ours: it stops at a cap and knows whether the stream reached its end.
"""

from __future__ import annotations

import http.client
import json
import zlib
from typing import TYPE_CHECKING, Any

import orjson
import urllib3.exceptions

from wandb_ops.errors import ProtocolError, ResponseTooLarge
from wandb_ops.redaction import clean
from wandb_ops.transport.integers import has_long_integer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

CHUNK = 1 << 18
_ERROR_BYTES = 1 << 16
_PLAIN = ("", "identity")


class Malformed(Exception):
    """A whole answer, but not one of W&B's; may pass (a proxy, a deploy), so it is tried again twice.

    Never leaves the transport: its user sees a `ProtocolError` with these words.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CutShort(OSError):
    """The body ended before its encoding did."""


def read_chunks(response: requests.Response, *, cap: int | None, where: str = "") -> Iterator[bytes]:
    """The decoded body, piece by piece.

    Raises:
        ResponseTooLarge: More than `cap` decoded bytes.
        Malformed: An encoding we did not ask for, or broken.
        CutShort: The compressed stream has no end.
    """
    total = 0
    for piece in _decoded(response):
        total += len(piece)
        if cap is not None and total > cap:
            raise ResponseTooLarge(f"The answer is larger than {cap:,} bytes when decoded", where=where)
        yield piece


def read_all(response: requests.Response, *, cap: int, where: str = "") -> bytes:
    """The decoded body; see `read_chunks`."""
    announced = response.raw.length_remaining
    if _encoding(response) in _PLAIN and announced is not None and 0 < announced <= cap:
        # Its size is known and allowed: one read, and nothing to join.
        body: bytes = response.raw.read(decode_content=False)
        return body
    return b"".join(read_chunks(response, cap=cap, where=where))


def _raw(response: requests.Response) -> Iterator[bytes]:
    # What has arrived, up to so much: to wait until it is so much would hide from deadlines that bytes move.
    while piece := response.raw.read1(CHUNK, decode_content=False):
        yield piece


def _encoding(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _decoded(response: requests.Response) -> Iterator[bytes]:
    encoding = _encoding(response)
    if encoding in _PLAIN:
        yield from _raw(response)
    elif encoding in ("gzip", "x-gzip"):
        yield from _gunzip(_raw(response))
    else:
        raise Malformed(f"The answer is encoded as {clean(encoding, 40)}, which was not asked for")


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(31)
    fresh = True
    try:
        for piece in pieces:
            data = piece
            while data:
                if decoder.eof:
                    decoder, fresh = zlib.decompressobj(31), True
                fresh = False
                decoded = decoder.decompress(data, CHUNK)
                if decoded:
                    yield decoded
                data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    except zlib.error:
        raise Malformed("The answer's compression is broken") from None
    if not fresh and not decoder.eof:
        raise CutShort("the compressed answer ended early")


def parse_json(body: bytes, *, content_type: str = "", long_integers: bool = True) -> Any:
    """The JSON in `body`, integers of any size exact.

    Args:
        body: The whole answer.
        content_type: What the server says it is.
        long_integers: Whether integers beyond 64 bits may be in it outside of texts; to look costs time.

    Raises:
        Malformed: Empty, HTML, cut, or otherwise no JSON.
    """
    if not body or body.isspace():
        raise Malformed("The answer is empty")
    if "html" in content_type.lower() or body[:64].lstrip()[:1] == b"<":
        kind = clean(content_type, 80) or "HTML"
        raise Malformed(
            f"The answer is a web page ({kind}), not the API",
            hint="A login page or proxy may stand between; check the base URL and the network.",
        )
    try:
        if not (long_integers and has_long_integer(body)):  # orjson would read it as a double
            return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass  # bare NaN and Infinity, which Python servers write, are read below
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        # The parser's words quote the body, which may hold anything.
        kind = clean(content_type, 80) or "no content type"
        raise Malformed(f"The answer is no whole JSON ({len(body):,} bytes, {kind})") from None


def parse_object(body: bytes, *, content_type: str = "", long_integers: bool = True) -> dict[str, Any]:
    """As `parse_json`, and it must be an object."""
    value = parse_json(body, content_type=content_type, long_integers=long_integers)
    if not isinstance(value, dict):
        raise Malformed(
            f"The answer is JSON, but a {type(value).__name__} instead of an object",
            hint="Something else than W&B's API answers at this address; check the base URL.",
        )
    return value


def error_body(response: requests.Response) -> bytes:
    """What came with a status that says no; empty when unreadable: the status must not be masked."""
    try:
        return read_all(response, cap=_ERROR_BYTES)
    except (OSError, Malformed, ProtocolError, urllib3.exceptions.HTTPError, http.client.HTTPException):
        return b""


def server_words(body: bytes, content_type: str) -> str:
    """The server's explanation in an error's body: `error` as text or object, `errors[]`, or plain text."""
    if "html" in content_type.lower() or body.lstrip()[:1] == b"<":
        return ""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        try:
            return clean(body.decode("utf-8"))
        except UnicodeDecodeError:
            return ""
    return clean("; ".join(_messages(value)))


def _messages(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [message for item in value for message in _messages(item)]
    if isinstance(value, dict):
        for name in ("errors", "error", "message", "detail"):
            if value.get(name):
                return _messages(value[name])
    return []


__all__ = [
    "CHUNK",
    "CutShort",
    "Malformed",
    "error_body",
    "parse_json",
    "parse_object",
    "read_all",
    "read_chunks",
    "server_words",
]
