"""Where an artifact comes from and where it went: its collections, its links, and the runs around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from wandb_ops.protocol.documents import artifacts as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public import late
from wandb_ops.public.artifacts.paths import ArtifactPath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.artifacts.artifacts import Artifact
    from wandb_ops.public.artifacts.collections import ArtifactCollection
    from wandb_ops.public.runs.run import Run
    from wandb_ops.transport.session import Transport


class ArtifactLineage:
    """The members of `Artifact` that lead to other things."""

    @property
    def collection(self) -> ArtifactCollection:
        """The collection that it was found in."""
        me = _artifact(self)
        return late.collection_class(
            me._need_transport(), me.entity, me.project, me._name.partition(":")[0], me._type
        )

    @property
    def source_collection(self) -> ArtifactCollection:
        """The collection that it was logged to."""
        me = _artifact(self)
        return late.collection_class(
            me._need_transport(),
            me.source_entity,
            me.source_project,
            me._source()["name"],
            me._type,
        )

    @property
    def source_artifact(self) -> Artifact:
        """The artifact as it was logged: itself, or what a link leads to."""
        me = _artifact(self)
        if not me.is_link:
            return me
        path = ArtifactPath(me.source_entity, me.source_project, me.source_name)
        return me._by_path(me._need_transport(), path)

    @property
    def linked_at(self) -> str | None:
        """When a linked artifact was linked, ISO 8601; None for others."""
        me = _artifact(self)
        return me._linked_at if me.is_link else None

    @property
    def linked_artifacts(self) -> list[Artifact]:
        """The artifact in each collection that it is linked to; empty for a link."""
        me = _artifact(self)
        if me.is_link:
            return []
        transport = me._need_transport()
        data = execute(transport, documents.LINKED_ARTIFACTS, {"id": me.id}, where=me._where)
        places = ((data.get("artifact") or {}).get("artifactMemberships") or {}).get("edges") or ()
        found = []
        for place in (edge["node"] for edge in places if edge.get("node")):
            owner = place.get("artifactCollection") or {}
            if owner.get("__typename") != "ArtifactPortfolio" or not owner.get("project"):
                continue
            name = f"{owner['name']}:v{place['versionIndex']}"
            path = ArtifactPath(owner["project"]["entity"]["name"], owner["project"]["name"], name)
            found.append(me._of_node(transport, path, me._known(), membership=place))
        return found

    def used_by(self) -> list[Run]:
        """The runs that used it."""
        me = _artifact(self)
        transport = me._need_transport()
        data = execute(transport, documents.USED_BY, {"id": me.id}, where=me._where)
        edges = ((data.get("artifact") or {}).get("usedBy") or {}).get("edges") or ()
        return [_run(transport, edge["node"]) for edge in edges if (edge.get("node") or {}).get("project")]

    def logged_by(self) -> Run | None:
        """The run that logged it first; None when it is gone."""
        me = _artifact(self)
        transport = me._need_transport()
        data = execute(transport, documents.CREATED_BY, {"id": me.id}, where=me._where)
        node = (data.get("artifact") or {}).get("createdBy") or {}
        return _run(transport, node) if node.get("project") else None


def _artifact(part: ArtifactLineage) -> Artifact:
    return cast("Artifact", part)


def _run(transport: Transport, node: Mapping[str, Any]) -> Run:
    project = node["project"]
    return late.run_class(transport, project["entity"]["name"], project["name"], node["name"])
