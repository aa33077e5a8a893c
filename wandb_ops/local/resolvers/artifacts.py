"""Versions of artifacts: where they stand, what they are called, and who made and used them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.artifacts import artifacts, artifactwrites
from wandb_ops.local.names import encode_id
from wandb_ops.local.resolvers import artifactaccess
from wandb_ops.local.resolvers.context import (
    Args,
    Context,
    Resolver,
    connection,
    cursor_number,
    field,
    number_cursor,
    page_size,
    reading,
    required,
)
from wandb_ops.local.runs import runs
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from wandb_ops.local.artifacts.artifacts import Alias, Artifact, ArtifactType


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


def tags(names: list[str]) -> list[dict[str, Any]]:
    """The nodes of tags."""
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


def version_document(artifact: Artifact, aliases: list[Alias], version_index: int | None) -> dict[str, Any]:
    """What filters and orders see of a version."""
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

    return reading(read)


def version_named(db: sqlite3.Connection, project: int, name: str) -> Artifact | None:
    """The version that `collection:alias` names in a project."""
    place = artifacts.membership_named(db, project, name)
    return artifacts.by_pk(db, place.artifact) if place else None


def _by_id(_source: Any, context: Context, args: Args) -> Artifact | None:
    with context.service.store.reading() as db:
        return artifactaccess.find_readable(context, db, required(args, "id"))


def _client_mapping(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    with context.service.store.reading() as db:
        found = artifactwrites.client_target(db, args.get("clientID") or "")
        known = found is not None and context.sees_project(db, found.project_pk)
    return {"serverID": found.id if found is not None and known else None}


#: Names of the types that an interface or union stands for.
RESOLVE_TYPES: dict[str, Callable[[Any], str]] = {
    "Initiator": lambda source: "Run" if isinstance(source, runs.Run) else "User",
}

RESOLVERS: dict[str, Resolver] = {
    "Query.artifact": _by_id,
    "Query.clientIDMapping": _client_mapping,
    "Project.artifact": reading(
        lambda db, project, args: version_named(db, project.pk, required(args, "name"))
    ),
    "Project.artifactCollectionMembership": reading(
        lambda db, project, args: artifacts.membership_named(db, project.pk, required(args, "name"))
    ),
    "Run.inputArtifacts": _of_run(artifacts.INPUT),
    "Run.outputArtifacts": _of_run(artifacts.OUTPUT),
    "Artifact.id": field(lambda artifact: artifact.id),
    "Artifact.artifactSequence": reading(
        lambda db, artifact, _args: artifacts.collection_by_pk(db, artifact.sequence)
    ),
    "Artifact.versionIndex": reading(_version_index),
    "Artifact.artifactType": reading(_artifact_type),
    "Artifact.description": field(lambda artifact: artifact.description),
    "Artifact.metadata": field(lambda artifact: artifact.metadata),
    "Artifact.ttlDurationSeconds": field(lambda artifact: artifact.ttl),
    "Artifact.ttlIsInherited": field(lambda artifact: artifact.ttl == -1),
    "Artifact.tags": field(lambda artifact: tags(artifact.tag_list)),
    "Artifact.historyStep": field(lambda artifact: artifact.history_step),
    "Artifact.state": field(lambda artifact: artifact.state),
    "Artifact.size": field(lambda artifact: artifact.size),
    "Artifact.storageBytes": field(lambda artifact: artifact.storage_bytes),
    "Artifact.digest": field(lambda artifact: artifact.digest),
    "Artifact.digestAlgorithm": field(lambda artifact: artifact.algorithm),
    "Artifact.commitHash": field(lambda artifact: artifact.commit_hash),
    "Artifact.fileCount": field(lambda artifact: artifact.file_count),
    "Artifact.createdAt": field(lambda artifact: iso(artifact.created_at)),
    "Artifact.updatedAt": field(lambda artifact: iso(artifact.updated_at)),
    "Artifact.aliases": reading(_aliases),
    "Artifact.artifactMemberships": reading(_places),
    "Artifact.usedBy": reading(_used_by),
    "Artifact.usedCount": reading(lambda db, artifact, _args: len(artifacts.used_by(db, artifact.pk))),
    "Artifact.createdBy": reading(_created_by),
    "ArtifactAlias.id": field(lambda alias: alias.id),
    "ArtifactAlias.alias": field(lambda alias: alias.alias),
    "ArtifactAlias.artifactCollection": reading(
        lambda db, alias, _args: artifacts.collection_by_pk(db, alias.collection)
    ),
    "ArtifactCollectionMembership.id": field(lambda place: place.id),
    "ArtifactCollectionMembership.versionIndex": field(lambda place: place.version_index),
    "ArtifactCollectionMembership.createdAt": field(lambda place: iso(place.created_at)),
    "ArtifactCollectionMembership.aliases": reading(
        lambda db, place, _args: artifacts.aliases(db, membership=place.pk)
    ),
    "ArtifactCollectionMembership.artifactCollection": reading(
        lambda db, place, _args: artifacts.collection_by_pk(db, place.collection)
    ),
    "ArtifactCollectionMembership.artifact": reading(
        lambda db, place, _args: artifacts.by_pk(db, place.artifact)
    ),
}
