"""`Job`: something that W&B Launch can run, and the list of a project's jobs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError, NotFoundError, UsageError
from wandb_ops.protocol.documents import jobs as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page, paginate
from wandb_ops.public.launch.enqueue import launch_spec, push_item
from wandb_ops.public.launch.launch import QueuedRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.public.api import Api
    from wandb_ops.transport.session import Transport

_FILE = "wandb-job.json"
_JOBS_TOGETHER = 50
#: W&B's name for the queue of those who name none.
_DEFAULT_QUEUE = "default"


class Job:
    """A job, downloaded.

    Args:
        api: The client.
        name: `entity/project/job-name:alias`.
        path: Folder for its files; None is the artifact's usual one.

    Raises:
        UsageError: (a ValueError) That is no name of a job.
        NotFoundError: (a ValueError) There is no such job.
        DataError: The artifact holds no job.
    """

    def __init__(self, api: Api, name: str, path: str | None = None) -> None:
        self._api = api
        self._name = name
        self._artifact = api.artifact(name, type="job")
        self._folder = Path(self._artifact.download(root=path))
        try:
            info = json.loads((self._folder / _FILE).read_text(encoding="utf-8"))
            self._entrypoint = info.get("source", {}).get("entrypoint")
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(f"The artifact holds no readable {_FILE}", where=name) from error
        self._info: dict[str, Any] = info
        self._replaced = False

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        return self._name

    @property
    def info(self) -> dict[str, Any]:
        """What the job says of itself: `source_type`, `source`, `input_types`, ..."""
        return self._info

    @property
    def entrypoint(self) -> list[str] | None:
        """The command that it runs."""
        return list(self._entrypoint) if self._entrypoint else None

    def set_entrypoint(self, entrypoint: Sequence[str]) -> None:
        """Run another command in the calls to come.

        Args:
            entrypoint: The command, word by word.
        """
        self._entrypoint = list(entrypoint)
        self._replaced = True

    def call(
        self,
        config: Mapping[str, Any],
        project: str | None = None,
        entity: str | None = None,
        queue: str | None = None,
        resource: str = "local-container",
        resource_args: Mapping[str, Any] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        project_queue: str | None = None,
        priority: int | None = None,
    ) -> QueuedRun:
        """Put the job on a launch queue. The types of the values are left for the agent to judge.

        Args:
            config: Hyperparameters; an artifact stands for itself.
            project: Project that the run is logged to; None is the job's.
            entity: User or team that owns queue and run; None is the job's.
            queue: Name of the queue; None is "default".
            resource: Kind of resource.
            resource_args: `{resource: {...}}`, over the queue's own config.
            template_variables: Values of the queue's template variables.
            project_queue: Project that holds the queue; None is W&B's usual one.
            priority: 0 (critical) to 3 (low).

        Raises:
            UsageError: An argument is wrong, or an artifact was not logged yet.
            NotFoundError: There is no such queue.
            AmbiguousOutcome: The answer was lost: the job may be queued.
        """
        own_entity, own_project, _ = self._name.split("/")
        owner, target, name = entity or own_entity, project or own_project, queue or _DEFAULT_QUEUE
        spec = launch_spec(
            entity=owner,
            project=target,
            resource=resource,
            job=self._name,
            resource_args=resource_args,
            run_config={key: _plain(value) for key, value in config.items()},
            entry_point=self._entrypoint if self._replaced else None,
        )
        transport = self._api.transport
        item = push_item(
            transport,
            entity=owner,
            queue=name,
            spec=spec,
            priority=priority,
            template_variables=template_variables,
            project_queue=project_queue,
        )
        return QueuedRun(transport, owner, target, name, item, project_queue, priority)

    def __repr__(self) -> str:
        return f"<Job {self._name}>"


def _plain(value: Any) -> Any:
    """An artifact as W&B writes it into a config; other values as they are."""
    from wandb_ops.public.artifacts.artifacts import Artifact

    if not isinstance(value, Artifact):
        return value
    if value.is_draft():
        raise UsageError(f"The artifact {value.name!r} was not logged yet")
    return {
        "_type": "artifactVersion",
        "_version": "v0",
        "id": value.id,
        "version": value.source_version,
        "sequenceName": value.source_name.split(":")[0],
        "usedAs": None,
    }


def list_jobs(transport: Transport, entity: str, project: str) -> list[dict[str, Any]]:
    """The versions of each job of a project, in W&B's form: `{"edges": [{"node": {...}}]}` for each job.

    Raises:
        NotFoundError: There is no such project.
    """
    place = {"entityName": entity, "projectName": project, "artifactTypeName": "job"}
    where = f"jobs of {entity}/{project}"

    def of_type(operation: Any, **variables: Any) -> dict[str, Any] | None:
        found = execute(transport, operation, {**place, **variables}, where=where).get("project")
        if found is None:
            raise NotFoundError("There is no such project", where=f"{entity}/{project}")
        return found.get("artifactType")  # type: ignore[no-any-return]  # JSON

    def collections(cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        kind = of_type(documents.JOBS, after=cursor, first=per_page)
        if kind is None:
            return Page((), None, False)
        return connection_page(kind.get("artifactCollections"), where=where)

    def versions(name: str, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        kind = of_type(documents.JOB_VERSIONS, name=name, after=cursor, first=per_page)
        found = (kind or {}).get("artifactCollection")
        return connection_page((found or {}).get("artifacts") or {"edges": []}, where=where)

    jobs = []
    for node in paginate(collections, per_page=_JOBS_TOGETHER, where=where):
        page = connection_page(node.get("artifacts") or {"edges": []}, where=where)
        found = list(page.nodes)
        if page.has_next:
            rest = partial(versions, node["name"])
            found += paginate(rest, per_page=_JOBS_TOGETHER, start=page.end_cursor, where=where)
        jobs.append({"edges": [{"node": version} for version in found]})
    return jobs
