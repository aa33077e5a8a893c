"""Collections of artifacts and their types: what they are, and the versions in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.resolvers import artifactaccess
from wandb_ops.local.resolvers.artifactlists import select
from wandb_ops.local.resolvers.artifacts import tags, version_document, version_named
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
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from wandb_ops.local.artifacts.artifacts import Artifact, ArtifactType, Collection, Membership
    from wandb_ops.local.projects import Project

_KINDS = {artifacts.SEQUENCE: "ArtifactSequence", artifacts.PORTFOLIO: "ArtifactPortfolio"}


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
        return version_document(artifact, artifacts.aliases(db, membership=place.pk), place.version_index)

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


def _types(db: sqlite3.Connection, project: Project, args: Args) -> dict[str, Any]:
    after, first = cursor_number(args.get("after"), 0), page_size(args, 50)
    behind = [each for each in artifacts.types(db, project.pk) if each.pk > after]
    return connection([(each, number_cursor(each.pk)) for each in behind[:first]], len(behind) > first)


def _collection_by_id(_source: Any, context: Context, args: Args) -> Collection:
    with context.service.store.reading() as db:
        return artifactaccess.collection(context, db, required(args, "id"))


def _project(db: sqlite3.Connection, collection: Collection, _args: Args) -> Project:
    return projects.by_pk(db, collection.project_pk)


_OF_COLLECTION: dict[str, Resolver] = {
    "id": field(lambda collection: collection.id),
    "name": field(lambda collection: collection.name),
    "description": field(lambda collection: collection.description),
    "state": field(lambda _collection: "READY"),
    "createdAt": field(lambda collection: iso(collection.created_at)),
    "updatedAt": field(lambda collection: iso(collection.updated_at)),
    "project": reading(_project),
    "defaultArtifactType": reading(
        lambda db, collection, _args: artifacts.type_by_pk(db, collection.type_pk)
    ),
    "tags": field(
        lambda collection: connection(
            [(tag, number_cursor(place)) for place, tag in enumerate(tags(collection.tag_list), 1)], False
        )
    ),
    "aliases": reading(_collection_aliases),
    "artifacts": reading(_versions),
    "artifactMemberships": reading(_memberships),
    "artifactMembership": reading(
        lambda db, collection, args: artifacts.membership_at(db, collection.pk, required(args, "aliasName"))
    ),
}
#: Names of the types that an interface stands for.
RESOLVE_TYPES: dict[str, Callable[[Any], str]] = {
    "ArtifactCollection": lambda collection: _KINDS[collection.kind],
}

RESOLVERS: dict[str, Resolver] = {
    **{f"{kind}.{name}": read for kind in _KINDS.values() for name, read in _OF_COLLECTION.items()},
    "ArtifactSequence.digestAlgorithm": reading(_algorithm),
    "ArtifactSequence.latestArtifact": reading(
        lambda db, collection, _args: artifacts.latest(db, collection.pk)
    ),
    "Query.artifactCollection": _collection_by_id,
    "Project.artifactType": reading(
        lambda db, project, args: artifacts.find_type(db, project.pk, required(args, "name"))
    ),
    "Project.artifactTypes": reading(_types),
    "Project.artifactCollection": reading(
        lambda db, project, args: artifacts.find_collection(db, project.pk, required(args, "name"))
    ),
    "Project.artifactCollections": reading(
        lambda db, project, args: _collections(db, artifacts.collections(db, project.pk), args)
    ),
    "ArtifactType.id": field(lambda found: found.id),
    "ArtifactType.name": field(lambda found: found.name),
    "ArtifactType.description": field(lambda found: found.description),
    "ArtifactType.createdAt": field(lambda found: iso(found.created_at)),
    "ArtifactType.artifact": reading(
        lambda db, owner, args: version_named(db, owner.project_pk, required(args, "name"))
    ),
    "ArtifactType.artifactCollection": reading(_collection_of(None)),
    "ArtifactType.artifactSequence": reading(_collection_of(artifacts.SEQUENCE)),
    "ArtifactType.artifactCollections": reading(
        lambda db, owner, args: _collections(db, artifacts.collections(db, owner.project_pk, owner.pk), args)
    ),
}
