"""What a run has to do with artifacts: those it logged, those it used, and adding to both."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.artifacts import MULTIPART_THRESHOLD, store
from wandb_ops.protocol.documents.artifactstorage import CREATE_ARTIFACT, USE_ARTIFACT
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.artifacts.artifacts import Artifact, fetch_by_id, source_path
from wandb_ops.public.artifacts.attributes import check_labels
from wandb_ops.public.artifacts.versions import RunArtifacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_ops.public.runs.run import Run


def use_artifact(run: Run, artifact: Artifact, use_as: str | None) -> Artifact:
    """Note that a run uses an artifact. Saying it again changes nothing."""
    if not isinstance(artifact, Artifact):
        raise UsageError(
            "use_artifact takes an artifact, as Api.artifact() gives it", where="/".join(run.path)
        )
    if artifact.is_draft():
        raise UsageError("A run can only use an artifact that is logged", where="/".join(run.path))
    given = {
        "entityName": run.entity,
        "projectName": run.project,
        "runName": run.id,
        "artifactID": artifact.id,
        "usedAs": use_as or artifact.name,
        "artifactEntityName": artifact.entity,
        "artifactProjectName": artifact.project,
    }
    execute(run._transport, USE_ARTIFACT, {"input": given}, where="/".join(run.path))
    return artifact


def log_artifact(
    run: Run,
    artifact: Artifact,
    aliases: Iterable[str] | str | None,
    tags: Iterable[str] | str | None,
    multipart_threshold: int = MULTIPART_THRESHOLD,
) -> Artifact:
    """Store a new artifact as an output of the run, or make one that is stored already an output of it."""
    where = "/".join(run.path)
    if not isinstance(artifact, Artifact):
        raise UsageError("log_artifact takes an Artifact", where=where)
    names, labels = check_labels("aliases", aliases or []), check_labels("tags", tags or [])
    if not artifact.is_draft():
        return _relog(run, artifact, names, labels)
    stored = store(run._transport, artifact._new_version(run, names, labels, multipart_threshold))
    made = fetch_by_id(run._transport, stored.id)
    artifact._become(run._transport, source_path(made._known()), made._known())
    artifact._existed = stored.existed
    return artifact


def _relog(run: Run, artifact: Artifact, aliases: list[str], tags: list[str]) -> Artifact:
    where = "/".join(run.path)
    if (run.entity, run.project) != (artifact.source_entity, artifact.source_project):
        raise UsageError("A run can only log artifacts to its own project", where=where)
    name = artifact.source_name.partition(":")[0]
    given = {
        "entityName": run.entity,
        "projectName": run.project,
        "runName": run.id,
        "artifactTypeName": artifact.type,
        "artifactCollectionName": name,
        "digest": artifact.digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "aliases": [{"artifactCollectionName": name, "alias": alias} for alias in aliases],
        "tags": [{"tagName": tag} for tag in tags],
        "enableDigestDeduplication": True,
    }
    data = execute(run._transport, CREATE_ARTIFACT, {"input": given}, where=where)
    found = (data.get("createArtifact") or {}).get("artifact") or {}
    if found.get("state") != "COMMITTED":
        raise NotFoundError("The server does not have the artifact any more", where=artifact._where)
    return artifact


class ArtifactUse:
    """The methods of `Run` that have to do with artifacts."""

    def logged_artifacts(self, per_page: int = 100) -> RunArtifacts:
        """The artifacts that the run logged, loaded page by page."""
        return RunArtifacts(cast("Run", self), "logged", per_page=per_page)

    def used_artifacts(self, per_page: int = 100) -> RunArtifacts:
        """The artifacts that the run used, loaded page by page."""
        return RunArtifacts(cast("Run", self), "used", per_page=per_page)

    def use_artifact(self, artifact: Artifact, use_as: str | None = None) -> Artifact:
        """Note that this run uses a logged artifact; returns the artifact.

        Args:
            artifact: As `Api.artifact()` gives it.
            use_as: What it is used as; None is its name.

        Raises:
            UsageError: It is not logged yet.
        """
        return use_artifact(cast("Run", self), artifact, use_as)

    def log_artifact(
        self,
        artifact: Artifact,
        aliases: Iterable[str] | str | None = None,
        tags: Iterable[str] | str | None = None,
    ) -> Artifact:
        """Store a new artifact as an output of this run; returns it once it is committed.

        The version, its files and its aliases are made from what is in it, so that the same call again (by
        a task that was killed and runs again, say) leaves the same state. Content that the collection has
        already is the same version. An artifact that is logged already becomes an output of this run, too.

        Args:
            artifact: A new `wandb_ops.Artifact`, or one that was logged to this run's project.
            aliases: Aliases that it is to have, besides `latest`.
            tags: Tags that a new version is to have.

        Raises:
            DataError: A file changed after it was added.
            UsageError: It belongs to another project.
        """
        return log_artifact(cast("Run", self), artifact, aliases, tags)
