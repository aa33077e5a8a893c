"""A loopback HTTP server with scripted faults, for tests of everything that talks.

It speaks HTTP on plain sockets, so that it can also speak it wrongly: cut bodies, drip them, reset, answer
with raw bytes. Every request is recorded, so tests assert what was sent. `apply_first` lets the server carry
out a request and then lose its answer.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import logging
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

SENTINEL_KEY = "5en7ine1KEY0c4f3b2a1908d7e6f5c4b3a291807f6e5"


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]  # lower-case names; of repeated ones the last
    body: bytes
    connection: int  # number of the connection it came on

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def plain_body(self) -> bytes:
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    def json(self) -> Any:
        return json.loads(self.plain_body)

    @property
    def operation(self) -> str:
        if self.path != "/graphql":
            return ""
        return str(self.json().get("operationName") or "")

    @property
    def credentials(self) -> str:
        """`user:password` of HTTP Basic; empty without."""
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else ""


@dataclass(frozen=True)
class Answer:
    """What to answer, and how to spoil it."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    length: int | None = None  # Content-Length to claim; -1 claims none, and closing ends the body
    chunked: bool = False
    cut_at: int | None = None  # close after so many bytes of the body
    drip: float | None = None  # seconds between single bytes of the body
    hang: bool = False  # read the request, answer nothing until the server stops
    close: bool = False  # close without an answer
    reset: bool = False  # TCP reset without an answer
    raw: bytes | None = None  # send exactly this and close
    close_after: bool = False  # close a keep-alive connection after the answer, without telling
    apply_first: bool = False  # let the handler carry it out before spoiling

    def with_headers(self, **headers: str) -> Answer:
        return replace(
            self, headers=self.headers + tuple((k.replace("_", "-"), v) for k, v in headers.items())
        )


def json_answer(value: Any, status: int = 200, **more: Any) -> Answer:
    return Answer(status=status, body=json.dumps(value).encode(), **more)


Matcher = str | Callable[[Recorded], bool] | None


@dataclass
class _Rule:
    matcher: Matcher
    nth: Container[int] | None
    answer: Answer
    seen: int = 0

    def matches(self, request: Recorded) -> bool:
        if self.matcher is None:
            return True
        if callable(self.matcher):
            return self.matcher(request)
        return (
            request.path == self.matcher
            if self.matcher.startswith("/")
            else request.operation == self.matcher
        )


@dataclass
class FaultServer:
    """Serves on a port the system chose, from `with`."""

    handler: Callable[[Recorded], Answer] = lambda _request: Answer()
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: list[Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((self.host, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{'localhost' if self.tls else self.host}:{self.port}"

    def on(self, matcher: Matcher, answer: Answer, nth: int | Container[int] | None = 1) -> None:
        """Answer the `nth` matching requests (from 1; None: all) with `answer`; the first such rule wins.

        Args:
            matcher: A path, an operation's name, a function of the request, or None for every request.
            answer: The answer or fault.
            nth: Which of the matching requests.
        """
        self._rules.append(_Rule(matcher, {nth} if isinstance(nth, int) else nth, answer))

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for sock in (self._listener, *list(self._open)):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    # -- serving ---------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        self._open.add(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                plain, sock = sock, self.tls.wrap_socket(sock, server_side=True)
                self._open.discard(plain)
                self._open.add(sock)
            with sock.makefile("rb") as reader:
                while not self._stopped.is_set() and self._one(sock, reader, number):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(sock)
            sock.close()

    def _one(self, sock: socket.socket, reader: Any, number: int) -> bool:
        line = reader.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        headers: dict[str, str] = {}
        while (raw := reader.readline().decode("latin-1").strip()) != "":
            name, _, value = raw.partition(":")
            headers[name.lower()] = value.strip()
        request = Recorded(line[0], line[1], headers, self._body(reader, headers), number)
        with self._lock:
            self.requests.append(request)
            answer = self._choose(request)
        if answer is None:
            answer = self.handler(request)
        elif answer.apply_first:
            self.handler(request)
        return self._answer(sock, request, answer)

    @staticmethod
    def _body(reader: Any, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(reader.readline(), 16):
                pieces.append(reader.read(size))
                reader.readline()
            reader.readline()
            return b"".join(pieces)
        return bytes(reader.read(int(headers.get("content-length", "0"))))

    def _choose(self, request: Recorded) -> Answer | None:
        chosen = None
        for rule in self._rules:
            if rule.matches(request):
                rule.seen += 1
                if chosen is None and (rule.nth is None or rule.seen in rule.nth):
                    chosen = rule.answer
        return chosen

    def _answer(self, sock: socket.socket, request: Recorded, answer: Answer) -> bool:
        if answer.hang:
            self._stopped.wait(30)
            return False
        if answer.reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if answer.close:
            return False
        if answer.raw is not None:
            sock.sendall(answer.raw)
            return False
        body = b"" if request.method == "HEAD" else answer.body
        head = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {value}" for name, value in answer.headers)]
        if answer.chunked:
            head.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif answer.length != -1:
            head.append(f"Content-Length: {len(body) if answer.length is None else answer.length}")
        payload = body if answer.cut_at is None else body[: answer.cut_at]
        start = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if answer.drip is None:
            sock.sendall(start + payload)
        else:
            sock.sendall(start)
            for place in range(len(payload)):
                if self._stopped.wait(answer.drip):
                    return False
                sock.sendall(payload[place : place + 1])
        return not (answer.close_after or answer.cut_at is not None or answer.length == -1)


class FakeTime:
    """A clock that only moves when someone sleeps; remembers the sleeps."""

    def __init__(self, start: float = 1000.0, step: float = 0.0) -> None:
        self.now = start
        self.step = step  # added on each look at the clock
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def clock(self) -> float:
        with self._lock:
            self.now += self.step
            return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0, "nobody may sleep a negative time"
        with self._lock:
            self.sleeps.append(seconds)
            self.now += seconds


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """The W&B server of the test, on plain HTTP."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def foreign_server() -> Iterator[FaultServer]:
    """Another origin, which must never see the key."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def throwaway_ca() -> Any:
    """A certificate authority that nobody trusts unless told to."""
    trustme = pytest.importorskip("trustme")
    return trustme.CA()


def tls_context(certificate: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def tls_server(throwaway_ca: Any) -> Iterator[FaultServer]:
    """A server with a certificate for localhost, by the throwaway authority."""
    with FaultServer(tls=tls_context(throwaway_ca.issue_cert("localhost"))) as server:
        yield server


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def make_transport(fake_time: FakeTime) -> Iterator[Callable[..., Any]]:
    """`make_transport(server, **options)`: a transport to `server` with the sentinel key and fake time."""
    from wandb_ops.settings import Settings
    from wandb_ops.transport import Transport

    made = []

    def make(server: FaultServer | str, **options: Any) -> Transport:
        url = server if isinstance(server, str) else server.url
        names = {"timeout", "allow_http", "verify_tls", "key_source"}
        chosen = {name: options.pop(name) for name in names & set(options)}
        settings = Settings(base_url=url, api_key=SENTINEL_KEY, **chosen)
        options = {"clock": fake_time.clock, "sleep": fake_time.sleep, "rng": random.Random(7), **options}
        made.append(Transport(settings, **options))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def the_key_stays_inside(
    sentinel_key: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[None]:
    """The key is in no log at DEBUG, no output and no file, plain or as Basic credentials."""
    caplog.set_level(logging.DEBUG)
    yield
    basic = base64.b64encode(f"api:{sentinel_key}".encode()).decode().rstrip("=")
    out, err = capfd.readouterr()
    logged = "\n".join(
        [caplog.text, *(f"{record.msg!r} {record.args!r}" for record in caplog.get_records("call"))]
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".secret"]
    texts = [logged, out, err, *(path.read_bytes().decode("latin-1") for path in files)]
    for form in (sentinel_key, basic, sentinel_key[:8]):
        assert not any(form in text for text in texts)
