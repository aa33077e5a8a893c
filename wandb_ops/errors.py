"""Every error of wandb-ops, in one tree.

::

    Error                          what `wandb.Error` names; catch this to catch all
    ├── UsageError (ValueError)    the call itself is wrong; nothing was sent
    │   ├── UsageTypeError (TypeError)  an argument of the wrong kind, or none at all
    │   └── CredentialsError       no usable key, or one that cannot be a key
    ├── CommError                  talking to W&B failed
    │   ├── TransportError         no answer: refused, DNS, reset
    │   │   ├── CertificateError       the server's certificate is not trusted
    │   │   └── DeadlineExceeded (TimeoutError)
    │   ├── ProtocolError          an answer, but not one of W&B's: HTML, cut JSON, a redirect
    │   │   ├── ResponseTooLarge
    │   │   └── CursorStuck        the server hands out the same page cursor twice
    │   ├── StatusError            an HTTP status that says no
    │   │   ├── AuthenticationError    401
    │   │   ├── PermissionDenied       403
    │   │   ├── Conflict               409
    │   │   ├── RateLimited            429, carries `retry_after` in seconds
    │   │   └── ServerError            5xx, carries `attempts`
    │   ├── GraphQLError           200 with `errors`; keeps the partial `data`
    │   │   └── UnsupportedServer  the server does not know the feature
    │   └── AmbiguousOutcome       a change may or may not have been made
    ├── NotFoundError (ValueError) the thing named does not exist, or this account may not see it
    │   └── EntryNotFound (KeyError)   no such file in an artifact
    ├── DataError                  what was read or is to be written cannot be right
    │   ├── IncompleteHistory      fewer rows than the server says exist
    │   │   └── IncompleteRunHistoryError  part of a history is not exported yet
    │   ├── ChecksumMismatch
    │   │   └── VerificationFailed (ValueError)  a folder is not the artifact that it was downloaded from
    │   ├── UnsafePath             a name from outside that would leave its folder
    │   └── RunConflict            the run is finished, or someone else is writing it
    ├── OutputError (OSError)      a result could not be written or read back: disk full, no permission
    └── OutcomeError               the thing waited for ended badly
        ├── RunFailed
        ├── QueueItemFailed
        └── WaitTimeout (TimeoutError)

Each says what failed, `where` (entity/project/run, page), whether a retry helps, and what to do.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar, Self


class Error(Exception):
    """Base of all errors of wandb-ops.

    Attributes:
        message: What failed, without place and advice.
        where: The entity/project/run, operation or file it failed at; may be empty.
        hint: What the reader can do; may be empty.
        retryable: Whether the same call may succeed later with nothing changed.
    """

    retryable: bool = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint or self.default_hint

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        advice = f" {self.hint}" if self.hint else ""
        retry = " A retry may help." if self.retryable else ""
        return f"{self.message.rstrip('.')}{place}.{retry}{advice}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments need a way back: orchestrators pickle errors between processes.
        return (_rebuild, (type(self), self.args, self.__dict__))

    @classmethod
    def _blank(cls) -> Self:
        return cls.__new__(cls)


def _rebuild(cls: type[Error], args: tuple[Any, ...], state: dict[str, Any]) -> Error:
    error = cls._blank()
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(Error, ValueError):
    """The call itself is wrong; nothing was sent."""


class UsageTypeError(UsageError, TypeError):
    """An argument is of the wrong kind, or missing where one is needed; nothing was sent."""


class CredentialsError(UsageError):
    """There is no usable API key."""

    default_hint = "Set WANDB_API_KEY, pass api_key=, or run `wandb-ops doctor` to see what was tried."


class CommError(Error):
    """Talking to W&B failed."""


class TransportError(CommError):
    """No answer came: refused, unknown host, reset, TLS."""

    retryable = True


class CertificateError(TransportError):
    """The server's certificate is not trusted, expired, or another host's; nothing was sent."""

    retryable = False
    default_hint = "For a private authority, name its bundle in REQUESTS_CA_BUNDLE."


class DeadlineExceeded(TransportError, TimeoutError):
    """The total time allowed for a call ran out; the cause is the last failure seen."""


class ProtocolError(CommError):
    """The answer is not one that W&B gives: HTML, truncated JSON, a redirect.

    A retry may help where the answer was empty or cut, and not where it was whole and no answer of W&B's.
    """

    def __init__(self, message: str, *, where: str = "", hint: str = "", passing: bool = False) -> None:
        super().__init__(message, where=where, hint=hint)
        self.retryable = passing


class ResponseTooLarge(ProtocolError):
    """The decoded answer is larger than allowed."""


class CursorStuck(ProtocolError):
    """The server handed out the same page cursor twice; going on would loop for ever."""


class StatusError(CommError):
    """An HTTP status that says no.

    Attributes:
        status: The HTTP status.
        attempts: How many times it was tried.
    """

    def __init__(
        self, message: str, *, status: int, attempts: int = 1, where: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.attempts = attempts


class AuthenticationError(StatusError):
    """401: the server does not accept the key."""


class PermissionDenied(StatusError):
    """403: the account may not do this."""

    default_hint = "Check the spelling of entity and project, and which account the key belongs to."


class Conflict(StatusError):
    """409: someone else changed it at the same time."""

    retryable = True


class RateLimited(StatusError):
    """429: too many requests.

    Attributes:
        retry_after: Seconds to wait before the next try, as the server said; None when it did not say.
    """

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int = 429,
        attempts: int = 1,
        where: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, status=status, attempts=attempts, where=where, hint=hint)
        self.retry_after = retry_after


class ServerError(StatusError):
    """5xx: the server failed, on every attempt."""

    retryable = True


class GraphQLError(CommError):
    """The server answered with `errors`.

    Attributes:
        messages: The server's messages, redacted and cut.
        data: The partial data that came along, never to be taken for the whole; may be None.
        transient: Whether the server's words mean a passing condition; then a retry may help.
    """

    def __init__(
        self,
        message: str,
        *,
        messages: tuple[str, ...] = (),
        data: dict[str, Any] | None = None,
        transient: bool = False,
        where: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.messages = messages
        self.data = data
        self.transient = self.retryable = transient


class UnsupportedServer(GraphQLError):
    """The server is older than the feature asked for."""

    default_hint = "Upgrade the W&B server, or leave the feature out."


class AmbiguousOutcome(CommError):
    """A change was sent and the answer was lost; it may or may not have been made."""

    default_hint = "Look whether the change is there before sending it again."


class NotFoundError(Error, ValueError):
    """The thing named does not exist, or this account may not see it."""

    default_hint = "Check the name, the entity, and which account the key belongs to (`wandb-ops doctor`)."


class EntryNotFound(NotFoundError, KeyError):
    """An artifact has no file or reference of that name."""

    default_hint = ""

    # KeyError would show the message in quotes.
    __str__ = Error.__str__


class DataError(Error):
    """What was read, or is to be written, cannot be right."""


class IncompleteHistory(DataError):
    """Fewer rows were read than the server says exist.

    Attributes:
        expected: Rows the server says exist.
        received: Rows read.
    """

    retryable = True

    def __init__(
        self, message: str, *, expected: int = 0, received: int = 0, where: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.expected = expected
        self.received = received


class IncompleteRunHistoryError(IncompleteHistory):
    """Part of a run's history is not in its exported files, as long as the run goes on, for example.

    W&B's name.
    """

    default_hint = (
        "Pass require_complete_history=False for what is exported; `scan_history()` reads every row."
    )


class ChecksumMismatch(DataError):
    """Bytes do not have the size or checksum that was announced."""

    retryable = True


class VerificationFailed(ChecksumMismatch, ValueError):
    """A folder is not the artifact that it was downloaded from."""

    retryable = False


class UnsafePath(DataError):
    """A name from outside would leave the folder it belongs to."""


class RunConflict(DataError):
    """The run is finished, or someone else is writing it."""


class OutputError(Error, OSError):
    """A result could not be written, or read back: disk full, no permission, a store that refuses.

    A retry may help unless the operating system's number says otherwise: what is not permitted, or not there,
    will not be so the next time either.
    """

    _LASTING: ClassVar[frozenset[int]] = frozenset(
        {
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.EISDIR,
            errno.ENOTDIR,
            errno.ENOENT,
            errno.ENAMETOOLONG,
        }
    )

    def __init__(
        self,
        message: str,
        *,
        number: int | None = None,
        where: str = "",
        hint: str = "",
        lasting: bool = False,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.errno = number
        self.retryable = not lasting and number not in self._LASTING


class OutcomeError(Error):
    """The thing waited for ended badly."""


class RunFailed(OutcomeError):
    """The run ended as failed, crashed, killed or preempted."""


class QueueItemFailed(OutcomeError):
    """The queue item failed, or was removed, before a run came of it."""


class WaitTimeout(OutcomeError, TimeoutError):
    """The thing waited for did not end in time."""

    retryable = True


__all__ = [
    "AmbiguousOutcome",
    "AuthenticationError",
    "CertificateError",
    "ChecksumMismatch",
    "CommError",
    "Conflict",
    "CredentialsError",
    "CursorStuck",
    "DataError",
    "DeadlineExceeded",
    "EntryNotFound",
    "Error",
    "GraphQLError",
    "IncompleteHistory",
    "IncompleteRunHistoryError",
    "NotFoundError",
    "OutcomeError",
    "OutputError",
    "PermissionDenied",
    "ProtocolError",
    "QueueItemFailed",
    "RateLimited",
    "ResponseTooLarge",
    "RunConflict",
    "RunFailed",
    "ServerError",
    "StatusError",
    "TransportError",
    "UnsafePath",
    "UnsupportedServer",
    "UsageError",
    "UsageTypeError",
    "VerificationFailed",
    "WaitTimeout",
]
