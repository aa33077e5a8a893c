"""What a link must not show: a version linked into a registry is read by people who do not see where it was
logged. Its collection there, its makers, users and other places are cut from the answers for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.resolvers import artifactaccess
from wandb_ops.local.resolvers.context import Args, Context, Resolver, connection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from wandb_ops.local.artifacts.artifacts import Artifact, Collection
    from wandb_ops.local.runs.runs import Run

#: Fields of a collection, and what they are where its project is hidden; its name and id stay.
_HIDDEN: dict[str, Callable[[], Any]] = {
    "description": lambda: None,
    "project": lambda: None,
    "tags": lambda: connection([], False),
    "aliases": lambda: connection([], False),
    "artifacts": lambda: connection([], False, totalCount=0),
    "artifactMemberships": lambda: connection([], False),
    "artifactMembership": lambda: None,
    "latestArtifact": lambda: None,
    "digestAlgorithm": lambda: None,
}


def _of_collection(resolver: Resolver, hidden: Callable[[], Any]) -> Resolver:
    def resolve(collection: Collection, context: Context, args: Args) -> Any:
        with context.service.store.reading() as db:
            seen = context.sees_project(db, collection.project_pk)
        return resolver(collection, context, args) if seen else hidden()

    return resolve


def _edges(resolver: Resolver, seen: Callable[[Context, sqlite3.Connection, Any], bool]) -> Resolver:
    """A connection without the edges whose nodes are hidden."""

    def resolve(source: Any, context: Context, args: Args) -> Any:
        found = resolver(source, context, args)
        with context.service.store.reading() as db:
            edges = [edge for edge in found["edges"] if seen(context, db, edge["node"])]
        cut = len(found["edges"]) - len(edges)
        if "totalCount" in found:
            return {**found, "edges": edges, "totalCount": found["totalCount"] - cut}
        return {**found, "edges": edges}

    return resolve


def _sees_collection(context: Context, db: sqlite3.Connection, pk: int) -> bool:
    found = artifacts.collection_by_pk(db, pk)
    return found is not None and context.sees_project(db, found.project_pk)


def _sees_artifact(context: Context, db: sqlite3.Connection, artifact: Artifact) -> bool:
    return artifactaccess.find_readable(context, db, artifact.id) is not None


def _of_run(resolver: Resolver, direction: str) -> Resolver:
    cut = _edges(resolver, _sees_artifact)

    def resolve(run: Run, context: Context, args: Args) -> Any:
        found = cut(run, context, args)
        with context.service.store.reading() as db:
            every = artifacts.of_run(db, run.pk, direction)
            total = sum(1 for artifact, *_ in every if _sees_artifact(context, db, artifact))
        return {**found, "totalCount": total}

    return resolve


def _aliases(resolver: Resolver) -> Resolver:
    def resolve(artifact: Artifact, context: Context, args: Args) -> Any:
        found = resolver(artifact, context, args)
        with context.service.store.reading() as db:
            return [alias for alias in found if _sees_collection(context, db, alias.collection)]

    return resolve


def _created_by(resolver: Resolver) -> Resolver:
    def resolve(artifact: Artifact, context: Context, args: Args) -> Any:
        run = resolver(artifact, context, args)
        return run if run is not None and context.sees(run.entity) else None

    return resolve


def _used_count(used_by: Resolver) -> Resolver:
    return lambda artifact, context, _args: len(used_by(artifact, context, {})["edges"])


def guarded(resolvers: Mapping[str, Resolver]) -> dict[str, Resolver]:
    """The resolvers of artifacts, with what is hidden cut from their answers."""
    found = dict(resolvers)
    for kind in ("ArtifactSequence", "ArtifactPortfolio"):
        for field, hidden in _HIDDEN.items():
            if f"{kind}.{field}" in found:
                found[f"{kind}.{field}"] = _of_collection(found[f"{kind}.{field}"], hidden)
    used_by = _edges(found["Artifact.usedBy"], lambda context, _db, run: context.sees(run.entity))
    return {
        **found,
        "Artifact.aliases": _aliases(found["Artifact.aliases"]),
        "Artifact.artifactMemberships": _edges(
            found["Artifact.artifactMemberships"],
            lambda context, db, place: _sees_collection(context, db, place.collection),
        ),
        "Artifact.usedBy": used_by,
        "Artifact.usedCount": _used_count(used_by),
        "Artifact.createdBy": _created_by(found["Artifact.createdBy"]),
        "Run.inputArtifacts": _of_run(found["Run.inputArtifacts"], artifacts.INPUT),
        "Run.outputArtifacts": _of_run(found["Run.outputArtifacts"], artifacts.OUTPUT),
    }
