"""The pages of artifacts: a project's collections, the versions of one, a version's files and lineage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import FileResponse, Response
from starlette.routing import Route

from wandb_ops.local import projects
from wandb_ops.local.artifacts import artifactfiles, artifacts
from wandb_ops.local.errors import NotFound
from wandb_ops.local.jsontext import loads
from wandb_ops.local.runs import runs
from wandb_ops.local.service import ARTIFACTS
from wandb_ops.local.web.access import account_of, entity_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from wandb_ops.local.accounts.accounts import Account
    from wandb_ops.local.artifacts.artifacts import Artifact, Collection, Membership
    from wandb_ops.local.service import Service

_ENTRIES_SHOWN = 500
_VERSIONS_SHOWN = 500


class ArtifactPages:
    """The artifact pages of one opened data folder; ``render`` makes a page of a template and its values."""

    def __init__(self, service: Service, render: Callable[..., Response]) -> None:
        self._service = service
        self._render = render

    def routes(self, guarded: Callable[[Callable[[Request], Response]], Any]) -> list[BaseRoute]:
        """The routes, each behind the door."""
        top = "/{entity}/{project}/artifacts"
        return [
            Route(top, guarded(self.collections)),
            Route(top + "/{type}/{name}", guarded(self.collection)),
            Route(top + "/{type}/{name}/{version}", guarded(self.version)),
            Route(top + "/{type}/{name}/{version}/files/{path:path}", guarded(self.file)),
        ]

    def collections(self, request: Request) -> Response:
        """A project's collections, by type."""
        entity, project = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as db:
            owner = projects.get(db, entity, project)
            rows = [(each, artifacts.latest(db, each.pk)) for each in artifacts.collections(db, owner.pk)]
            counts = {each.pk: len(artifacts.memberships(db, collection=each.pk)) for each, _latest in rows}
        rows.sort(key=lambda row: (row[0].type, row[0].name))
        return self._render("artifacts.html", entity=entity, project=project, rows=rows, counts=counts)

    def collection(self, request: Request) -> Response:
        """The versions of a collection, newest first."""
        entity, project = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as db:
            found = self._collection(db, request)
            places = artifacts.memberships(db, collection=found.pk)
            rows = [
                (place, version, _aliases(db, place))
                for place in places[:_VERSIONS_SHOWN]
                if (version := artifacts.by_pk(db, place.artifact)) is not None
            ]
        return self._render(
            "collection.html", entity=entity, project=project, collection=found, rows=rows, made=len(places)
        )

    def version(self, request: Request) -> Response:
        """A version: what it is, what is in it, where it comes from and who used it."""
        entity, project, account = entity_of(request), request.path_params["project"], account_of(request)
        with self._service.store.reading() as db:
            collection, place, version = self._version(db, request)
            entries = artifactfiles.entries(db, version.pk, names=None, after="", first=_ENTRIES_SHOWN)
            total = artifactfiles.count_entries(db, version.pk)
            source = artifacts.collection_by_pk(db, version.sequence)
            maker = _seen(db, account, version.run)
            users = [run for pk, _ in artifacts.used_by(db, version.pk) if (run := _seen(db, account, pk))]
            links = [
                linked
                for other in artifacts.memberships(db, artifact=version.pk)
                if (linked := artifacts.collection_by_pk(db, other.collection)) is not None
                and linked.pk != collection.pk
                and account.sees(linked.entity)
            ]
            aliases = _aliases(db, place)
        return self._render(
            "version.html",
            entity=entity,
            project=project,
            collection=collection,
            place=place,
            version=version,
            aliases=aliases,
            metadata=json.dumps(loads(version.metadata), indent=2) if version.metadata else "",
            entries=entries,
            total=total,
            source=source if source and account.sees(source.entity) else None,
            maker=maker,
            users=users,
            links=links,
        )

    def file(self, request: Request) -> Response:
        """One file of a version, to be downloaded."""
        name = request.path_params["path"]
        with self._service.store.reading() as db:
            _, _, version = self._version(db, request)
            found = artifactfiles.entries(db, version.pk, names=[name], after="", first=1)
            blob = (
                artifactfiles.find_blob(db, version.project_pk, found[0].digest)
                if found and found[0].ref is None
                else None
            )
        if blob is None:
            raise NotFound("the version has no such file here")
        return FileResponse(
            self._service.folder(ARTIFACTS, version.project_pk) / blob.blob,
            media_type="application/octet-stream",
            filename=name.rpartition("/")[2],
        )

    def _collection(self, db: sqlite3.Connection, request: Request) -> Collection:
        owner = projects.get(db, entity_of(request), request.path_params["project"])
        found = artifacts.find_collection(db, owner.pk, request.path_params["name"])
        if found is None or found.type != request.path_params["type"]:
            raise NotFound("there is no such artifact")
        return found

    def _version(self, db: sqlite3.Connection, request: Request) -> tuple[Collection, Membership, Artifact]:
        collection = self._collection(db, request)
        place = artifacts.membership_at(db, collection.pk, request.path_params["version"])
        version = artifacts.by_pk(db, place.artifact) if place else None
        if place is None or version is None:
            raise NotFound("there is no such version")
        return collection, place, version


def _aliases(db: sqlite3.Connection, place: Membership) -> list[str]:
    return [alias.alias for alias in artifacts.aliases(db, membership=place.pk)]


def _seen(db: sqlite3.Connection, account: Account, pk: int | None) -> runs.Run | None:
    """A run that exists for the account, or None."""
    run = runs.by_pk(db, pk) if pk is not None else None
    return run if run is not None and account.sees(run.entity) else None
