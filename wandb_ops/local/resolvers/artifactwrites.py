"""What becomes of versions and collections: changed, linked, tagged, moved, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.artifacts import artifactfiles, artifacts, artifactwrites, registries
from wandb_ops.local.artifacts.artifacts import SEQUENCE, Artifact, Collection
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.resolvers import artifactaccess
from wandb_ops.local.resolvers.artifacts import tags
from wandb_ops.local.resolvers.artifactstoring import project_name, remove_blobs
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from wandb_ops.local.service import Service


def _update(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        artifact = artifactaccess.writable(context, db, required(given, "artifactID"))
        artifactwrites.update(db, context.now(), artifact, given)
        artifact = artifacts.get(db, artifact.id)
    return {"artifact": artifact}


def _change_aliases(change: Callable[[sqlite3.Connection, Any, list[str]], None]) -> Resolver:
    def resolve(_source: Any, context: Context, args: Args) -> dict[str, Any]:
        given = args["input"]
        with context.service.store.writing() as db:
            artifact = artifactaccess.readable(context, db, required(given, "artifactID"))
            for alias in given["aliases"]:
                entity = context.check_entity(alias["entityName"])
                project = projects.get(db, entity, alias["projectName"])
                place = artifactwrites.place_in(db, project.pk, alias["artifactCollectionName"], artifact)
                change(db, place, [alias["alias"]])
        return {"success": True}

    return resolve


def _link(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        value = given.get("artifactID")
        if not value:
            known = artifactwrites.client_target(db, given.get("clientID") or "")
            if not isinstance(known, Artifact):
                raise NotFound("artifact not found")
            value = known.id
        artifact = artifactaccess.readable(context, db, value)
        if given.get("artifactPortfolioID"):
            portfolio = artifactaccess.collection(context, db, given["artifactPortfolioID"])
            project, name = portfolio.project_pk, portfolio.name
        else:
            entity = context.check_entity(given.get("entityName"))
            project = registries.target(db, context.now(), entity, project_name(given), context.account.pk).pk
            name = required(given, "artifactPortfolioName")
        registries.check_type(db, project, artifact)
        names = [alias["alias"] for alias in given.get("aliases") or ()]
        place = artifactwrites.link(db, context.now(), project, name, artifact, names)
    return {"versionIndex": place.version_index, "artifactMembership": place}


def _unlink(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        portfolio = artifactaccess.collection(context, db, given["artifactPortfolioID"])
        artifact = artifactaccess.readable(context, db, given["artifactID"])
        artifactwrites.unlink(db, portfolio, artifact)
    return {"artifactID": given["artifactID"], "success": True}


def _delete(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        artifact = artifactaccess.writable(context, db, required(given, "artifactID"))
        gone = artifactfiles.attached(db, artifact=artifact.pk)
        artifactwrites.delete(db, artifact, with_aliases=bool(given.get("deleteAliases")))
        gone += artifactfiles.unreferenced(db, artifact.project_pk)
    remove_blobs(context.service, artifact.project_pk, gone)
    return {"artifact": artifact}


def delete_made_by(db: sqlite3.Connection, run: int) -> dict[int, list[str]]:
    """Remove the versions that a run made; returns the blobs to remove after the commit, by project."""
    gone: dict[int, list[str]] = {}
    for artifact in artifactwrites.made_by(db, run):
        gone.setdefault(artifact.project_pk, []).extend(artifactfiles.attached(db, artifact=artifact.pk))
        artifactwrites.delete(db, artifact, with_aliases=True)
    for project, blobs in gone.items():
        blobs.extend(artifactfiles.unreferenced(db, project))
    return gone


def remove_made_by(service: Service, gone: dict[int, list[str]]) -> None:
    """Remove the contents that `delete_made_by` left without a row."""
    for project, blobs in gone.items():
        remove_blobs(service, project, blobs)


# -- collections -------------------------------------------------------------------------------------------


def _of_collection(
    field: str, change: Callable[[sqlite3.Connection, int, Collection, Args], None]
) -> Resolver:
    def resolve(_source: Any, context: Context, args: Args) -> dict[str, Any]:
        given = args["input"]
        with context.service.store.writing() as db:
            collection = artifactaccess.collection(context, db, required(given, field))
            change(db, context.now(), collection, given)
            collection = artifacts.collection_by_id(db, collection.id)
        return {"artifactCollection": collection}

    return resolve


def _delete_collection(field: str) -> Resolver:
    def resolve(_source: Any, context: Context, args: Args) -> dict[str, Any]:
        with context.service.store.writing() as db:
            collection = artifactaccess.collection(context, db, required(args["input"], field))
            if (collection.kind == SEQUENCE) != (field == "artifactSequenceID"):
                raise Refused(f"the collection is a {collection.kind.lower()}")
            gone = artifactfiles.attached(db, sequence=collection.pk)
            artifactwrites.delete_collection(db, collection)
            gone += artifactfiles.unreferenced(db, collection.project_pk)
        remove_blobs(context.service, collection.project_pk, gone)
        return {"artifactCollection": collection}

    return resolve


def _move(db: sqlite3.Connection, now: int, collection: Collection, given: Args) -> None:
    artifactwrites.move_collection(db, now, collection, required(given, "destinationArtifactTypeName"))


def _tag_collection(adding: bool) -> Resolver:
    def resolve(_source: Any, context: Context, args: Args) -> dict[str, Any]:
        given = args["input"]
        names = artifactwrites.tag_names(given.get("tags"))
        entity = context.check_entity(given["entityName"])
        with context.service.store.writing() as db:
            project = projects.get(db, entity, given["projectName"])
            collection = artifacts.find_collection(db, project.pk, given["artifactCollectionName"])
            if collection is None:
                raise NotFound("artifact collection not found")
            add, remove = (names, []) if adding else ([], names)
            artifactwrites.tag_collection(db, context.now(), collection, add, remove)
        return {"tags": tags(names), "success": True}

    return resolve


RESOLVERS: dict[str, Resolver] = {
    "Mutation.updateArtifact": _update,
    "Mutation.addAliases": _change_aliases(artifactwrites.add_aliases),
    "Mutation.deleteAliases": _change_aliases(artifactwrites.remove_aliases),
    "Mutation.linkArtifact": _link,
    "Mutation.unlinkArtifact": _unlink,
    "Mutation.deleteArtifact": _delete,
    "Mutation.updateArtifactSequence": _of_collection("artifactSequenceID", artifactwrites.change_collection),
    "Mutation.updateArtifactPortfolio": _of_collection(
        "artifactPortfolioID", artifactwrites.change_collection
    ),
    "Mutation.moveArtifactSequence": _of_collection("artifactSequenceID", _move),
    "Mutation.deleteArtifactSequence": _delete_collection("artifactSequenceID"),
    "Mutation.deleteArtifactPortfolio": _delete_collection("artifactPortfolioID"),
    "Mutation.createArtifactCollectionTagAssignments": _tag_collection(adding=True),
    "Mutation.deleteArtifactCollectionTagAssignments": _tag_collection(adding=False),
}
