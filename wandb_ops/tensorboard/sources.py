"""Where event bytes come from: local files, objects in a store that fsspec knows, and gzip files of either.

Every source is read in ranges, so memory holds a chunk of a file and never the file. Stores take their
credentials and endpoints from their own environment (`AWS_ENDPOINT_URL`, `FSSPEC_S3_…`), not from here.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from wandb_ops.errors import CommError, Error, NotFoundError, TransportError, UsageError
from wandb_ops.redaction import redact, safe_url

if TYPE_CHECKING:
    from wandb_ops.tensorboard.records import Source

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://|([A-Za-z][A-Za-z0-9+.-]+)::")
_GZIP_WBITS = 31  # zlib's number for a gzip stream with header and checksum
_PIECE = 1 << 20  # compressed bytes per read
_HEAD = 64 << 10  # uncompressed bytes kept from the beginning, which are looked at again


class LocalFile:
    """A file of this machine. Opened per read: a folder may hold thousands."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer at the end.

        Raises:
            NotFoundError: The file is gone.
            UsageError: This user may not read it.
            TransportError: The disk did not give it.
        """
        parts = []
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(offset)
                while size > 0:
                    part = file.read(size)
                    if not part:
                        break
                    parts.append(part)
                    size -= len(part)
        except OSError as error:
            raise local_error(error, self.path) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)


class RemoteFile:
    """An object in a store, read by ranges."""

    def __init__(self, filesystem: Any, path: str, size: int) -> None:
        self._filesystem = filesystem
        self.path = path
        self._size = size

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer at the end.

        Raises:
            TransportError: The store did not answer as it should.
            NotFoundError: The object is gone.
        """
        end = min(offset + size, self._size)
        if offset >= end:
            return b""
        try:
            found = self._filesystem.cat_file(self.path, start=offset, end=end)
        except Exception as error:  # every store has its own errors
            raise store_error(error, self.path) from error
        if len(found) > end - offset:  # a web server that gives no ranges; the object may have grown
            found = found[offset:end]
        if len(found) < end - offset:
            raise TransportError(f"the store gave {len(found)} of {end - offset} bytes of {self.path!r}")
        return bytes(found)


class GzipFile:
    """The uncompressed bytes of a gzip file, of one or several members.

    Read forwards, from where the last read began: that is what a reader of records does. Going back begins
    anew, except within the first bytes.
    """

    def __init__(self, raw: Source) -> None:
        self._raw = raw
        self._head = b""
        self._rewind()

    def _rewind(self) -> None:
        self._raw_at = 0
        self._inflate = zlib.decompressobj(_GZIP_WBITS)
        self._start = 0  # position of the first byte in `_buffer`
        self._buffer = b""
        self._at_end = False
        self.whole = False  # the stream ended as a gzip stream does

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset` of the uncompressed content; fewer at the end."""
        if size <= 0 or offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if offset < self._start:
            self._rewind()
        parts = []
        missing = size
        while missing > 0:
            skipped = min(max(0, offset - self._start), len(self._buffer))
            self._start, self._buffer = self._start + skipped, self._buffer[skipped:]
            if self._buffer:
                parts.append(self._buffer)
                missing -= len(self._buffer)
                offset += len(self._buffer)
                self._start, self._buffer = offset, b""
            elif self._at_end:
                break
            else:
                self._more()
        found = b"".join(parts)
        # What was handed out stays: the next read begins at a record that this one may have cut.
        self._start, self._buffer = offset - len(found), found
        return found[:size]

    def measure(self) -> int:
        """The number of uncompressed bytes that the file gives; `whole` says whether that is all of it."""
        self._rewind()
        while not self._at_end:
            self._more()
            self._start, self._buffer = self._start + len(self._buffer), b""
        size = self._start
        whole = self.whole
        self._rewind()
        self.whole = whole
        return size

    def _more(self) -> None:
        """Inflate one more piece behind what the buffer has."""
        pending = self._inflate.unconsumed_tail
        if not pending:
            pending = self._raw.read(self._raw_at, _PIECE)
            self._raw_at += len(pending)
            if not pending:
                self._at_end = True
                return
        found = b""
        try:
            found = self._inflate.decompress(pending, 4 * _PIECE)
            while self._inflate.eof and not self._at_end:
                self.whole = True
                rest = self._inflate.unused_data.lstrip(b"\0")  # some tools pad with zeros
                if not rest:
                    rest = self._raw.read(self._raw_at, _PIECE)
                    self._raw_at += len(rest)
                if rest.strip(b"\0"):
                    self._inflate, self.whole = zlib.decompressobj(_GZIP_WBITS), False
                    found += self._inflate.decompress(rest, 4 * _PIECE)
                else:
                    self._at_end = True
        except zlib.error:
            self._at_end = True
        if len(self._head) < _HEAD and self._start + len(self._buffer) == len(self._head):
            self._head += found[: _HEAD - len(self._head)]
        self._buffer += found


def is_remote(root_dir: str | os.PathLike[str]) -> bool:
    """Whether `root_dir` names a folder in a store, by URL or as a path object of fsspec's kind."""
    filesystem = getattr(root_dir, "fs", None)
    if filesystem is not None and not isinstance(root_dir, Path):
        return "file" not in _protocols(filesystem)
    scheme = _SCHEME.match(str(root_dir))
    return scheme is not None and scheme[0].lower() not in {"file://", "local://"}


def local_path(root_dir: str | os.PathLike[str]) -> Path:
    """The folder of this machine that a path or a file:// URL names."""
    text = str(root_dir)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Path(text)
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(f"{text!r} names another machine", hint="A file URL has three slashes: file:///logs")
    return Path(unquote(parts.path))


def readable(name: str) -> str:
    r"""A file's name as text; bytes of it that are no UTF-8 become \\xNN."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def open_store(root_dir: str | os.PathLike[str]) -> tuple[Any, str]:
    """The fsspec file system of a remote folder, and the folder's path in it.

    Raises:
        UsageError: The library for this kind of store is not installed, or the URL is none.
    """
    filesystem = getattr(root_dir, "fs", None)
    if filesystem is not None:
        return filesystem, str(getattr(root_dir, "path", root_dir)).rstrip("/")
    text = str(root_dir)
    try:
        import fsspec  # type: ignore[import-untyped]  # it ships no types

        filesystem, path = fsspec.core.url_to_fs(text)
    except ImportError as error:
        raise UsageError(
            f"{safe_url(text)} needs a library that is not installed: {error}",
            hint='For s3://: pip install "wandb-ops[remote]". Other stores bring their own fsspec package.',
        ) from error
    except ValueError as error:
        raise UsageError(f"{safe_url(text)!r} is no URL that files can be read from") from error
    return filesystem, str(path).rstrip("/")


def local_error(error: OSError, path: Path) -> Error:
    """An error of this machine's disk as one of ours."""
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"{str(path)!r} is gone", hint="It may have been cleaned away.")
    if isinstance(error, PermissionError):
        return UsageError(
            f"{str(path)!r} may not be read", hint="Sync as a user who may read the event files."
        )
    return TransportError(f"the disk did not give {str(path)!r}: {error.strerror or error}")


def store_error(error: Exception, path: str) -> Error:
    """An error of some store's library as one of ours."""
    said = redact(f"{type(error).__name__}: {error}").splitlines()[0][:300]
    if isinstance(error, Error):
        return error
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"the store has no {path!r}", hint="It may have been cleaned away.")
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return CommError(
            f"the store refused {path!r}: {said}", hint="Check the credentials in its environment."
        )
    return TransportError(f"the store did not give {path!r}: {said}")


def _protocols(filesystem: Any) -> tuple[str, ...]:
    named = filesystem.protocol
    return (named,) if isinstance(named, str) else tuple(named)
