"""Reading artifacts: types, collections, versions, their files and addresses, and who made and used them."""

from __future__ import annotations

import base64
import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.artifacts import artifactfiles, artifacts, artifactwrites
from wandb_ops.local.artifacts.artifactroutes import BLOBS, MANIFESTS
from wandb_ops.local.errors import Refused
from wandb_ops.local.names import encode_id
from wandb_ops.local.resolvers import artifactaccess, files
from wandb_ops.local.resolvers.artifactlists import select
from wandb_ops.local.resolvers.context import (
    Args,
    Context,
    Resolver,
    connection,
    cursor_number,
    number_cursor,
    page_size,
    required,
)
from wandb_ops.local.runs import runs
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from wandb_ops.local.artifacts.artifacts import Alias, Artifact, ArtifactType, Collection, Membership
    from wandb_ops.local.projects import Project

_KINDS = {artifacts.SEQUENCE: "ArtifactSequence", artifacts.PORTFOLIO: "ArtifactPortfolio"}


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file of a version, or its manifest, as the fields of a ``File`` want it."""

    fields: dict[str, Any]


def _reading(read: Callable[[sqlite3.Connection, Any, Args], Any]) -> Resolver:
    """A resolver that asks the database."""

    def resolve(source: Any, context: Context, args: Args) -> Any:
        with context.service.store.reading() as db:
            return read(db, source, args)

    return resolve


# -- files -------------------------------------------------------------------------------------------------


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


def _either(field: str) -> Resolver:
    """A field of an artifact's file, or of a run's."""
    of_run = files.RESOLVERS.get(f"File.{field}")

    def resolve(file: Any, context: Context, args: Args) -> Any:
        if isinstance(file, ArtifactFile):
            return file.fields.get(field)
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


# -- versions ----------------------------------------------------------------------------------------------


def _aliases(db: sqlite3.Connection, artifact: Artifact, args: Args) -> list[Alias]:
    found = artifacts.aliases(db, artifact=artifact.pk)
    name = args.get("artifactCollectionName")
    if not name:
        return found
    named = {alias.collection: artifacts.collection_by_pk(db, alias.collection) for alias in found}
    return [alias for alias in found if (owner := named[alias.collection]) is not None and owner.name == name]


def _version_index(db: sqlite3.Connection, artifact: Artifact, args: Args) -> int | None:
    name = args.get("artifactCollectionName")
    for place in artifacts.memberships(db, artifact=artifact.pk) if name else ():
        collection = artifacts.collection_by_pk(db, place.collection)
        if collection is not None and collection.name == name:
            return place.version_index
    return artifact.version_index


def _artifact_type(db: sqlite3.Connection, artifact: Artifact, _args: Args) -> ArtifactType:
    collection = artifacts.collection_by_pk(db, artifact.sequence)
    assert collection is not None
    return artifacts.type_by_pk(db, collection.type_pk)


def _tags(names: list[str]) -> list[dict[str, Any]]:
    return [
        {"id": encode_id("Tag", name.encode().hex()), "name": name, "tagCategoryName": "", "attributes": "{}"}
        for name in names
    ]


def _places(db: sqlite3.Connection, artifact: Artifact, _args: Args) -> dict[str, Any]:
    found = artifacts.memberships(db, artifact=artifact.pk)
    return connection([(place, number_cursor(place.pk)) for place in found], False)


def _used_by(db: sqlite3.Connection, artifact: Artifact, _args: Args) -> dict[str, Any]:
    found = [(runs.by_pk(db, run), number_cursor(link)) for run, link in artifacts.used_by(db, artifact.pk)]
    nodes = [(run, cursor) for run, cursor in found if run is not None]
    return connection(nodes, False, totalCount=len(nodes))


def _created_by(db: sqlite3.Connection, artifact: Artifact, _args: Args) -> runs.Run | None:
    return runs.by_pk(db, artifact.run) if artifact.run is not None else None


def _document(artifact: Artifact, aliases: list[Alias], version_index: int | None) -> dict[str, Any]:
    return {
        "versionIndex": version_index,
        "state": artifact.state,
        "digest": artifact.digest,
        "description": artifact.description,
        "size": artifact.size,
        "fileCount": artifact.file_count,
        "createdAt": artifact.created_at,
        "updatedAt": artifact.updated_at,
        "tags": artifact.tag_list,
        "tag": artifact.tag_list,
        "aliases": [alias.alias for alias in aliases],
        "alias": [alias.alias for alias in aliases],
    }


def _of_run(direction: str) -> Resolver:
    def read(db: sqlite3.Connection, run: runs.Run, args: Args) -> dict[str, Any]:
        found = artifacts.of_run(db, run.pk, direction)
        after, first = cursor_number(args.get("after"), 0), page_size(args, 50)
        behind = [item for item in found if item[1] > after]
        nodes = [(artifact, number_cursor(number)) for artifact, number, _ in behind[:first]]
        page = connection(nodes, len(behind) > first, totalCount=len(found))
        for edge, (_, _, used_as) in zip(page["edges"], behind, strict=False):
            edge["usedAs"] = [used_as] if used_as else []
        return page

    return _reading(read)


# -- collections -------------------------------------------------------------------------------------------


def _collections(db: sqlite3.Connection, found: list[Collection], args: Args) -> dict[str, Any]:
    def document(collection: Collection) -> dict[str, Any]:
        return {
            "name": collection.name,
            "description": collection.description,
            "createdAt": collection.created_at,
            "updatedAt": collection.updated_at,
            "type": collection.type,
            "tags": collection.tag_list,
            "tag": collection.tag_list,
            "aliases": [alias.alias for alias in artifacts.aliases(db, collection=collection.pk)],
        }

    return select([(each.pk, each) for each in found], args, document, default="+createdAt")


def _versions(db: sqlite3.Connection, collection: Collection, args: Args) -> dict[str, Any]:
    """Versions of a collection, newest first, each with its number there."""
    nodes = []
    for place in artifacts.memberships(db, collection=collection.pk):
        artifact = artifacts.by_pk(db, place.artifact)
        if artifact is not None:
            nodes.append((place.pk, (place, artifact)))

    def document(node: tuple[Membership, Artifact]) -> dict[str, Any]:
        place, artifact = node
        return _document(artifact, artifacts.aliases(db, membership=place.pk), place.version_index)

    page = select(nodes, args, document, default="-versionIndex")
    for edge in page["edges"]:
        place, edge["node"] = edge["node"]
        edge["version"] = f"v{place.version_index}"
    return page


def _memberships(db: sqlite3.Connection, collection: Collection, args: Args) -> dict[str, Any]:
    found = artifacts.memberships(db, collection=collection.pk)
    after, first = cursor_number(args.get("after"), 1 << 62), page_size(args, 50)
    behind = [place for place in found if place.pk < after]
    nodes = [(place, number_cursor(place.pk)) for place in behind[:first]]
    return connection(nodes, len(behind) > first)


def _collection_aliases(db: sqlite3.Connection, collection: Collection, args: Args) -> dict[str, Any]:
    after, first = cursor_number(args.get("after"), 0), page_size(args, 50)
    behind = [alias for alias in artifacts.aliases(db, collection=collection.pk) if alias.pk > after]
    return connection([(alias, number_cursor(alias.pk)) for alias in behind[:first]], len(behind) > first)


def _algorithm(db: sqlite3.Connection, collection: Collection, _args: Args) -> str | None:
    newest = artifacts.latest(db, collection.pk)
    return newest.algorithm if newest else None


def _collection_of(kind: str | None) -> Callable[[sqlite3.Connection, ArtifactType, Args], Collection | None]:
    def read(db: sqlite3.Connection, owner: ArtifactType, args: Args) -> Collection | None:
        found = artifacts.find_collection(db, owner.project_pk, args.get("name") or "")
        if found is None or found.type_pk != owner.pk or (kind and found.kind != kind):
            return None
        return found

    return read


def _named(db: sqlite3.Connection, project: int, name: str) -> Artifact | None:
    place = artifacts.membership_named(db, project, name)
    return artifacts.by_pk(db, place.artifact) if place else None


def _types(db: sqlite3.Connection, project: Project, args: Args) -> dict[str, Any]:
    after, first = cursor_number(args.get("after"), 0), page_size(args, 50)
    behind = [each for each in artifacts.types(db, project.pk) if each.pk > after]
    return connection([(each, number_cursor(each.pk)) for each in behind[:first]], len(behind) > first)


def _by_id(_source: Any, context: Context, args: Args) -> Artifact | None:
    with context.service.store.reading() as db:
        return artifactaccess.find_readable(context, db, required(args, "id"))


def _collection_by_id(_source: Any, context: Context, args: Args) -> Collection:
    with context.service.store.reading() as db:
        return artifactaccess.collection(context, db, required(args, "id"))


def _client_mapping(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    with context.service.store.reading() as db:
        found = artifactwrites.client_target(db, args.get("clientID") or "")
        known = found is not None and context.sees_project(db, found.project_pk)
    return {"serverID": found.id if found is not None and known else None}


def _project(db: sqlite3.Connection, collection: Collection, _args: Args) -> Project:
    return projects.by_pk(db, collection.project_pk)


def _field(read: Callable[[Any], Any]) -> Resolver:
    return lambda source, _context, _args: read(source)


_OF_COLLECTION: dict[str, Resolver] = {
    "id": _field(lambda collection: collection.id),
    "name": _field(lambda collection: collection.name),
    "description": _field(lambda collection: collection.description),
    "state": _field(lambda _collection: "READY"),
    "createdAt": _field(lambda collection: iso(collection.created_at)),
    "updatedAt": _field(lambda collection: iso(collection.updated_at)),
    "project": _reading(_project),
    "defaultArtifactType": _reading(
        lambda db, collection, _args: artifacts.type_by_pk(db, collection.type_pk)
    ),
    "tags": _field(
        lambda collection: connection(
            [(tag, number_cursor(place)) for place, tag in enumerate(_tags(collection.tag_list), 1)], False
        )
    ),
    "aliases": _reading(_collection_aliases),
    "artifacts": _reading(_versions),
    "artifactMemberships": _reading(_memberships),
    "artifactMembership": _reading(
        lambda db, collection, args: artifacts.membership_at(db, collection.pk, required(args, "aliasName"))
    ),
}

#: Names of the types that an interface or union stands for.
RESOLVE_TYPES: dict[str, Callable[[Any], str]] = {
    "ArtifactCollection": lambda collection: _KINDS[collection.kind],
    "Initiator": lambda source: "Run" if isinstance(source, runs.Run) else "User",
}

RESOLVERS: dict[str, Resolver] = {
    **{f"File.{field}": _either(field) for field in _FILE_FIELDS},
    **{f"{kind}.{name}": read for kind in _KINDS.values() for name, read in _OF_COLLECTION.items()},
    "ArtifactSequence.digestAlgorithm": _reading(_algorithm),
    "ArtifactSequence.latestArtifact": _reading(
        lambda db, collection, _args: artifacts.latest(db, collection.pk)
    ),
    "Query.artifact": _by_id,
    "Query.artifactCollection": _collection_by_id,
    "Query.clientIDMapping": _client_mapping,
    "Project.artifact": _reading(lambda db, project, args: _named(db, project.pk, required(args, "name"))),
    "Project.artifactType": _reading(
        lambda db, project, args: artifacts.find_type(db, project.pk, required(args, "name"))
    ),
    "Project.artifactTypes": _reading(_types),
    "Project.artifactCollection": _reading(
        lambda db, project, args: artifacts.find_collection(db, project.pk, required(args, "name"))
    ),
    "Project.artifactCollections": _reading(
        lambda db, project, args: _collections(db, artifacts.collections(db, project.pk), args)
    ),
    "Project.artifactCollectionMembership": _reading(
        lambda db, project, args: artifacts.membership_named(db, project.pk, required(args, "name"))
    ),
    "Run.inputArtifacts": _of_run(artifacts.INPUT),
    "Run.outputArtifacts": _of_run(artifacts.OUTPUT),
    "ArtifactType.id": _field(lambda found: found.id),
    "ArtifactType.name": _field(lambda found: found.name),
    "ArtifactType.description": _field(lambda found: found.description),
    "ArtifactType.createdAt": _field(lambda found: iso(found.created_at)),
    "ArtifactType.artifact": _reading(
        lambda db, owner, args: _named(db, owner.project_pk, required(args, "name"))
    ),
    "ArtifactType.artifactCollection": _reading(_collection_of(None)),
    "ArtifactType.artifactSequence": _reading(_collection_of(artifacts.SEQUENCE)),
    "ArtifactType.artifactCollections": _reading(
        lambda db, owner, args: _collections(db, artifacts.collections(db, owner.project_pk, owner.pk), args)
    ),
    "Artifact.id": _field(lambda artifact: artifact.id),
    "Artifact.artifactSequence": _reading(
        lambda db, artifact, _args: artifacts.collection_by_pk(db, artifact.sequence)
    ),
    "Artifact.versionIndex": _reading(_version_index),
    "Artifact.artifactType": _reading(_artifact_type),
    "Artifact.description": _field(lambda artifact: artifact.description),
    "Artifact.metadata": _field(lambda artifact: artifact.metadata),
    "Artifact.ttlDurationSeconds": _field(lambda artifact: artifact.ttl),
    "Artifact.ttlIsInherited": _field(lambda artifact: artifact.ttl == -1),
    "Artifact.tags": _field(lambda artifact: _tags(artifact.tag_list)),
    "Artifact.historyStep": _field(lambda artifact: artifact.history_step),
    "Artifact.state": _field(lambda artifact: artifact.state),
    "Artifact.size": _field(lambda artifact: artifact.size),
    "Artifact.storageBytes": _field(lambda artifact: artifact.storage_bytes),
    "Artifact.digest": _field(lambda artifact: artifact.digest),
    "Artifact.digestAlgorithm": _field(lambda artifact: artifact.algorithm),
    "Artifact.commitHash": _field(lambda artifact: artifact.commit_hash),
    "Artifact.fileCount": _field(lambda artifact: artifact.file_count),
    "Artifact.createdAt": _field(lambda artifact: iso(artifact.created_at)),
    "Artifact.updatedAt": _field(lambda artifact: iso(artifact.updated_at)),
    "Artifact.aliases": _reading(_aliases),
    "Artifact.artifactMemberships": _reading(_places),
    "Artifact.usedBy": _reading(_used_by),
    "Artifact.usedCount": _reading(lambda db, artifact, _args: len(artifacts.used_by(db, artifact.pk))),
    "Artifact.createdBy": _reading(_created_by),
    "Artifact.currentManifest": _manifest,
    "Artifact.files": _files,
    "Artifact.filesByManifestEntries": _by_entries,
    "ArtifactManifest.id": _field(lambda manifest: manifest.id),
    "ArtifactManifest.digest": _field(lambda manifest: manifest.digest),
    "ArtifactManifest.type": _field(lambda manifest: manifest.type),
    "ArtifactManifest.createdAt": _field(lambda manifest: iso(manifest.created_at)),
    "ArtifactManifest.artifact": _reading(lambda db, manifest, _args: artifacts.by_pk(db, manifest.artifact)),
    "ArtifactManifest.file": lambda manifest, context, _args: manifest_file(context, manifest),
    "ArtifactAlias.id": _field(lambda alias: alias.id),
    "ArtifactAlias.alias": _field(lambda alias: alias.alias),
    "ArtifactAlias.artifactCollection": _reading(
        lambda db, alias, _args: artifacts.collection_by_pk(db, alias.collection)
    ),
    "ArtifactCollectionMembership.id": _field(lambda place: place.id),
    "ArtifactCollectionMembership.versionIndex": _field(lambda place: place.version_index),
    "ArtifactCollectionMembership.createdAt": _field(lambda place: iso(place.created_at)),
    "ArtifactCollectionMembership.aliases": _reading(
        lambda db, place, _args: artifacts.aliases(db, membership=place.pk)
    ),
    "ArtifactCollectionMembership.artifactCollection": _reading(
        lambda db, place, _args: artifacts.collection_by_pk(db, place.collection)
    ),
    "ArtifactCollectionMembership.artifact": _reading(
        lambda db, place, _args: artifacts.by_pk(db, place.artifact)
    ),
    "ArtifactCollectionMembership.files": lambda place, context, args: _files(
        _reading(lambda db, source, _args: artifacts.by_pk(db, source.artifact))(place, context, {}),
        context,
        args,
    ),
}
