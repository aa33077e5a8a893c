"""`Api`: the way into W&B's public API, one thin method per method of W&B's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from wandb_ops.errors import CredentialsError, UsageError
from wandb_ops.protocol.documents import users as user_documents
from wandb_ops.protocol.documents.projects import CREATE_PROJECT
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.accounts.users import User
from wandb_ops.public.api_accounts import AccountMethods
from wandb_ops.public.api_artifacts import ArtifactQueries
from wandb_ops.public.api_automations import AutomationMethods
from wandb_ops.public.api_launch import LaunchMethods
from wandb_ops.public.custom_charts import create_custom_chart
from wandb_ops.public.paths import (
    DEFAULT_PROJECT,
    Defaults,
    RunPath,
    kind_of,
    parse_project_path,
    parse_report_path,
    parse_run_path,
    parse_sweep_path,
)
from wandb_ops.public.projects import Project, Projects
from wandb_ops.public.runs.run import Run, random_run_id
from wandb_ops.public.runs.runs import Runs
from wandb_ops.settings import resolve
from wandb_ops.transport.client import USER_AGENT
from wandb_ops.transport.session import Transport

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from wandb_ops.public.reports import BetaReport, Reports
    from wandb_ops.public.sweeps import Sweep


class Api(ArtifactQueries, LaunchMethods, AccountMethods, AutomationMethods):
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
    def user_agent(self) -> str:
        """What the program calls itself when it asks the server."""
        return USER_AGENT

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
            self._viewer = User(node, self._transport, own=self)
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
        return Run.create(self, run_id=run_id, project=project, entity=entity)

    def sync_tensorboard(
        self,
        root_dir: str | os.PathLike[str],
        run_id: str | None = None,
        project: str | None = None,
        entity: str | None = None,
    ) -> Run:
        """Read the TensorBoard event files below a folder into a run's history, and finish the run.

        Args:
            root_dir: Folder with `tfevents` files, in it or below; or its URL in a store (`s3://bucket/logs`).
            run_id: The run to write; None makes up an id. The same id again sends only what is new.
            project: Name of the project, made if missing; None is the default one, else "uncategorized".
            entity: User or team; None is the default one.

        Returns:
            The run, as the server has it afterwards.

        Raises:
            NotFoundError: There is no such folder, or no event file in it.
            RunConflict: The run holds rows that this folder did not write.
        """
        from wandb_ops.tensorboard.sync import sync_directory

        owner = self.entity_or_default(entity)
        name = project or self.settings.get("project") or DEFAULT_PROJECT
        identifier = run_id or random_run_id()
        sync_directory(self._transport, root_dir, entity=owner, project=name, run_id=identifier)
        return Run(self._transport, owner, name, identifier)

    def from_path(self, path: str) -> Project | Run | Sweep | BetaReport:
        """The project, run, sweep or report that a path or an address names, fetched now.

        `project`, `entity/project`, `entity/project/run`, `entity/project/runs/run`,
        `entity/project/sweeps/sweep` and `entity/project/reports/Title--ID` are understood. A report is
        fetched when more than its title is asked for.

        Raises:
            UsageError: The path names none of these.
            NotFoundError: There is no such thing.
        """
        if not isinstance(path, str) or not path.strip("/ "):
            raise UsageError(f"{path!r} is not a path")
        kind = kind_of(path)
        if kind == "sweep":
            return self.sweep(path)
        if kind == "report":
            from wandb_ops.public.reports import BetaReport

            entity, name, title, identifier = parse_report_path(path)
            return BetaReport(self._transport, {"id": identifier, "displayName": title}, entity, name)
        try:
            project = parse_project_path(path, self._defaults)
        except UsageError:
            return self.run(path)
        found = Project(self._transport, project.entity, project.project)
        found.load()
        return found

    # -- sweeps and reports --------------------------------------------------------------------------------

    def sweep(self, path: str = "") -> Sweep:
        """One sweep, fetched now.

        Args:
            path: `entity/project/sweep_id`, a sweep's address in the app, or a shorter path with defaults
                from the settings.

        Raises:
            NotFoundError: (a ValueError) There is no such sweep, or this account may not see it.
            UsageError: That is not the path of a sweep.
        """
        from wandb_ops.public.sweeps import Sweep

        return Sweep(self._transport, *parse_sweep_path(path, self._defaults))

    def reports(self, path: str = "", name: str | None = None, per_page: int = 50) -> Reports:
        """The reports of a project, loaded page by page.

        Args:
            path: `entity/project`, or `project`; empty is the default project.
            name: Only the reports of that name.
            per_page: Reports per request.

        Raises:
            UsageError: That is not the path of a project.
            NotFoundError: On first use: there is no such project.
        """
        from wandb_ops.public.reports import Reports

        where = parse_project_path(path or None, self._defaults)
        return Reports(
            self._transport, where.entity, where.project, unquote(name) if name else None, per_page
        )

    def create_custom_chart(
        self,
        entity: str,
        name: str,
        display_name: str,
        spec_type: Literal["vega2"],
        access: Literal["private", "public"],
        spec: str | Mapping[str, Any],
    ) -> str:
        """Create a preset of a custom chart.

        Args:
            entity: User or team that is to own it.
            name: Its identifier within the entity.
            display_name: What the page calls it.
            spec_type: "vega2": Vega-Lite.
            access: "private": the entity's own; or "public".
            spec: The Vega or Vega-Lite specification, as a dict or as JSON text.

        Returns:
            Its id, which charts name: `entity/name`.

        Raises:
            UsageError: An argument is none of those, or the specification is no JSON object.
            UnsupportedServer: The server has no custom charts.
            GraphQLError: The server refused: the name is taken, for example.
            AmbiguousOutcome: The answer was lost; the chart may have been made.
        """
        return create_custom_chart(self._transport, entity, name, display_name, spec_type, access, spec)

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
