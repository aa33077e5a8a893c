"""`Api`: the way into W&B's public API, one thin method per method of W&B's."""

from __future__ import annotations

import logging
import secrets
import string
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import CredentialsError, UsageError
from wandb_ops.protocol.documents import users as user_documents
from wandb_ops.protocol.documents.projects import CREATE_PROJECT
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.paths import DEFAULT_PROJECT, Defaults, RunPath, parse_project_path, parse_run_path
from wandb_ops.public.projects import Project, Projects
from wandb_ops.public.run import Run
from wandb_ops.public.runs import Runs
from wandb_ops.public.users import User
from wandb_ops.settings import resolve
from wandb_ops.transport.session import Transport

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from wandb_ops.public.launch import (
        QueuedRun,
        RunQueue,
        RunQueuePrioritizationMode,
        RunQueueResourceType,
    )

logger = logging.getLogger("wandb_ops.public")

_ID_CHARACTERS = string.ascii_lowercase + string.digits


class Api:
    """Queries and changes what a W&B server holds. Nothing is sent before a method needs it.

    May be shared between threads, forked and pickled; a pickle does not hold the key, which is found again in
    the environment of the process that reads it.

    Args:
        overrides: `base_url` of another server than the default one, and defaults for `entity`, `project` and
            `run`.
        timeout: Seconds that one call may take in total, retries included.
        api_key: The key; else `WANDB_API_KEY`, W&B's settings file, netrc.

    Raises:
        CredentialsError: No key was found, or it cannot be one.
        UsageError: An override is wrong.

    Attributes:
        settings: `base_url`, `entity`, `project`, `run` and `organization`; changes count from the next call.
    """

    def __init__(
        self,
        overrides: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        api_key: str | None = None,
    ) -> None:
        given = dict(overrides or {})
        organization = given.pop("organization", None)
        settings = resolve(given, api_key=api_key, timeout=timeout)
        self._transport = Transport(settings)
        self.settings: dict[str, Any] = {
            "base_url": settings.base_url,
            "entity": settings.entity,
            "project": settings.project,
            "run": settings.run,
            "organization": organization,
        }
        self._viewer: User | None = None
        self._default_entity: str | None = None

    @property
    def transport(self) -> Transport:
        """How the server is reached; shared by all objects that come from here."""
        return self._transport

    @property
    def api_key(self) -> str:
        """The key in use. Mind where it goes."""
        return self._transport.settings.api_key

    @property
    def viewer(self) -> User:
        """The account that the key belongs to.

        Raises:
            CredentialsError: The server knows no account for the key.
        """
        if self._viewer is None:
            node = execute(self._transport, user_documents.GET_VIEWER, {}, where="viewer").get("viewer")
            if node is None:
                raise CredentialsError(
                    "The server knows no account for the API key", where=self.settings["base_url"]
                )
            self._viewer = User(node)
            self._default_entity = self._viewer.entity
        return self._viewer

    @property
    def default_entity(self) -> str | None:
        """The account's own default entity; what the settings say comes before it."""
        if self._default_entity is None:
            data = execute(self._transport, user_documents.GET_DEFAULT_ENTITY, {}, where="default entity")
            self._default_entity = (data.get("viewer") or {}).get("entity")
        return self._default_entity

    def flush(self) -> None:
        """Forget who the viewer is. Runs and projects are never kept, so they need no flush."""
        self._viewer = None
        self._default_entity = None

    # -- projects ------------------------------------------------------------------------------------------

    def projects(self, entity: str | None = None, per_page: int = 200) -> Projects:
        """The projects of an entity.

        Args:
            entity: User or team; None is the default one.
            per_page: Projects per request.

        Raises:
            UsageError: No entity was named and there is no default one.
        """
        return Projects(self._transport, self.entity_or_default(entity), per_page=per_page)

    def project(self, name: str, entity: str | None = None) -> Project:
        """A project, fetched when something is asked of it.

        Args:
            name: Its name.
            entity: User or team; None is the default one.

        Raises:
            UsageError: The name is empty, or no entity was named and there is no default one.
        """
        if not isinstance(name, str) or not name:
            raise UsageError(f"A project is named by text, not {name!r}")
        return Project(self._transport, self.entity_or_default(entity), name)

    def create_project(self, name: str, entity: str) -> None:
        """Create a project; one that exists stays as it is.

        Args:
            name: Its name.
            entity: User or team that is to own it.
        """
        if not name or not entity:
            raise UsageError("A project needs a name and an entity")
        variables = {"input": {"name": name, "entityName": entity}}
        execute(self._transport, CREATE_PROJECT, variables, where=f"{entity}/{name}")

    # -- runs ----------------------------------------------------------------------------------------------

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str | None = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = True,  # noqa: ARG002 - W&B's argument, see below
        lazy: bool = False,
        *,
        start: str | None = None,
    ) -> Runs:
        """The runs of a project that match, page by page; never from a cache.

        Filter by `createdAt`, `displayName` (`display_name`), `duration`, `group`, `host`, `jobType`, `name`
        (the id), `state`, `tags`, `username`, `config.KEY` and `summary_metrics.KEY`, with MongoDB's `$and`,
        `$or`, `$nor`, `$not`, `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists` and
        `$regex` (RE2)::

            api.runs("team/project", filters={"config.lr": {"$lt": 0.1}, "state": "finished"})
            api.runs("team/project", order="-summary_metrics.accuracy")[:10]

        Args:
            path: `entity/project`, or `project`; None is the default project.
            filters: MongoDB's query language, as above; dates may be `datetime`.
            order: + (ascending) or - and one of `created_at`, `heartbeat_at`, `config.KEY.value`,
                `summary_metrics.KEY`.
            per_page: Runs per request.
            include_sweeps: Accepted as W&B does. The name of its sweep comes with every run, at no extra
                request.
            lazy: Leave config, summary and system metrics out of the pages. Where they are asked for after
                all, one request completes all runs of the page.
            start: `cursor` of an earlier result, to go on from there.

        Raises:
            UsageError: The filters or the order are not what the server would understand.
            NotFoundError: On first use: there is no such project.
        """
        where = parse_project_path(path, self._defaults)
        return Runs(
            self._transport,
            where.entity,
            where.project,
            filters,
            order,
            per_page,
            lazy=lazy,
            start=start,
        )

    def run(self, path: str = "") -> Run:
        """One run, fetched now.

        Args:
            path: `entity/project/run_id`, a run's address in the app, or a shorter path with defaults from
                the settings.

        Raises:
            NotFoundError: There is no such run, or this account may not see it.
            UsageError: That is not the path of a run.
        """
        where = self.locate(path)
        return Run(self._transport, where.entity, where.project, where.run_id)

    def locate(self, path: str) -> RunPath:
        """The entity, project and id that a run's path means here; sends nothing when all three are given.

        Raises:
            UsageError: That is not the path of a run.
        """
        return parse_run_path(path, self._defaults)

    def create_run(
        self, *, run_id: str | None = None, project: str | None = None, entity: str | None = None
    ) -> Run:
        """Create a run, in state running. An id that exists is opened again, as W&B does, with a warning.

        Args:
            run_id: Its identifier; None makes one up.
            project: Name of the project, made if missing; None is the default one, else "uncategorized".
            entity: User or team; None is the default one.
        """
        from wandb_ops.protocol.runs import upsert_run

        made = upsert_run(
            self._transport,
            entity=self.entity_or_default(entity),
            project=project or self.settings.get("project") or DEFAULT_PROJECT,
            run_id=run_id or random_run_id(),
            state="running",
        )
        if not made.inserted:
            logger.warning("%s/%s/%s existed already", made.entity, made.project, made.run_id)
        return Run(self._transport, made.entity, made.project, made.run_id)

    def sync_tensorboard(
        self,
        root_dir: str | os.PathLike[str],
        run_id: str | None = None,
        project: str | None = None,
        entity: str | None = None,
    ) -> Run:
        """Read the TensorBoard event files below a folder into a run's history, and finish the run.

        Args:
            root_dir: Folder with `tfevents` files, in it or below.
            run_id: The run to write; None makes up an id. The same id again sends only what is new.
            project: Name of the project, made if missing; None is the default one, else "uncategorized".
            entity: User or team; None is the default one.

        Returns:
            The run, as the server has it afterwards.

        Raises:
            UsageError: There is no such folder, or no event file in it.
        """
        from wandb_ops.tensorboard.sync import sync_directory

        owner = self.entity_or_default(entity)
        name = project or self.settings.get("project") or DEFAULT_PROJECT
        identifier = run_id or random_run_id()
        sync_directory(self._transport, root_dir, entity=owner, project=name, run_id=identifier)
        return Run(self._transport, owner, name, identifier)

    def from_path(self, path: str) -> Project | Run:
        """The project or run that a path or an address names, fetched now.

        `project`, `entity/project`, `entity/project/run` and `entity/project/runs/run` are understood.

        Raises:
            UsageError: The path names neither.
            NotFoundError: There is no such project or run.
        """
        if not isinstance(path, str) or not path.strip("/ "):
            raise UsageError(f"{path!r} is not a path")
        try:
            project = parse_project_path(path, self._defaults)
        except UsageError:
            return self.run(path)
        found = Project(self._transport, project.entity, project.project)
        found.load()
        return found

    # -- launch --------------------------------------------------------------------------------------------

    def create_run_queue(
        self,
        name: str,
        type: RunQueueResourceType,
        entity: str | None = None,
        prioritization_mode: RunQueuePrioritizationMode | None = None,
        config: Mapping[str, Any] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> RunQueue:
        """Create a launch queue.

        Args:
            name: Its name, 1 to 64 characters.
            type: "local-container", "local-process", "kubernetes", "sagemaker" or "gcp-vertex".
            entity: User or team; None is the default one.
            prioritization_mode: "V0" or None.
            config: Default resource config; `{{variable}}` stands for a template variable.
            template_variables: `{name: {"schema": {"type": "string", "number" or "integer", "default": ...,
                "minimum": ..., "maximum": ..., "enum": [...]}}}`.

        Raises:
            UsageError: (a ValueError) An argument is wrong, or there is a queue of that name.
        """
        from wandb_ops.public.launch import RunQueue
        from wandb_ops.public.queues import create_queue

        state = create_queue(
            self._transport,
            entity=self.entity_or_default(entity),
            name=name,
            resource_type=type,
            config=config,
            template_variables=template_variables,
            prioritization_mode=prioritization_mode,
        )
        return RunQueue(self._transport, state.name, state.entity, state)

    def upsert_run_queue(
        self,
        name: str,
        resource_config: Mapping[str, Any],
        resource_type: RunQueueResourceType,
        entity: str | None = None,
        template_variables: Mapping[str, Any] | None = None,
        external_links: Mapping[str, str] | None = None,
        prioritization_mode: RunQueuePrioritizationMode | None = None,
    ) -> RunQueue:
        """Create a launch queue, or make the one that is there what the arguments say.

        An argument left out keeps what is there (W&B's own call sets it back to nothing); pass `{}` or
        "DISABLED" to empty it. When the queue is like that already, nothing is sent.

        Args:
            name: Its name, 1 to 64 characters.
            resource_config: Default resource config; `{{variable}}` stands for a template variable.
            resource_type: "local-container", "local-process", "kubernetes", "sagemaker" or "gcp-vertex".
            entity: User or team; None is the default one.
            template_variables: As for `create_run_queue`.
            external_links: `{label: url}`.
            prioritization_mode: "V0" or "DISABLED".

        Raises:
            UsageError: (a ValueError) An argument is wrong.
        """
        from wandb_ops.public.launch import RunQueue
        from wandb_ops.public.queues import upsert_queue

        change = upsert_queue(
            self._transport,
            entity=self.entity_or_default(entity),
            name=name,
            resource_type=resource_type,
            resource_config=resource_config,
            template_variables=template_variables,
            external_links=external_links,
            prioritization_mode=prioritization_mode,
        )
        return RunQueue(self._transport, change.after.name, change.after.entity, change.after)

    def run_queue(self, entity: str, name: str) -> RunQueue:
        """A launch queue, fetched when something is asked of it.

        Args:
            entity: User or team.
            name: Its name.
        """
        from wandb_ops.public.launch import RunQueue

        return RunQueue(self._transport, name, entity)

    def queued_run(
        self,
        entity: str,
        project: str,
        queue_name: str,
        run_queue_item_id: str,
        project_queue: str | None = None,
        priority: int | None = None,
    ) -> QueuedRun:
        """An item of a launch queue, to wait for.

        Args:
            entity: User or team.
            project: Project that the run is logged to.
            queue_name: The queue.
            run_queue_item_id: The item.
            project_queue: Project that holds the queue; None is W&B's usual one.
            priority: As it was queued with.
        """
        from wandb_ops.public.launch import QueuedRun

        return QueuedRun(
            self._transport, entity, project, queue_name, run_queue_item_id, project_queue, priority
        )

    def entity_or_default(self, entity: str | None) -> str:
        """`entity`, or the default one.

        Raises:
            UsageError: None was given and there is no default one.
        """
        return entity or self._defaults.entity(None, "Pass entity=, or set it in the Api's overrides.")

    # -- inside --------------------------------------------------------------------------------------------

    @property
    def _defaults(self) -> Defaults:
        return Defaults(self.settings, lambda: self.default_entity)

    def __repr__(self) -> str:
        return f"<Api {self.settings['base_url']}>"


def random_run_id() -> str:
    """A run id of eight letters and digits, as W&B makes them up."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(8))
