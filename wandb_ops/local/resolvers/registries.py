"""Registries of an organisation: finding them, their collections and versions; changing and deleting them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.accounts import provision
from wandb_ops.local.artifacts import artifacts, registries
from wandb_ops.local.artifacts.artifacts import PORTFOLIO
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import loads, loads_object
from wandb_ops.local.names import decode_id
from wandb_ops.local.resolvers.artifactlists import select
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required
from wandb_ops.local.resolvers.projects import page_of
from wandb_ops.local.runs.filters import compile_filter

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.artifacts.artifacts import Artifact, Collection, Membership
    from wandb_ops.local.projects import Project

Node = dict[str, Any]


def _project_document(project: Project) -> Node:
    return {
        "id": project.pk,
        "name": project.name,
        "description": project.description,
        "createdAt": project.created_at,
        "updatedAt": project.updated_at,
    }


def _collection_document(collection: Collection) -> Node:
    return {
        "id": collection.pk,
        "artifact_collection_id": collection.pk,
        "name": collection.name,
        "description": collection.description,
        "createdAt": collection.created_at,
        "updatedAt": collection.updated_at,
        "type": collection.type,
        "tag": collection.tag_list,
    }


def _version_document(db: sqlite3.Connection, place: Membership, artifact: Artifact) -> Node:
    return {
        "id": artifact.pk,
        "version": [f"v{place.version_index}", place.version_index],
        "tag": artifact.tag_list,
        "alias": [alias.alias for alias in artifacts.aliases(db, membership=place.pk)],
        "metadata": loads(artifact.metadata or "{}"),
        "createdAt": artifact.created_at,
        "updatedAt": artifact.updated_at,
    }


def _every_project(db: sqlite3.Connection, entity: str) -> list[Project]:
    return list(projects.page(db, entity, 0, 1 << 31))


def _matching(db: sqlite3.Connection, entity: str, filters: str | None) -> list[Project]:
    matches = compile_filter(loads_object(filters, "projectFilters"))
    return [each for each in _every_project(db, entity) if matches(_project_document(each))]


def _projects(source: Node, context: Context, args: Args) -> Node:
    name: str = source["name"]
    if not args.get("filters") and not args.get("order"):
        return page_of(name, context, args)
    with context.service.store.reading() as db:
        nodes = [(each.pk, each) for each in _every_project(db, name)]
    return select(nodes, args, _project_document, default="+createdAt")


def _collections(source: Node, context: Context, args: Args) -> Node:
    kinds = args.get("collectionTypes") or [PORTFOLIO]
    with context.service.store.reading() as db:
        nodes = [
            (found.pk, found)
            for project in _matching(db, source["name"], args.get("projectFilters"))
            for found in artifacts.collections(db, project.pk)
            if found.kind in kinds
        ]
    return select(nodes, args, _collection_document, default="+createdAt")


def _memberships(source: Node, context: Context, args: Args) -> Node:
    matches = compile_filter(loads_object(args.get("collectionFilters"), "collectionFilters"))
    with context.service.store.reading() as db:
        nodes = []
        for project in _matching(db, source["name"], args.get("projectFilters")):
            for collection in artifacts.collections(db, project.pk):
                if collection.kind != PORTFOLIO or not matches(_collection_document(collection)):
                    continue
                for place in artifacts.memberships(db, collection=collection.pk):
                    artifact = artifacts.by_pk(db, place.artifact)
                    if artifact is not None:
                        nodes.append((place.pk, (place, _version_document(db, place, artifact))))
    page = select(nodes, args, lambda node: dict(node[1]), default="+createdAt")
    for edge in page["edges"]:
        edge["node"] = edge["node"][0]
    return page


def _rename(_source: Any, context: Context, args: Args) -> Node:
    given = args["input"]
    entity = context.check_entity(required(given, "entityName"))
    with context.service.store.writing() as db:
        project = projects.get(db, entity, required(given, "oldProjectName"))
        project = registries.rename(db, context.now(), project, required(given, "newProjectName"))
    return {"inserted": False, "project": project}


def _delete(_source: Any, context: Context, args: Args) -> Node:
    parts = decode_id("Project", required(args["input"], "id"))
    if len(parts) != 2:
        raise Refused("invalid Project id")
    name, entity = parts
    if not context.sees(entity):
        raise NotFound(f"project {entity}/{name} not found")
    with context.service.store.writing() as db:
        gone = registries.delete_project(db, entity, name)
    provision.remove_blobs(context.service, gone)
    return {"success": True}


def _allows_all(project: Project, context: Context, _args: Args) -> bool:
    with context.service.store.reading() as db:
        return registries.allows_all(db, project.pk)


RESOLVERS: dict[str, Resolver] = {
    "Entity.projects": _projects,
    "Entity.artifactCollections": _collections,
    "Entity.artifactMemberships": _memberships,
    "Organization.advancedRegistryFeatures": lambda _source, _context, _args: {"advancedSearch": False},
    "Project.allowAllArtifactTypesInRegistry": _allows_all,
    "Mutation.renameProject": _rename,
    "Mutation.deleteModel": _delete,
}
