"""`Transport`: every byte to and from W&B goes through here.

What can be asked for: JSON, files down, files up. How a call is made, retried and given up is in `calls`.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from wandb_ops.errors import (
    ChecksumMismatch,
    Error,
)
from wandb_ops.transport.body import (
    error_body,
    parse_json,
    parse_object,
    read_all,
    read_chunks,
)
from wandb_ops.transport.calls import SLOWEST_RATE, Call, Caller, LocalFailure
from wandb_ops.transport.retry import (
    Kind,
    RetryPolicy,
)
from wandb_ops.transport.urls import absolute, check_file_url, shown_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import requests

    from wandb_ops.settings import Settings
    from wandb_ops.transport.wire import Deadline

T = TypeVar("T")


class Transport(Caller):
    """Speaks HTTP to one W&B server. Thread-safe, fork-safe, and picklable (without its key and sockets).

    Args:
        settings: Server, key, timeout.
        policy: Bounds of retrying.
        clock: A monotonic clock in seconds.
        sleep: Waits that many seconds.
        rng: Source of the jitter.
        max_json_bytes: Largest decoded JSON answer.
        connect_timeout: Seconds to make a connection.
        read_timeout: Seconds between two arrivals of bytes.
        wall: POSIX time, only for `Retry-After` dates of servers that send no `Date`.
    """

    def __repr__(self) -> str:
        return f"Transport({shown_origin(self.settings.base_url)})"

    def __reduce__(self) -> tuple[Any, ...]:
        limits = {
            "max_json_bytes": self._max_json_bytes,
            "connect_timeout": self._connect_timeout,
            "read_timeout": self._read_timeout,
        }
        return (_revive, (type(self), self.settings, self._policy, limits))

    def close(self) -> None:
        """Close idle connections. The transport stays usable and opens new ones."""
        process, self._process = self._process, None
        if process is not None and process.pid == os.getpid():
            process.session.close()

    # -- the calls -------------------------------------------------------------------------------------

    def post(
        self,
        path: str,
        body: bytes,
        *,
        read: Callable[[bytes, str], T],
        kind: Kind,
        operation: str,
        where: str,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        refine: Callable[[int, bytes], Error | None] | None = None,
        max_bytes: int | None = None,
    ) -> T:
        """POST JSON to `path`; what `read(body, content_type)` makes of the answer.

        `read` may raise `Malformed` (tried again twice) and a transient `GraphQLError` (retried by kind).
        An answer for which `max_bytes` are allowed may also take the time that so many bytes need.
        """
        call = Call(
            "POST",
            self.settings.base_url + path,
            operation,
            where,
            kind,
            body=body,
            headers={"Content-Type": "application/json", **(headers or {})},
            refine=refine,
        )
        return self._run(call, self._json_reader(read, where, max_bytes), timeout)

    def post_json(
        self,
        path: str,
        body: bytes,
        *,
        kind: Kind,
        operation: str,
        where: str,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """POST JSON to `path` of the API; the decoded body of the answer, which is a whole JSON object.

        Args:
            path: Begins with a slash; appended to `base_url`.
            body: JSON, already encoded (and compressed, if `headers` say so).
            kind: What sending it twice would do; decides about retries.
            operation: Its name, for errors and logs.
            where: entity/project/run, for errors.
            headers: More headers.
            timeout: Seconds in total, retries included; else `Settings.timeout`.

        Raises:
            TransportError: No answer; `DeadlineExceeded` when time ran out.
            ProtocolError: An answer that W&B does not give: HTML, truncated JSON, a redirect.
            StatusError: The server said no; `RateLimited`, `AuthenticationError` and others by status.
            NotFoundError: 404.
            AmbiguousOutcome: A mutation was sent and its answer lost.
        """

        def read(answer: bytes, content_type: str) -> bytes:
            parse_object(answer, content_type=content_type)
            return answer

        return self.post(
            path,
            body,
            read=read,
            kind=kind,
            operation=operation,
            where=where,
            headers=headers,
            timeout=timeout,
        )

    def get_json(
        self, path: str, *, operation: str, where: str, params: Mapping[str, str] | None = None
    ) -> bytes:
        """GET JSON from `path` of the API; the decoded body, which is whole JSON. Errors as `post_json`."""

        def read(answer: bytes, content_type: str) -> bytes:
            parse_json(answer, content_type=content_type)
            return answer

        url = self.settings.base_url + path
        call = Call("GET", url, operation, where, Kind.QUERY, params=params)
        return self._run(call, self._json_reader(read, where), None)

    def download(
        self,
        url: str,
        sink: BinaryIO,
        *,
        where: str,
        expected_size: int | None = None,
        expected_md5_b64: str | None = None,
        max_bytes: int | None = None,
        check: Callable[[Mapping[str, str]], None] | None = None,
    ) -> int:
        """Write the file at `url` to `sink`, whole and verified; returns its size in bytes.

        The key goes along only to the API's own origin. Up to 5 redirects are followed, over https and
        without credentials. A failed try starts over: `sink` is cut back to where it was.

        Args:
            url: Absolute, or relative to `base_url`.
            sink: Seekable, opened for binary writing.
            where: For errors.
            expected_size: Bytes; another size is an error.
            expected_md5_b64: MD5 as W&B writes it; another one is an error.
            max_bytes: Refuse more, counted after decompression.
            check: Looks at the answer's headers before its body is read, and raises when they are wrong.

        Raises:
            ChecksumMismatch: Size or MD5 differ, on every try.
            ResponseTooLarge: More than `max_bytes`.
            OSError: Writing to `sink` failed.
            CommError: As `post_json`.
        """
        start = sink.tell()

        def read(response: requests.Response, deadline: Deadline) -> int:
            sink.seek(start)
            sink.truncate()
            if check is not None:
                check(response.headers)
            digest, size = None if expected_md5_b64 is None else hashlib.md5(usedforsecurity=False), 0
            for piece in read_chunks(response, cap=max_bytes, where=where):
                size += len(piece)
                if expected_size is not None and size > expected_size:
                    break
                if digest is not None:
                    digest.update(piece)
                deadline.extend(len(piece) / SLOWEST_RATE)
                try:
                    sink.write(piece)
                except OSError as exc:
                    raise LocalFailure(exc) from None
            if expected_size is not None and size != expected_size:
                more = "more than " if size > expected_size else ""
                shown = expected_size if more else size
                raise ChecksumMismatch(
                    f"The file has {more}{shown:,} bytes where {expected_size:,} were announced", where=where
                )
            if digest is not None and b64encode(digest.digest()).decode() != expected_md5_b64:
                raise ChecksumMismatch("The file's MD5 is not the one announced", where=where)
            return size

        # Files are stored as they are; asking for compression would hide their size.
        call = Call(
            "GET",
            absolute(self.settings.base_url, url),
            "download",
            where,
            Kind.QUERY,
            headers={"Accept-Encoding": "identity"},
            follow=True,
        )
        return self._run(call, read, None)

    def upload(
        self, url: str, data: bytes | Path, *, headers: Mapping[str, str] | None = None, where: str
    ) -> None:
        """PUT `data` to `url`: the same bytes at the same place, so it is retried freely.

        The key goes along only to the API's own origin; redirects are refused. Errors as `post_json`.

        Args:
            url: Absolute, or relative to `base_url`.
            data: Bytes, or a file.
            headers: What the server asked to send along.
            where: For errors.
        """
        target = check_file_url(
            absolute(self.settings.base_url, url), base_url=self.settings.base_url, where=where
        )
        call = Call("PUT", target, "upload", where, Kind.UPSERT, body=data, headers=headers or {})
        self._run(call, lambda response, _deadline: error_body(response), None)

    def _json_reader(
        self, read: Callable[[bytes, str], T], where: str, max_bytes: int | None = None
    ) -> Callable[[requests.Response, Deadline], T]:
        def reader(response: requests.Response, deadline: Deadline) -> T:
            if max_bytes is None:
                body = read_all(response, cap=self._max_json_bytes, where=where)
            else:
                whole = bytearray()
                for piece in read_chunks(response, cap=max_bytes, where=where):
                    deadline.extend(len(piece) / SLOWEST_RATE)
                    whole += piece
                body = bytes(whole)
            return read(body, response.headers.get("Content-Type", ""))

        return reader


def _revive(
    cls: type[Transport], settings: Settings, policy: RetryPolicy, limits: dict[str, Any]
) -> Transport:
    return cls(settings, policy=policy, **limits)


__all__ = ["Transport"]
