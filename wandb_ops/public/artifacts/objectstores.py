"""References into object stores, through fsspec: what lies there, and getting it as it was.

One piece of code for all stores; what differs is what a store tells of an object: S3 an ETag and a version,
Google Cloud Storage an ETag, a generation and an MD5, Azure an ETag. The keys are those of the environment.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from wandb_ops.errors import ChecksumMismatch, DataError, Error, NotFoundError, UsageError
from wandb_ops.protocol.manifest import Entry
from wandb_ops.redaction import safe_url

if TYPE_CHECKING:
    from typing import BinaryIO

logger = logging.getLogger("wandb_ops.public")

#: Schemes that lead into an object store.
STORES = frozenset({"s3", "gs", "gcs", "az", "abfs", "abfss"})
#: How fsspec's file systems write a version behind a path.
_VERSION_MARKS = {"s3": "?versionId=", "gs": "#", "gcs": "#"}
_PIECE = 1 << 20


def _split(uri: str) -> tuple[str, str | None]:
    """An address without its version, and the version: `?versionId=` for S3, `#generation` for Google."""
    if urlsplit(uri).scheme == "s3":
        place, mark, query = uri.rpartition("?")
        version = parse_qs(query).get("versionId") if mark else None
        return (place, version[0]) if version else (uri, None)
    place, mark, fragment = uri.rpartition("#")
    return (place, fragment) if mark and fragment.isdigit() else (uri, None)


def _open(uri: str, version: str | None = None) -> tuple[Any, str]:
    """The file system of an address, and the path in it, of one version of the object."""
    from wandb_ops.tensorboard.sources import open_store

    filesystem, path = open_store(uri)
    mark = _VERSION_MARKS.get(urlsplit(uri).scheme)
    if version is None or mark is None:
        return filesystem, path
    import fsspec  # type: ignore[import-untyped]  # it ships no types

    return fsspec.filesystem(urlsplit(uri).scheme, version_aware=True), f"{path}{mark}{version}"


def _identity(info: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """What tells one content of an object from another, and what else to note."""
    tag = next((str(info[name]).strip('"') for name in ("ETag", "etag") if info.get(name)), None)
    md5 = info.get("md5Hash")
    extra: dict[str, Any] = {}
    if info.get("ETag"):
        extra["etag"] = tag
    version = info.get("VersionId") or info.get("generation")
    if version not in (None, "", "null"):
        extra["versionID"] = str(version)
    if md5:
        extra["md5"] = str(md5)
    return tag or (str(md5) if md5 else None), extra


def store_entries(uri: str, name: str | None, max_objects: int, where: str) -> list[Entry]:
    """The entries for an object, or for each of the objects below a prefix.

    Args:
        uri: An object's address, with `?versionId=` (S3) or `#generation` (Google) for an earlier one; or
            that of a folder.
        name: Its name in the artifact; for a folder, the folder in the artifact.
        max_objects: Objects that a folder may have.
        where: For errors.

    Raises:
        UsageError: There are more objects, or the library for this kind of store is not installed.
        NotFoundError: Nothing is there.
        CommError: The store did not answer, or said no.
    """
    place, version = _split(uri)
    with _Words(place):
        filesystem, path = _open(place, version)
        try:
            info = filesystem.info(path)
        except FileNotFoundError:
            info = {"type": "directory"}
        if info["type"] != "directory":
            return [_entry(info, name or PurePosixPath(urlsplit(place).path).name, place, version)]
        if version is not None:
            raise FileNotFoundError(path)
        found = _below(_with_versions(filesystem, place), path) or _below(filesystem, path)
    scheme = urlsplit(place).scheme
    if not found:
        raise NotFoundError(f"There is nothing at {safe_url(uri)}", where=where)
    if len(found) > max_objects:
        raise UsageError(
            f"{safe_url(uri)} has {len(found)} objects, {max_objects} are allowed",
            where=where,
            hint="Pass a larger max_objects=.",
        )
    prefix = f"{name}/" if name else ""
    return [
        _entry(one, f"{prefix}{key.removeprefix(path).lstrip('/')}", f"{scheme}://{key.lstrip('/')}", None)
        for key, one in found
    ]


def _with_versions(filesystem: Any, uri: str) -> Any:
    """A file system that lists the versions of objects too; S3's has to be asked for that."""
    if urlsplit(uri).scheme != "s3":
        return filesystem
    import fsspec

    return fsspec.filesystem("s3", version_aware=True)


def _below(filesystem: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """The objects below a folder, sorted by name; empty ones that only mark a folder left out."""
    try:
        found = filesystem.find(path, detail=True)
    except PermissionError:
        if not getattr(filesystem, "version_aware", False):
            raise
        return []  # listing versions is a right of its own
    return [
        (key, info)
        for key, info in sorted(found.items())
        if info["type"] == "file" and not key.endswith("/") and key.lstrip("/") != path.strip("/")
    ]


def _entry(info: dict[str, Any], name: str, uri: str, version: str | None) -> Entry:
    digest, extra = _identity(info)
    if version is not None:
        extra["versionID"] = version
    size = info.get("size")
    return Entry(
        path=name, digest=digest or uri, size=int(size) if size is not None else None, ref=uri, extra=extra
    )


def fetch_object(entry: Entry, sink: BinaryIO, where: str) -> None:
    """Write what a reference leads to, if it is still what it was, or the store kept that version.

    The store's ETag, the size, and an MD5 where the store tells one are compared.

    Raises:
        NotFoundError: It is gone.
        ChecksumMismatch: Something else is there now.
        CommError: The store did not answer, or said no.
    """
    ref = entry.ref or ""
    with _Words(ref):
        filesystem, path = _as_it_was(entry, where)
        source = filesystem.open(path, "rb")
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        while piece := _read(source, ref):
            digest.update(piece)
            size += len(piece)
            sink.write(piece)
    finally:
        source.close()
    told = entry.extra.get("md5")
    if entry.size is not None and size != entry.size:
        raise ChecksumMismatch(f"{size:,} bytes came where {entry.size:,} were noted", where=where)
    if told and base64.b64encode(digest.digest()).decode() != told:
        raise ChecksumMismatch("The MD5 of what came is not the one noted", where=where)
    if entry.digest == ref:
        logger.info("%s: added without a checksum; what came cannot be checked", where)


def _read(source: Any, ref: str) -> bytes:
    with _Words(ref):
        found: bytes = source.read(_PIECE)
    return found


def _as_it_was(entry: Entry, where: str) -> tuple[Any, str]:
    """Where the object lies that was noted: the newest one, or an earlier version."""
    ref, version = entry.ref or "", entry.extra.get("versionID")
    filesystem, path = _open(ref)
    try:
        info: dict[str, Any] | None = filesystem.info(path)
    except FileNotFoundError:
        info = None
    if version and (info is None or not _agrees(entry, info)):
        filesystem, path = _open(ref, version)
        info = filesystem.info(path)
    if info is None:
        raise FileNotFoundError(path)
    if not _agrees(entry, info):
        raise ChecksumMismatch(
            f"The reference leads to {safe_url(ref)}, which is not what it was",
            where=where,
            hint="It was overwritten, and the store keeps no earlier versions.",
        )
    return filesystem, path


def _agrees(entry: Entry, info: dict[str, Any]) -> bool:
    """Whether an object is the one that was noted, as far as that can be told."""
    if entry.digest == entry.ref:  # added without a look at it
        return True
    now, _ = _identity(info)
    return now == entry.digest


class _Words:
    """What a store's library raises, as errors of ours."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from wandb_ops.tensorboard.sources import store_error

        if isinstance(error, Exception) and not isinstance(error, Error):
            if isinstance(error, (KeyError, TypeError, AttributeError)):
                raise DataError(
                    f"{safe_url(self._uri)}: the store's library answered unexpectedly:"
                    f" {type(error).__name__} {error}"
                ) from error
            raise store_error(error, safe_url(self._uri)) from None


__all__ = ["STORES", "fetch_object", "store_entries"]
