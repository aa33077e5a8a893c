"""One call to a server, whatever number of tries it takes.

The loop: wait for the rate budget, try once, decide (`retry.decide`), wait, try again, all within one
deadline. What one try came to is a value, not an exception in flight, so the error that is finally raised
carries none of the libraries' frames and requests, which hold the key.
"""

from __future__ import annotations

import io
import logging
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar
from urllib.parse import urljoin

from requests.auth import AuthBase
from requests.utils import requote_uri

from wandb_ops.errors import (
    ChecksumMismatch,
    DeadlineExceeded,
    Error,
    GraphQLError,
    ProtocolError,
    RateLimited,
)
from wandb_ops.redaction import terminal_safe
from wandb_ops.transport.body import Malformed, error_body, server_words
from wandb_ops.transport.budget import RateBudget, budget_for
from wandb_ops.transport.client import Session, new_session
from wandb_ops.transport.failures import (
    NETWORK_ERRORS,
    Context,
    Failure,
    ambiguous,
    bare,
    from_exception,
    from_status,
    malformed,
    redirected,
)
from wandb_ops.transport.retry import (
    Action,
    Kind,
    Quota,
    Reason,
    RetryPolicy,
    decide,
    parse_retry_after,
    server_time,
)
from wandb_ops.transport.urls import check_file_url, origin_of, shown_origin
from wandb_ops.transport.wire import Deadline, Trace, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

    from wandb_ops.settings import Settings

logger = logging.getLogger("wandb_ops.transport")

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
MAX_REDIRECTS = 5
# Bytes per second below which a long transfer counts as stuck: each byte that moves allows more time.
SLOWEST_RATE = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Larger bodies are sent piece by piece, so that the timeout bounds a piece and not the whole.
_PIECEWISE = 1 << 20


class _NoAuth(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return request


class LocalFailure(Exception):
    """Our own disk failed, not the network."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class _PacedBody:
    """A file to send, read in pieces, each within the deadline."""

    def __init__(self, source: BinaryIO, size: int, trace: Trace) -> None:
        self._source = source
        self._size = size
        self._trace = trace

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        self._trace.wait()
        return self._source.read(size)

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(1 << 16):
            yield piece


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its caller means it, whatever number of tries it takes."""

    method: str
    url: str
    operation: str
    where: str
    kind: Kind
    body: bytes | Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] | None = None
    follow: bool = False
    # A chance to make a better error of a refusal, from its status and body.
    refine: Callable[[int, bytes], Error | None] | None = None


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    value: T


class _Process:
    """What belongs to one process: sockets, and the retries it may still spend."""

    def __init__(self, settings: Settings, policy: RetryPolicy, rng: random.Random | None) -> None:
        self.pid = os.getpid()
        self.session: Session = new_session(
            settings.base_url, settings.api_key, verify_tls=settings.verify_tls
        )
        self.quota = Quota(policy.quota)
        # A forked child must not repeat its parent's jitter.
        self.rng = rng or random.Random()


class Caller:
    """Makes calls with one server's settings; `Transport` says which calls there are."""

    def __init__(
        self,
        settings: Settings,
        *,
        policy: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        max_json_bytes: int = 64 << 20,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._policy = policy or RetryPolicy()
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._max_json_bytes = max_json_bytes
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._wall = wall
        self._origin = origin_of(settings.base_url)
        self._process: _Process | None = None
        if not settings.verify_tls:
            logger.warning("TLS certificates are not checked (WANDB_INSECURE_DISABLE_SSL)")

    def _run(self, call: Call, read: Callable[[requests.Response, Deadline], T], timeout: float | None) -> T:
        process, policy = self._current(), self._policy
        seconds = timeout if timeout is not None else (policy.total or self.settings.timeout)
        deadline = Deadline(seconds, self._clock)
        deadline.extend(_size(call.body) / SLOWEST_RATE if call.body is not None else 0.0)
        context = self._context(call)
        budget = budget_for(origin_of(call.url), self._clock)
        attempt = bad_answers = spent = 0
        while True:
            self._wait_for(budget, deadline, context)
            attempt += 1
            outcome = self._attempt(process, call, read, deadline=deadline, context=context, budget=budget)
            if isinstance(outcome, _Done):
                process.quota.give_back(spent)
                return outcome.value
            decision = decide(
                policy,
                call.kind,
                outcome.reason,
                attempt=attempt,
                status=outcome.status,
                retry_after=outcome.retry_after,
                malformed_before=bad_answers,
                rng=process.rng,
            )
            bad_answers += outcome.reason is Reason.MALFORMED
            if decision.action is Action.AMBIGUOUS:
                raise ambiguous(outcome, context)
            if decision.action is Action.FAIL:
                raise _out_of_time(outcome, context, deadline) or outcome.error(attempt)
            if decision.delay >= deadline.remaining():
                raise _out_of_time(outcome, context, deadline, force=True) or outcome.error(attempt)
            if not process.quota.spend():
                logger.warning("%s: no retries left, failing at once", call.operation)
                raise outcome.error(attempt)
            spent += 1
            logger.info(
                "%s %s [%s]; try %d of %d in %.1f s",
                call.operation,
                outcome.summary,
                terminal_safe(call.where),
                attempt + 1,
                policy.attempts,
                decision.delay,
            )
            self._sleep(decision.delay)

    def _attempt(
        self,
        process: _Process,
        call: Call,
        read: Callable[[requests.Response, Deadline], T],
        *,
        deadline: Deadline,
        context: Context,
        budget: RateBudget,
    ) -> _Done[T] | Failure:
        trace = Trace(deadline, self._read_timeout)
        local: OSError | None = None
        started = self._clock()
        try:
            with self._sent(process.session, call, trace) as response:
                budget.learn(response.headers)
                refusal = self._refusal(response, call, context, budget)
                _log_answer(call, response, self._clock() - started)
                if refusal is not None:
                    return refusal
                return _Done(read(response, deadline))
        except LocalFailure as exc:
            local = exc.error
        except Malformed as exc:
            return malformed(exc.message, exc.hint, context)
        except Error as exc:
            return _from_error(exc)
        except NETWORK_ERRORS as exc:
            return from_exception(exc, context, sent=trace.sent)
        raise local.with_traceback(None)

    @contextmanager
    def _sent(self, session: Session, call: Call, trace: Trace) -> Iterator[requests.Response]:
        """The response to one try, closed at the end; redirects of downloads followed."""
        url, previous = call.url, None
        for _hop in range(MAX_REDIRECTS + 1):
            if call.follow:
                base_url = self.settings.base_url
                check_file_url(url, base_url=base_url, previous=previous, where=call.where)
            with _opened(call.body, trace) as body, traced(trace):
                wait = trace.wait()
                response = session.exchange(
                    call.method,
                    url,
                    params=call.params,
                    data=body,
                    headers=call.headers,
                    auth=_NoAuth() if previous else None,
                    timeout=(min(self._connect_timeout, wait), wait),
                )
            with response:
                location = response.headers.get("Location")
                if not (call.follow and response.status_code in _REDIRECTS and location):
                    yield response
                    return
            previous, url = url, urljoin(url, requote_uri(location))
        raise ProtocolError(f"The file is redirected more than {MAX_REDIRECTS} times", where=call.where)

    def _refusal(
        self, response: requests.Response, call: Call, context: Context, budget: RateBudget
    ) -> Failure | None:
        status = response.status_code
        if 200 <= status < 300:
            return None
        if 300 <= status < 400:
            target = shown_origin(urljoin(call.url, response.headers.get("Location", "")))
            return redirected(status, target, context)
        retry_after = parse_retry_after(
            response.headers.get("Retry-After"),
            now=server_time(response.headers.get("Date"), fallback=self._wall()),
        )
        if status == 429 and retry_after is not None and retry_after <= self._policy.max_retry_after:
            budget.pause(retry_after)
        body = error_body(response)
        better = call.refine(status, body) if call.refine else None
        if better is not None:
            return _from_error(better)
        words = server_words(body, response.headers.get("Content-Type", ""))
        return from_status(status, words, context, retry_after=retry_after)

    def _wait_for(self, budget: RateBudget, deadline: Deadline, context: Context) -> None:
        for _ in range(10):  # others may lengthen the pause meanwhile, but not for ever
            delay = budget.delay()
            if delay <= 0:
                return
            if delay >= deadline.remaining():
                raise RateLimited(
                    f"{context.operation}: {context.host} asked this process to wait {delay:.0f} s, longer"
                    " than this call may take",
                    retry_after=delay,
                    where=context.where,
                )
            logger.info("%s: waiting %.1f s for the rate limit of %s", context.operation, delay, context.host)
            self._sleep(delay)

    def _current(self) -> _Process:
        process = self._process
        if process is None or process.pid != os.getpid():
            # Two threads may both get here; the loser's session serves its one call and is dropped.
            process = self._process = _Process(self.settings, self._policy, self._rng)
        return process

    def _context(self, call: Call) -> Context:
        return Context(
            operation=call.operation,
            host=shown_origin(call.url).partition("://")[2],
            where=call.where,
            key_source=self.settings.key_source,
            own_origin=origin_of(call.url) == self._origin,
        )


def _size(body: bytes | Path) -> int:
    return body.stat().st_size if isinstance(body, Path) else len(body)


@contextmanager
def _opened(body: bytes | Path | None, trace: Trace) -> Iterator[Any]:
    if isinstance(body, Path):
        size = body.stat().st_size
        with body.open("rb") as source:
            # requests would send an empty stream as chunked, which object stores refuse.
            yield _PacedBody(source, size, trace) if size else b""
    elif body is not None and len(body) > _PIECEWISE:
        yield _PacedBody(io.BytesIO(body), len(body), trace)
    else:
        yield body


def _from_error(error: Error) -> Failure:
    """An error that reading the answer came to."""
    bare(error)
    if isinstance(error, GraphQLError) and error.transient:
        reason = Reason.TRANSIENT
    elif isinstance(error, ChecksumMismatch):
        reason = Reason.MALFORMED
    else:
        reason = Reason.FINAL
    return Failure(reason, error.message, lambda _attempts: error)


def _out_of_time(
    failure: Failure, context: Context, deadline: Deadline, *, force: bool = False
) -> DeadlineExceeded | None:
    """The error when no time is left; None when the failure itself says it better."""
    if failure.reason not in (Reason.LOST, Reason.NOT_SENT) or not (force or deadline.remaining() <= 0):
        return None
    return DeadlineExceeded(
        f"{context.operation}: {context.host} {failure.summary};"
        f" the {deadline.seconds:g} s allowed for the call are over",
        where=context.where,
    )


def _log_answer(call: Call, response: requests.Response, seconds: float) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        origin, where, status = shown_origin(call.url), terminal_safe(call.where), response.status_code
        logger.debug(
            "%s %s %s [%s]: HTTP %d in %.3f s", call.method, call.operation, origin, where, status, seconds
        )


__all__ = ["SLOWEST_RATE", "Call", "Caller", "LocalFailure"]
