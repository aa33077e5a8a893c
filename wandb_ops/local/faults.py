"""Faults on purpose: what a server does at 3 a.m., for tests of what a pipeline makes of it.

A fault is put in front of the application: an error of a proxy, a rate limit, a late answer, an answer that
is lost although the request was done, or one that breaks off. It strikes the requests that it is meant for, a
given number of times or until it is taken away. Beside it, requests can be written down to be counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAMED = re.compile(r"(?:query|mutation)\s+(\w+)")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. Without further arguments: a 502, once.

    Args:
        status: The HTTP status that is answered in place of the server, which does not see the request; None
            lets the request through, for the kinds of fault below.
        times: How often it strikes; None is until it is taken away.
        delay: Seconds by which the answer comes late.
        lost: The request is done, and the connection then closed without an answer.
        cut: The request is done, and its answer breaks off after so many bytes of its body.
        errors: Messages answered as GraphQL errors, with status 200; the request is not done.
        headers: Of the answer of ``status``, such as ``{"Retry-After": "1"}``.
        operation: Only GraphQL requests of this operation, such as ``"UpsertBucket"``.
        path: Only requests whose path has this in it, such as ``"file_stream"``; ``"/graphql"``.
        method: Only requests of this method.
        skip: How many requests that fit are let through before.
    """

    status: int | None = 502
    times: int | None = 1
    delay: float = 0.0
    lost: bool = False
    cut: int | None = None
    errors: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    operation: str | None = None
    path: str | None = None
    method: str | None = None
    skip: int = 0

    @classmethod
    def rate_limit(cls, seconds: float = 0, **given: Any) -> Fault:
        """A 429 that asks for a pause, in the headers that W&B sends."""
        headers = {
            "Retry-After": f"{seconds:g}",
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": f"{seconds:g}",
        }
        return cls(status=429, headers=headers, **given)

    @classmethod
    def slow(cls, seconds: float, **given: Any) -> Fault:
        """A good answer that comes late."""
        return cls(status=None, delay=seconds, **given)

    @classmethod
    def lost_answer(cls, **given: Any) -> Fault:
        """The request is done; nobody hears of it."""
        return cls(status=None, lost=True, **given)

    @classmethod
    def cut_answer(cls, after: int = 10, **given: Any) -> Fault:
        """An answer that breaks off after so many bytes."""
        return cls(status=None, cut=after, **given)

    def fits(self, method: str, path: str, operation: str | None) -> bool:
        """Whether it is meant for such a request."""
        return (
            (self.method is None or self.method.upper() == method)
            and (self.path is None or self.path in path)
            and (self.operation is None or self.operation == operation)
        )


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request that was written down.

    Attributes:
        operation: The name of the GraphQL operation, where it is one.
        status: What was answered; None when no answer left.
        fault: The fault that struck it, if one did.
    """

    method: str
    path: str
    operation: str | None
    status: int | None
    fault: Fault | None


@dataclass
class _Active:
    """A fault in place, and how often it was met and struck."""

    fault: Fault
    met: int = 0
    hits: int = 0


class FaultHits:
    """The faults of one block: how often they struck."""

    def __init__(self, active: Sequence[_Active]) -> None:
        self._active = active

    @property
    def hits(self) -> int:
        """How often one of them struck, so far."""
        return sum(each.hits for each in self._active)


class Faults:
    """The faults in place on one server, and who listens to its requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[_Active] = []
        self._listeners: list[list[SeenRequest]] = []
        #: Closes the connection of a client address; set by the server once it runs.
        self.hang_up: Callable[[tuple[str, int]], None] = lambda _client: None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._active and not self._listeners

    def add(self, faults: Sequence[Fault]) -> FaultHits:
        """Put faults in place; the first that fits a request strikes it."""
        active = [_Active(fault) for fault in faults]
        with self._lock:
            self._active += active
        return FaultHits(active)

    def clear(self) -> None:
        """Take every fault away."""
        with self._lock:
            self._active.clear()

    @contextlib.contextmanager
    def during(self, faults: Sequence[Fault]) -> Iterator[FaultHits]:
        """Faults for the time of a block."""
        hits = self.add(faults)
        try:
            yield hits
        finally:
            with self._lock:
                self._active = [each for each in self._active if each not in hits._active]

    @contextlib.contextmanager
    def listening(self) -> Iterator[list[SeenRequest]]:
        """A list that every request answered during the block is added to."""
        seen: list[SeenRequest] = []
        with self._lock:
            self._listeners.append(seen)
        try:
            yield seen
        finally:
            with self._lock:
                self._listeners = [each for each in self._listeners if each is not seen]

    def take(self, method: str, path: str, operation: str | None) -> Fault | None:
        """The fault that strikes this request, counted."""
        with self._lock:
            for each in self._active:
                spent = each.fault.times is not None and each.hits >= each.fault.times
                if spent or not each.fault.fits(method, path, operation):
                    continue
                each.met += 1
                if each.met > each.fault.skip:
                    each.hits += 1
                    return each.fault
        return None

    def tell(self, request: SeenRequest) -> None:
        """Write a request down for those who listen."""
        with self._lock:
            for listener in self._listeners:
                listener.append(request)


class FaultyApp:
    """An ASGI application with faults in front of it."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._faults.idle:
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        operation = None
        if path == "/graphql":
            body, receive = await _kept(receive)
            operation = _operation(body)
        fault = self._faults.take(method, path, operation)
        answer = _Answer(send, fault)
        try:
            if fault is None:
                await self._app(scope, receive, answer)
            else:
                await self._strike(fault, scope, receive, answer)
        finally:
            self._faults.tell(SeenRequest(method, path, operation, answer.status, fault))

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.errors:
            await _respond(answer, 200, {"errors": [{"message": text} for text in fault.errors]}, {})
        elif fault.status is not None:
            words = {"error": f"fault injected: {fault.status}"}
            await _respond(answer, fault.status, words, fault.headers)
        else:
            await self._app(scope, receive, answer)
        if answer.broken:
            self._faults.hang_up(tuple(scope["client"]))
            while (await receive())["type"] != "http.disconnect":
                pass


class _Answer:
    """`send`, which a fault may silence: all of the answer, or what follows some bytes of it."""

    def __init__(self, send: Send, fault: Fault | None) -> None:
        self._send = send
        self._left = None if fault is None or not (fault.lost or fault.cut is not None) else fault.cut or 0
        self._silent = fault is not None and fault.lost
        self.status: int | None = None

    @property
    def broken(self) -> bool:
        """Whether the connection has to be closed for the client to notice."""
        return self._left is not None

    async def __call__(self, message: Message) -> None:
        if self._silent:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self._left is not None and message["type"] == "http.response.body":
            body = message.get("body", b"")[: self._left]
            self._left -= len(body)
            message = {"type": "http.response.body", "body": body, "more_body": True}
        await self._send(message)


async def _respond(answer: _Answer, status: int, content: Any, headers: Mapping[str, str]) -> None:
    body = json.dumps(content).encode()
    named = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await answer({"type": "http.response.start", "status": status, "headers": raw})
    await answer({"type": "http.response.body", "body": body})


async def _kept(receive: Receive) -> tuple[bytes, Receive]:
    """The whole body, and a `receive` that gives it again."""
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    waiting = iter(messages)

    async def again() -> Message:
        for message in waiting:
            return message
        return await receive()

    return b"".join(message.get("body", b"") for message in messages), again


def _operation(body: bytes) -> str | None:
    """The name of a GraphQL request's operation."""
    try:
        request = orjson.loads(body)
        named = request.get("operationName") or _NAMED.search(request["query"])
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None
    return named if isinstance(named, str) or named is None else named[1]
