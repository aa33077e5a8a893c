"""References: addresses in an artifact instead of contents, and what tells that a content changed."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from wandb_ops.errors import UsageError
from wandb_ops.protocol.manifest import Entry, md5_of_bytes, md5_of_file
from wandb_ops.public.artifacts.addresses import ARTIFACT_SCHEME, local_path, plain_path
from wandb_ops.public.artifacts.entries import ArtifactManifestEntry
from wandb_ops.public.artifacts.objectstores import STORES, store_entries
from wandb_ops.transport.foreign import look_at

_MAX_OBJECTS = 10_000_000


def files_below(folder: Path) -> list[tuple[Path, str]]:
    """The files of a folder and their names relative to it, links followed, in a fixed order."""
    found = [
        (Path(place) / name, (Path(place) / name).relative_to(folder).as_posix())
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
    ]
    return sorted(found, key=lambda item: item[1])


def reference_entries(
    uri: ArtifactManifestEntry | str,
    name: str | None,
    *,
    checksum: bool,
    max_objects: int | None,
    where: str,
) -> list[Entry]:
    """The entries that a reference makes: one, or one for each file of a local folder.

    Raises:
        UsageError: It is no address, or one that leads nowhere or to too many files.
        CommError: Its server did not answer, or said no.
    """
    if isinstance(uri, ArtifactManifestEntry):
        source = uri._entry
        leads_on = source.ref is not None and source.ref.startswith(f"{ARTIFACT_SCHEME}://")
        ref = str(source.ref) if leads_on else uri.ref_url()
        return [Entry(path=name or PurePosixPath(uri.path).name, digest=source.digest, size=0, ref=ref)]
    address = urlsplit(uri)
    if not address.scheme:
        raise UsageError(f"{uri!r} is no address; a local file is file://...", where=where)
    if address.scheme == "file":
        return _local(uri, name, checksum, max_objects or _MAX_OBJECTS, where)
    if address.scheme == ARTIFACT_SCHEME:
        raise UsageError(
            "A reference to an artifact's file is made from its entry",
            where=where,
            hint="Pass artifact.get_entry(name) instead of the address.",
        )
    if checksum and address.scheme in {"http", "https"}:
        return [_web(uri, name, where)]
    if checksum and address.scheme in STORES:
        return store_entries(uri, name, max_objects or _MAX_OBJECTS, where)
    return [Entry(path=name or PurePosixPath(address.path).name, digest=uri, ref=uri)]


def _local(uri: str, name: str | None, checksum: bool, max_objects: int, where: str) -> list[Entry]:
    path = local_path(uri)

    def entry(place: Path, ref: str, shown: str) -> Entry:
        digest = md5_of_file(place) if checksum else md5_of_bytes(place.resolve().as_uri().encode())
        return Entry(path=shown, digest=digest, size=place.stat().st_size, ref=ref)

    if path.is_file():
        return [entry(path, uri, name or path.name)]
    if not path.is_dir():
        raise UsageError(f"The reference leads to {str(path)!r}, which is not there", where=where)
    found = files_below(path)
    if len(found) > max_objects:
        raise UsageError(
            f"The folder has {len(found)} files, {max_objects} are allowed",
            where=where,
            hint="Pass a larger max_objects=.",
        )
    prefix = f"{name}/" if name else ""
    written = str if path == plain_path(uri) else quote  # as the folder's own address is
    return [entry(place, f"{uri.rstrip('/')}/{written(shown)}", f"{prefix}{shown}") for place, shown in found]


def _web(uri: str, name: str | None, where: str) -> Entry:
    """What a web server tells of a file without sending it: its tag, if it has one, and its size."""
    found = look_at(uri, where=f"{where}: reference")
    tag, length = found.get("ETag"), found.get("Content-Length", "")
    return Entry(
        path=name or PurePosixPath(urlsplit(uri).path).name,
        digest=tag.strip('"') if tag else uri,
        size=int(length) if length.isdigit() and not found.get("Content-Encoding") else None,
        ref=uri,
        extra={"etag": tag} if tag else {},
    )
