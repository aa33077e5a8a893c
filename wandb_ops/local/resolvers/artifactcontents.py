"""What is in a version of an artifact: its files with their addresses, and its manifests."""

from __future__ import annotations

import base64
import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.artifacts import artifactfiles, artifacts
from wandb_ops.local.artifacts.artifactroutes import BLOBS, MANIFESTS
from wandb_ops.local.errors import Refused
from wandb_ops.local.names import encode_id
from wandb_ops.local.resolvers import files
from wandb_ops.local.resolvers.context import (
    Args,
    Context,
    Resolver,
    connection,
    field,
    number_cursor,
    page_size,
    reading,
)
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.artifacts.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file of a version, or its manifest, as the fields of a ``File`` want it."""

    fields: dict[str, Any]


def entry_file(
    db: sqlite3.Connection, context: Context, artifact: Artifact, entry: artifactfiles.Entry
) -> ArtifactFile | None:
    """The file of an entry with the address of its content; None when the content is not there."""
    url = entry.ref
    if url is None:
        blob = artifactfiles.find_blob(db, artifact.project_pk, entry.digest)
        if blob is None:
            return None
        url = context.base_url + context.service.signer.path("GET", BLOBS, blob.pk, entry.name)
    fields: dict[str, Any] = {
        "id": encode_id("ArtifactFile", artifact.pk, entry.name.encode().hex()),
        "name": entry.name,
        "displayName": entry.name,
        "directUrl": url,
        "url": url,
        "uploadUrl": None,
        "uploadHeaders": [],
        "sizeBytes": entry.size,
        "mimetype": mimetypes.guess_type(entry.name)[0],
        "md5": entry.digest if entry.ref is None else None,
        "digest": entry.digest,
        "updatedAt": iso(artifact.created_at),
        "storagePath": f"artifacts/{artifact.pk}/{entry.name}",
        "artifact": artifact,
    }
    return ArtifactFile(fields)


def manifest_file(context: Context, manifest: artifactfiles.Manifest) -> ArtifactFile:
    """The file of a manifest, to read or to write."""

    def url(method: str) -> str:
        return context.base_url + context.service.signer.path(method, MANIFESTS, manifest.pk, manifest.name)

    fields = {
        "id": manifest.id,
        "name": manifest.name,
        "displayName": manifest.name,
        "directUrl": url("GET"),
        "url": url("GET"),
        "uploadUrl": url("PUT"),
        "uploadHeaders": [f"Content-MD5:{manifest.digest}", "Content-Type:application/json"],
        "sizeBytes": manifest.size or 0,
        "mimetype": "application/json",
        "md5": manifest.digest,
        "digest": manifest.digest,
        "updatedAt": iso(manifest.created_at),
        "storagePath": None,
        "artifact": None,
    }
    return ArtifactFile(fields)


def _name_cursor(name: str) -> str:
    return base64.b64encode(f"after:{name}".encode()).decode()


def _name_in(cursor: str | None) -> str:
    try:
        kind, _, name = base64.b64decode(cursor or "", validate=True).decode().partition(":")
    except ValueError:
        kind, name = "", ""
    if cursor and kind != "after":
        raise Refused("the cursor is not one of this list")
    return name


def _files(artifact: Artifact, context: Context, args: Args) -> dict[str, Any]:
    first = page_size(args, 50)
    names = [name for name in args.get("names") or () if name] or None
    after = _name_in(args.get("after"))
    with context.service.store.reading() as db:
        found = artifactfiles.entries(db, artifact.pk, names=names, after=after, first=first + 1)
        shown = [(entry_file(db, context, artifact, entry), entry.name) for entry in found[:first]]
        total = len(names) if names else artifactfiles.count_entries(db, artifact.pk)
    nodes = [(file, _name_cursor(name)) for file, name in shown if file is not None]
    return connection(nodes, len(found) > first, totalCount=total)


def _by_entries(artifact: Artifact, context: Context, args: Args) -> dict[str, Any]:
    with context.service.store.reading() as db:
        found: list[tuple[ArtifactFile, str]] = []
        for given in args.get("entries") or ():
            entry = artifactfiles.Entry(
                given["name"], given["digest"], given.get("size") or 0, given.get("ref"), None
            )
            file = entry_file(db, context, artifact, entry)
            if file is not None:
                found.append((file, number_cursor(len(found) + 1)))
    return connection(found, False, totalCount=len(found))


def _manifest(artifact: Artifact, context: Context, _args: Args) -> artifactfiles.Manifest | None:
    with context.service.store.reading() as db:
        return artifactfiles.current_manifest(db, artifact.pk)


def _either(name: str) -> Resolver:
    """A field of an artifact's file, or of a run's."""
    of_run = files.RESOLVERS.get(f"File.{name}")

    def resolve(file: Any, context: Context, args: Args) -> Any:
        if isinstance(file, ArtifactFile):
            return file.fields.get(name)
        return of_run(file, context, args) if of_run is not None else None

    return resolve


_FILE_FIELDS = [
    "id",
    "name",
    "displayName",
    "directUrl",
    "url",
    "uploadUrl",
    "uploadHeaders",
    "uploadMultipartUrls",
    "sizeBytes",
    "mimetype",
    "md5",
    "digest",
    "updatedAt",
    "storagePath",
    "artifact",
]
RESOLVERS: dict[str, Resolver] = {
    **{f"File.{name}": _either(name) for name in _FILE_FIELDS},
    "Artifact.currentManifest": _manifest,
    "Artifact.files": _files,
    "Artifact.filesByManifestEntries": _by_entries,
    "ArtifactManifest.id": field(lambda manifest: manifest.id),
    "ArtifactManifest.digest": field(lambda manifest: manifest.digest),
    "ArtifactManifest.type": field(lambda manifest: manifest.type),
    "ArtifactManifest.createdAt": field(lambda manifest: iso(manifest.created_at)),
    "ArtifactManifest.artifact": reading(lambda db, manifest, _args: artifacts.by_pk(db, manifest.artifact)),
    "ArtifactManifest.file": lambda manifest, context, _args: manifest_file(context, manifest),
    "ArtifactCollectionMembership.files": lambda place, context, args: _files(
        reading(lambda db, source, _args: artifacts.by_pk(db, source.artifact))(place, context, {}),
        context,
        args,
    ),
}
