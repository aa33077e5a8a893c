"""Operators that log, use, download and promote artifacts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider.lineage import Dataset, Lineage, artifact_dataset, run_uri
from airflow_provider.links.run import ARTIFACT_URL, WandbArtifactLink, remember_url
from airflow_provider.operators.base import WandbOperator, own_run_id, templated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api
    from wandb_ops.steps import ArtifactResult


class WandbLogArtifactOperator(WandbOperator):
    """Store files and references as a version of an artifact.

    The same content is the same version: a retried or cleared task finds it again. Returns
    `wandb_ops.steps.ArtifactResult`: ``path`` (entity/project/name:v3), ``version``, ``digest``, ``created``
    and so on. XCom keys ``artifact_path``, ``wandb_artifact_url``. The files are read on the worker.

    .. code-block:: python

        logged = WandbLogArtifactOperator(
            task_id="log_model", name="churn-model", artifact_type="model", content="/data/model/{{ ds }}"
        )

    :param name: (templated) the collection.
    :param artifact_type: (templated) what kind it is, such as ``"dataset"`` or ``"model"``.
    :param content: (templated) a file, a folder, or a dict from names in the artifact to files and folders.
    :param references: (templated) names in the artifact to addresses, whose content stays where it is.
    :param run: (templated) entity/project/run_id of the run that made the content. None makes a run for this
        task instance, which only stands for the logging, and ends it.
    :param project: (templated) without ``run``: project; None for the connection's.
    :param entity: (templated) without ``run``: user or team; None for the connection's.
    :param description: (templated) of a new version.
    :param metadata: (templated) of a new version.
    :param aliases: (templated) besides ``latest``.
    :param tags: (templated) of a new version.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (
        "name",
        "artifact_type",
        "content",
        "references",
        "run",
        "project",
        "entity",
        "description",
        "metadata",
        "aliases",
        "tags",
        "wandb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "content": "json",
        "references": "json",
        "metadata": "json",
        "aliases": "json",
        "tags": "json",
    }
    operator_extra_links = (WandbArtifactLink(),)

    def __init__(
        self,
        *,
        name: str,
        artifact_type: str,
        content: str | os.PathLike[str] | dict[str, str] | None = None,
        references: Mapping[str, str] | None = None,
        run: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.artifact_type = artifact_type
        self.content = templated(content)
        self.references = references
        self.run = run
        self.project = project
        self.entity = entity
        self.description = description
        self.metadata = metadata
        self.aliases = aliases
        self.tags = tags

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Store what the collection does not have."""
        from wandb_ops import steps

        run = self.run
        if run is None:
            run = f"{api.entity_or_default(self.entity)}/{self.project_of(api)}/{own_run_id(context)}"
        result = steps.log_artifact(
            api,
            run=run,
            name=self.name,
            type=self.artifact_type,
            content=self.content,
            references=self.references,
            description=self.description,
            metadata=self.metadata,
            aliases=self.aliases,
            tags=self.tags,
            make_run=self.run is None,
        )
        remember_artifact(self, context, result)
        self.log.info("%s is %s: %s", result.path, "new" if result.created else "there already", result.url)
        return result.to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """From the files, and what they refer to, to the collection."""
        content = self.content.values() if isinstance(self.content, dict) else [self.content]
        places = [str(place) for place in [*content, *(self.references or {}).values()] if place is not None]
        return Lineage(tuple(Dataset(uri=place) for place in places), (artifact_dataset(result),))


class WandbUseArtifactOperator(WandbOperator):
    """Note that a run uses a version of an artifact, for the lineage graph.

    Returns `wandb_ops.steps.ArtifactResult`, so that what an alias means now can be handed to later tasks as
    a version: ``used.output["artifact_path"]``.

    :param artifact: (templated) ``entity/project/name:alias``, or shorter with the connection's defaults.
    :param run: (templated) entity/project/run_id.
    :param artifact_type: (templated) type that it has to be of.
    :param use_as: (templated) what it is used as.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("artifact", "run", "artifact_type", "use_as", "wandb_conn_id")
    operator_extra_links = (WandbArtifactLink(),)

    def __init__(
        self,
        *,
        artifact: str,
        run: str,
        artifact_type: str | None = None,
        use_as: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.artifact = artifact
        self.run = run
        self.artifact_type = artifact_type
        self.use_as = use_as

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Note the use."""
        from wandb_ops import steps

        result = steps.use_artifact(
            api, artifact=self.artifact, run=self.run, type=self.artifact_type, use_as=self.use_as
        )
        remember_artifact(self, context, result)
        self.log.info("%s is used by %s: %s", result.path, result.run, result.url)
        return result.to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """From the collection to the run."""
        return Lineage((artifact_dataset(result),), (Dataset(uri=run_uri(result["run"])),))


class WandbDownloadArtifactOperator(WandbOperator):
    """Bring a version's files into a folder of the worker, each checked; what is there and right stays.

    Returns `wandb_ops.steps.DownloadResult`: ``folder``, ``files``, ``bytes`` and the ``artifact``. XCom keys
    ``artifact_path``, ``wandb_artifact_url``.

    :param artifact: (templated) ``entity/project/name:alias``, or shorter with the connection's defaults.
    :param to: (templated) folder. Give each version one of its own, or see ``strangers``.
    :param run: (templated) entity/project/run_id of a run that uses it, noted for the lineage graph.
    :param artifact_type: (templated) type that it has to be of.
    :param path_prefix: (templated) only what begins so.
    :param strangers: files in the folder that do not belong to the version, such as those of yesterday's:
        fail before anything is fetched (``"error"``), ``"keep"`` or ``"delete"`` them.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (
        "artifact",
        "to",
        "run",
        "artifact_type",
        "path_prefix",
        "wandb_conn_id",
    )
    operator_extra_links = (WandbArtifactLink(),)

    def __init__(
        self,
        *,
        artifact: str,
        to: str | os.PathLike[str],
        run: str | None = None,
        artifact_type: str | None = None,
        path_prefix: str | None = None,
        strangers: Literal["error", "keep", "delete"] = "error",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.artifact = artifact
        self.to = templated(to)
        self.run = run
        self.artifact_type = artifact_type
        self.path_prefix = path_prefix
        self.strangers = strangers

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Fetch what the folder does not have."""
        from wandb_ops import steps

        result = steps.download_artifact(
            api,
            artifact=self.artifact,
            to=os.fspath(self.to),
            run=self.run,
            type=self.artifact_type,
            path_prefix=self.path_prefix,
            strangers=self.strangers,
        )
        remember_artifact(self, context, result.artifact)
        self.log.info(
            "%s: %d files, %d bytes, of %s", result.folder, result.files, result.bytes, result.artifact.url
        )
        return result.to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """From the collection to the folder."""
        folder = Dataset(uri=result["folder"], size=result["bytes"])
        return Lineage((artifact_dataset(result["artifact"]),), (folder,))


class WandbPromoteArtifactOperator(WandbOperator):
    """Give a version aliases, in its own collection or in one of a registry or another project.

    Returns `wandb_ops.steps.ArtifactResult` of the version where it was promoted. XCom keys
    ``artifact_path``, ``wandb_artifact_url``.

    :param artifact: (templated) ``entity/project/name:alias``, or shorter with the connection's defaults.
    :param aliases: (templated) such as ``["production"]``; one that another version has moves here.
    :param to: (templated) ``project/collection`` or ``entity/project/collection`` to link it into; of a
        registry ``wandb-registry-NAME/collection``.
    :param artifact_type: (templated) type that it has to be of.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("artifact", "aliases", "to", "artifact_type", "wandb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"aliases": "json"}
    operator_extra_links = (WandbArtifactLink(),)

    def __init__(
        self,
        *,
        artifact: str,
        aliases: Sequence[str] = (),
        to: str | None = None,
        artifact_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.artifact = artifact
        self.aliases = aliases
        self.to = to
        self.artifact_type = artifact_type

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Move the aliases, or link the version."""
        from wandb_ops import steps

        result = steps.promote_artifact(
            api, artifact=self.artifact, aliases=self.aliases, to=self.to, type=self.artifact_type
        )
        remember_artifact(self, context, result)
        self.log.info("%s is %s: %s", result.path, ", ".join(result.aliases) or "linked", result.url)
        return result.to_json()


def remember_artifact(task: WandbOperator, context: Context, found: ArtifactResult) -> None:
    """Store the version's path and page as XComs, for later tasks and for the button on the task's page.

    :param task: the operator that runs.
    :param context: its context.
    :param found: the version.
    """
    context["ti"].xcom_push(key="artifact_path", value=found.path)
    remember_url(task, context, key=ARTIFACT_URL, url=found.url)
