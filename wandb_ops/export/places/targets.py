"""Where a file goes: a local path, a file:// URL, or any URL that fsspec knows.

One small interface over all of them: look at what is there (`open`), and publish a new file whole or not at
all (`publish`). Local files go through `replace_file`; object stores make an object appear by one put, so the
file is finished on local disk first and then sent; any other remote file system gets the file under a
temporary name and a rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast
from urllib.parse import unquote, urlsplit

from wandb_ops.errors import Error, OutputError, UsageError
from wandb_ops.export.places.atomic import Discard, check_target, replace_file
from wandb_ops.export.places.places import Place
from wandb_ops.redaction import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where a put is one step: the object is there with all its bytes, or not there.
_OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2", "tos", "cos", "obs", "hf", "memory"}
)
_STORE_LIBRARIES = frozenset(
    {"botocore", "aiobotocore", "s3fs", "gcsfs", "google", "azure", "adlfs", "aiohttp", "paramiko"}
)
_REMOTE = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+)://")


class Target(Protocol):
    """A place for one file."""

    uri: str  # what to tell people: an absolute path or a URL, without userinfo and query
    name: str  # the file's own name

    def exists(self) -> bool:
        """Whether a file stands there."""
        ...

    def open(self) -> BinaryIO:
        """The file that stands there, readable and seekable."""
        ...

    def publish(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """A writable file that becomes the target when the block ends without an error."""
        ...

    def sibling(self, name: str) -> Target:
        """The place of another file in the same folder."""
        ...


class Folder(Protocol):
    """A place for many files."""

    uri: str

    def names(self) -> list[str]:
        """Names of the files in it, sorted; none when it does not exist."""
        ...

    def file(self, name: str) -> Target:
        """The place of one file in it."""
        ...


def target(to: str | os.PathLike[str]) -> Target:
    """The place that `to` names.

    Args:
        to: A path, a URL, or a path object of fsspec's kind (`UPath`, Airflow's `ObjectStoragePath`).

    Raises:
        UsageError: `to` names no file.
        Error: The library for that kind of URL is not installed.
    """
    if re.split(r"[?#]", str(to), maxsplit=1)[0].endswith(("/", os.sep)):
        raise UsageError(f"{shown(to)!r} is a folder", hint="Name a file, such as history.parquet.")
    local, filesystem, path = _locate(to)
    if local is not None:
        check_target(local)
        return _LocalTarget(local)
    return _RemoteTarget(filesystem, path, shown(to))


def folder(to: str | os.PathLike[str]) -> Folder:
    """The folder that `to` names; it need not exist yet."""
    local, filesystem, path = _locate(to)
    if local is not None:
        if local.exists() and not local.is_dir():
            raise UsageError("Not a folder", where=str(local), hint="Name a folder: files are named by time.")
        return _LocalFolder(local)
    return _RemoteFolder(filesystem, path.rstrip("/"), shown(to).rstrip("/"))


@contextmanager
def explained(place: str, action: str) -> Iterator[None]:
    """Turn what an operating system or a store says into an `OutputError` that names the place."""
    try:
        yield
    except Error:
        raise
    except OSError as error:
        raise OutputError(
            f"Cannot {action}: {clean(error.strerror or str(error)) or type(error).__name__}",
            number=error.errno,
            where=place,
            hint="What stood there before is untouched." if action == "write" else "",
        ) from error
    except Exception as error:
        if not _is_stores_own(error):
            raise
        raise OutputError(
            f"Cannot {action}: {clean(f'{type(error).__name__}: {error}')}",
            where=place,
            hint="Check the store's address and the credentials in the environment.",
            lasting="Credentials" in type(error).__name__,
        ) from None  # the library's traceback is long, and says nothing more


def _is_stores_own(error: Exception) -> bool:
    """Whether an object store's library made the error: each has a tree of its own."""
    return type(error).__module__.partition(".")[0] in _STORE_LIBRARIES


def measure(file: BinaryIO) -> tuple[int, str]:
    """(bytes, SHA-256) of an open file."""
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while block := file.read(1 << 20):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


class _LocalTarget:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.uri = str(path)
        self.name = path.name

    def exists(self) -> bool:
        return self._path.exists()

    def open(self) -> BinaryIO:
        return cast("BinaryIO", self._path.open("rb"))

    def publish(self) -> contextlib.AbstractContextManager[BinaryIO]:
        return replace_file(self._path)

    def sibling(self, name: str) -> Target:
        check_target(self._path.with_name(name))
        return _LocalTarget(self._path.with_name(name))


class _LocalFolder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.uri = str(path)

    def names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self._path) if entry.is_file())
        except FileNotFoundError:
            return []

    def file(self, name: str) -> Target:
        check_target(self._path / name)
        return _LocalTarget(self._path / name)


class _RemoteTarget:
    def __init__(self, filesystem: Any, path: str, uri: str) -> None:
        self._fs = filesystem
        self._path = path
        self.uri = uri
        self.name = path.rsplit("/", 1)[-1]

    def exists(self) -> bool:
        # Stores cache listings; whether a file is there must be asked anew.
        self._fs.invalidate_cache()
        try:
            # `isfile` and `exists` call a store that cannot be reached, or refuses, an empty one.
            return str(self._fs.info(self._path).get("type")) == "file"
        except FileNotFoundError:
            return False

    def open(self) -> BinaryIO:
        return cast("BinaryIO", self._fs.open(self._path, "rb"))

    @contextmanager
    def publish(self) -> Iterator[BinaryIO]:
        descriptor, name = tempfile.mkstemp(prefix="wandb-ops-")
        try:
            with os.fdopen(descriptor, "w+b") as out:
                yield out
            self._send(name)
        except Discard:
            pass
        finally:
            Path(name).unlink(missing_ok=True)

    def sibling(self, name: str) -> Target:
        path, uri = self._path.rpartition("/")[0], self.uri.rpartition("/")[0]
        return _RemoteTarget(self._fs, f"{path}/{name}" if path else name, f"{uri}/{name}")

    def _send(self, local: str) -> None:
        if _OBJECT_STORES.intersection(_protocols(self._fs)):
            self._fs.put_file(local, self._path)
            return
        parent, _, name = self._path.rpartition("/")
        if parent:
            self._fs.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/.{name}.{secrets.token_hex(6)}.wandb-ops-part".lstrip(
            "/" if not parent else ""
        )
        try:
            self._fs.put_file(local, temporary)
            self._fs.mv(temporary, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.rm_file(temporary)
            raise


class _RemoteFolder:
    def __init__(self, filesystem: Any, path: str, uri: str) -> None:
        self._fs = filesystem
        self._path = path
        self.uri = uri

    def names(self) -> list[str]:
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(self._path, detail=True)
        except FileNotFoundError:
            return []
        return sorted(entry["name"].rsplit("/", 1)[-1] for entry in entries if entry.get("type") == "file")

    def file(self, name: str) -> Target:
        return _RemoteTarget(self._fs, f"{self._path}/{name}", f"{self.uri}/{name}")


def _locate(to: str | os.PathLike[str]) -> tuple[Path | None, Any, str]:
    """(local path, None, "") or (None, fsspec file system, path in it)."""
    text = str(to)
    if not text or "\0" in text:
        raise UsageError(f"{text!r} names no file")
    filesystem = getattr(to, "fs", None)
    if filesystem is not None and not isinstance(to, Path):
        text = str(getattr(to, "path", text))
        if "file" not in _protocols(filesystem):
            return None, filesystem, text
    scheme = _REMOTE.match(text)
    if scheme is None:
        return _absolute(Path(text).expanduser()), None, ""
    if scheme[1].lower() in ("file", "local"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(
                f"{text!r} names another machine", hint="A file URL has three slashes: file:///…"
            )
        return _absolute(Path(unquote(parts.path))), None, ""
    try:
        import fsspec  # type: ignore[import-untyped]  # it ships no types
    except ImportError as error:
        raise Error(
            f"Writing to {scheme[1]}:// needs fsspec", hint="Install it with: pip install fsspec"
        ) from error
    try:
        options = to.for_files if isinstance(to, Place) else {}
        filesystem, path = fsspec.core.url_to_fs(text, **options)
    except ImportError as error:
        raise Error(f"Writing to {scheme[1]}:// needs another library", hint=f"{error}.") from error
    except TypeError as error:
        raise UsageError(f"storage_options do not fit {scheme[1]}://: {clean(str(error))}") from None
    except ValueError as error:
        raise UsageError(f"{shown(text)!r} is no URL that files can be written to") from error
    return None, filesystem, str(path)


def _protocols(filesystem: Any) -> tuple[str, ...]:
    named = filesystem.protocol
    return (named,) if isinstance(named, str) else tuple(named)


def _absolute(path: Path) -> Path:
    """`path` from the root, with its last name not followed: a link there is for `check_target` to see."""
    whole = path if path.is_absolute() else Path.cwd() / path
    if ".." in whole.parts:
        return whole.parent.resolve() / whole.name
    return whole


def shown(to: str | os.PathLike[str]) -> str:
    """`to` as people may see it: a URL without user, password, query and fragment."""
    url = str(to)
    match = _REMOTE.match(url)
    if match is None:
        return url
    place = re.split(r"[?#]", url[match.end() :], maxsplit=1)[0]
    host, slash, rest = place.partition("/")
    return f"{match[0]}{host.rpartition('@')[2]}{slash}{rest}"
