"""Changing a logged artifact: saving edits, deleting it, linking it elsewhere and unlinking it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import AmbiguousOutcome, NotFoundError, UsageError
from wandb_ops.protocol.documents import artifacts as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.artifacts.attributes import ArtifactAttributes, check_labels, check_metadata
from wandb_ops.public.artifacts.paths import ArtifactPath, parse_artifact_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_ops.public.artifacts.artifacts import Artifact
    from wandb_ops.transport.session import Transport


class ArtifactChanges(ArtifactAttributes):
    """The members of `Artifact` that change one on the server."""

    def save(self, project: str | None = None, settings: Any = None) -> None:  # noqa: ARG002 - W&B's arguments
        """Save changes to aliases, tags, metadata, description and ttl. Only what was changed is sent.

        Args:
            project: Accepted as W&B does, which makes a run there for an artifact that is not logged.
            settings: Accepted as W&B does.

        Raises:
            UsageError: It is not logged yet; or the description was removed, which W&B does not do.
        """
        transport = self._need_transport()
        saved = self._saved
        before, now = set(saved["aliases"]), set(self._aliases)
        self._send_aliases(transport, documents.ADD_ALIASES, [a for a in self._aliases if a not in before])
        self._send_aliases(transport, documents.DELETE_ALIASES, sorted(before - now))
        changes: dict[str, Any] = {}
        if self._description != saved["description"]:
            if self._description is None:
                raise UsageError("A description can be emptied ('') but not removed", where=self._where)
            changes["description"] = self._description
        if json.dumps(self._metadata, sort_keys=True) != saved["metadata"]:
            changes["metadata"] = json.dumps(check_metadata(self._metadata))
        if self._ttl_seconds != saved["ttl"]:
            changes["ttlDurationSeconds"] = self._ttl_seconds
        added = [tag for tag in check_labels("tags", self._tags) if tag not in saved["tags"]]
        removed = [tag for tag in saved["tags"] if tag not in self._tags]
        if added or removed:
            changes["tagsToAdd"] = [{"tagName": tag} for tag in added]
            changes["tagsToDelete"] = [{"tagName": tag} for tag in removed]
        if changes:
            given = {"artifactID": self.id, **changes}
            data = execute(transport, documents.UPDATE_ARTIFACT, {"input": given}, where=self._where)
            node = (data.get("updateArtifact") or {}).get("artifact")
            if node:
                self._node = node
        self._remember()

    def _send_aliases(self, transport: Transport, operation: Any, names: list[str]) -> None:
        if not names:
            return
        place = {
            "entityName": self._entity,
            "projectName": self._project,
            "artifactCollectionName": self._name.partition(":")[0],
        }
        given = {
            "artifactID": self.id,
            "aliases": [{**place, "alias": name} for name in check_labels("aliases", names)],
        }
        execute(transport, operation, {"input": given}, where=self._where)

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version with its files, for good; a linked one is only unlinked.

        Args:
            delete_aliases: Delete its aliases, too. Else a version that has aliases is not deleted.

        Raises:
            GraphQLError: It has aliases.
        """
        if self.is_link:
            self.unlink()
            return
        transport = self._need_transport()
        given = {"artifactID": self.id, "deleteAliases": delete_aliases}
        try:
            execute(transport, documents.DELETE_ARTIFACT, {"input": given}, where=self._where)
        except AmbiguousOutcome:
            data = execute(transport, documents.ARTIFACT_STATE, {"id": self.id}, where=self._where)
            if data.get("artifact") and data["artifact"].get("state") != "DELETED":
                raise

    def link(self, target_path: str, aliases: Iterable[str] | str | None = None) -> Artifact:
        """Link the version into another collection, made when absent; returns it as it is found there.

        Args:
            target_path: `entity/project/collection`, or a shorter path with this artifact's entity and
                project.
            aliases: Aliases that it is to have there.
        """
        transport = self._need_transport()
        target = parse_artifact_path(target_path, self.source_entity, self.source_project)
        if ":" in target.name:
            raise UsageError("An artifact is linked to a collection, not to a version", where=str(target))
        given = {
            "artifactID": self.id,
            "artifactPortfolioName": target.name,
            "entityName": target.entity,
            "projectName": target.project,
            "aliases": [
                {"artifactCollectionName": target.name, "alias": alias}
                for alias in check_labels("aliases", aliases or [])
            ],
        }
        data = execute(transport, documents.LINK_ARTIFACT, {"input": given}, where=str(target))
        index = (data.get("linkArtifact") or {}).get("versionIndex")
        if index is None:
            raise NotFoundError("The server does not tell where the artifact was linked", where=str(target))
        return _artifact(self)._by_path(
            transport, ArtifactPath(target.entity, target.project, f"{target.name}:v{index}")
        )

    def unlink(self) -> None:
        """Take a linked version out of the collection that it was found in.

        Raises:
            UsageError: It is not a link.
        """
        if not self.is_link:
            raise UsageError("The artifact is not a link", where=self._where, hint="Use delete() instead.")
        given = {"artifactID": self.id, "artifactPortfolioID": _artifact(self).collection.id}
        execute(self._need_transport(), documents.UNLINK_ARTIFACT, {"input": given}, where=self._where)


def _artifact(part: ArtifactChanges) -> Artifact:
    return cast("Artifact", part)
