"""From what went wrong on the wire to an error of the tree, in words that help.

The libraries' own texts are never passed on: they quote URLs with signatures and, for malformed headers, the
key. Nor are their exceptions chained: `error.request.headers` holds the key. What is said is the kind of the
innermost system error, the host, and what to do.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
import urllib3.exceptions

from wandb_ops.errors import (
    AmbiguousOutcome,
    AuthenticationError,
    CertificateError,
    Conflict,
    Error,
    NotFoundError,
    PermissionDenied,
    ProtocolError,
    RateLimited,
    ServerError,
    StatusError,
    TransportError,
    UsageError,
)
from wandb_ops.redaction import clean
from wandb_ops.transport.retry import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)

_THREE_CAUSES = (
    "Usual causes: a misspelt name, the wrong entity, or a key of an account that may not see it"
    " (`wandb-ops doctor` shows which account it is)."
)


@dataclass(frozen=True, slots=True)
class Context:
    """Who asked whom for what; the words every error begins with."""

    operation: str
    host: str
    where: str
    key_source: str
    own_origin: bool

    def say(self, what: str, attempts: int) -> str:
        """`what`, with the operation, the host and the number of attempts."""
        tries = f" (after {attempts} attempts)" if attempts > 1 else ""
        return f"{self.operation}: {self.host} {what}{tries}"


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that did not succeed, and the error it becomes when it is the last one."""

    reason: Reason
    summary: str
    error: Callable[[int], Error]
    status: int | None = None
    retry_after: float | None = None


def from_exception(exc: BaseException, context: Context, *, sent: bool) -> Failure:
    """What an exception of the HTTP libraries means."""
    chain = list(_chain(exc))
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        words = next(
            (each.verify_message for each in chain if isinstance(each, ssl.SSLCertVerificationError)), ""
        )
        text = f"shows a certificate that is not trusted: {clean(words, 200)}"
        return Failure(
            Reason.FINAL, text, lambda _n: CertificateError(context.say(text, 1), where=context.where)
        )
    if isinstance(exc, requests.RequestException) and isinstance(exc, ValueError):
        kind = type(exc).__name__
        return Failure(
            Reason.FINAL,
            kind,
            lambda _n: UsageError(
                f"{context.operation}: the request cannot be sent ({kind})", where=context.where
            ),
        )
    proxy = any(isinstance(each, urllib3.exceptions.ProxyError) for each in chain)
    cause = _cause(chain)
    if proxy:
        text = f"cannot be reached through the proxy: {cause}"
    elif not sent:
        text = f"cannot be reached: {cause}"
    else:
        text = f"gave no whole answer: {cause}"
    return Failure(
        Reason.LOST if sent else Reason.NOT_SENT,
        text,
        lambda n: TransportError(context.say(text, n), where=context.where),
    )


def _chain(exc: BaseException) -> list[BaseException]:
    """`exc` and everything it stands for: causes, contexts, and what the libraries pack into arguments."""
    seen: list[BaseException] = []
    todo: list[object] = [exc]
    while todo:
        each = todo.pop(0)
        if not isinstance(each, BaseException) or any(each is other for other in seen):
            continue
        seen.append(each)
        todo += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return seen


def _cause(chain: list[BaseException]) -> str:
    """The innermost system error in words of the system, not of the libraries."""
    for each in reversed(chain):
        if isinstance(each, (TimeoutError, urllib3.exceptions.TimeoutError)):
            return "timed out"
        if isinstance(each, socket.gaierror):
            return f"unknown host ({clean(each.strerror or '', 100)})"
        if isinstance(each, ssl.SSLError):
            return f"TLS failed ({clean(each.reason or type(each).__name__, 100)})"
        if isinstance(each, OSError) and each.strerror and not isinstance(each, requests.RequestException):
            return clean(each.strerror, 100).lower()
    for each in chain:
        if isinstance(each, (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead)):
            return "the answer ended early"
        if isinstance(each, (urllib3.exceptions.InvalidChunkLength, http.client.HTTPException)):
            return f"the answer is not HTTP ({type(each).__name__})"
    innermost = chain[-1]
    return str(innermost) if type(innermost).__name__ == "CutShort" else type(innermost).__name__


def from_status(
    status: int,
    words: str,
    context: Context,
    *,
    retry_after: float | None,
) -> Failure:
    """What an HTTP status that says no means."""
    said = f": {words}" if words else ""
    text = f"answered HTTP {status}{said}"
    where = context.where

    def error(attempts: int) -> Error:
        message = context.say(text, attempts)
        if status == 401:
            return _unauthorized(context, said, attempts)
        if status == 403:
            hint = (
                _THREE_CAUSES if context.own_origin else "A signed URL may have expired; ask for a new one."
            )
            return PermissionDenied(message, status=status, attempts=attempts, where=where, hint=hint)
        if status == 404:
            return NotFoundError(message, where=where, hint=_THREE_CAUSES if context.own_origin else "")
        if status == 409:
            return Conflict(message, status=status, attempts=attempts, where=where)
        if status == 429:
            wait = "" if retry_after is None else f"Wait {retry_after:.0f} s before the next try."
            return RateLimited(message, retry_after=retry_after, attempts=attempts, where=where, hint=wait)
        if status >= 500 and status != 501:
            return ServerError(message, status=status, attempts=attempts, where=where)
        return StatusError(message, status=status, attempts=attempts, where=where)

    return Failure(Reason.STATUS, text, error, status=status, retry_after=retry_after)


def _unauthorized(context: Context, said: str, attempts: int) -> AuthenticationError:
    if context.own_origin:
        message = (
            f"{context.operation}: {context.host} does not accept the API key from {context.key_source}{said}"
        )
        hint = "Check that the key belongs to this server and has not been revoked."
    else:
        message, hint = (
            context.say(f"answered HTTP 401{said}", 1),
            "The signed URL is not, or no longer, valid.",
        )
    return AuthenticationError(message, status=401, attempts=attempts, where=context.where, hint=hint)


def redirected(status: int, target: str, context: Context) -> Failure:
    """An API call that was answered with a redirect; body and key were not sent on."""
    text = f"answered HTTP {status} and pointed to {target}"
    return Failure(
        Reason.FINAL,
        text,
        lambda _n: ProtocolError(
            context.say(text, 1),
            where=context.where,
            hint="API calls are not redirected: set the base URL to the server's own address.",
        ),
        status=status,
    )


def malformed(message: str, hint: str, context: Context) -> Failure:
    """An answer with status 200 that W&B does not give."""
    return Failure(
        Reason.MALFORMED,
        message,
        lambda n: ProtocolError(
            context.say(f"gave a bad answer. {message}", n),
            where=context.where,
            hint=hint or "What stands between may have cut the answer, or be going down.",
            # Without a word on its cause it may pass; what has one (a login page) will be there again.
            passing=not hint,
        ),
        status=200,
    )


def ambiguous(failure: Failure, context: Context) -> AmbiguousOutcome:
    """A change that was sent, and whose fate is unknown."""
    return AmbiguousOutcome(
        f"{context.operation} was sent, but {context.host} {failure.summary}; it may have been carried out",
        where=context.where,
    )


def bare(error: Error) -> Error:
    """`error` without the trail of library frames and exceptions, which hold headers."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


__all__ = [
    "NETWORK_ERRORS",
    "Context",
    "Failure",
    "ambiguous",
    "bare",
    "from_exception",
    "from_status",
    "malformed",
    "redirected",
]
