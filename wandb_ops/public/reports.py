"""`Reports` and `BetaReport`: what people wrote about a project, and the runs behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.documents import reports as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.attrs import Attrs, iframe
from wandb_ops.public.document import parse_object
from wandb_ops.public.paginator import SizedPaginator
from wandb_ops.public.runs.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport

_OPERATORS = {"!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte", "IN": "$in", "NIN": "$nin"} | {
    "REGEX": "$regex"
}
_GROUPS = {"AND": "$and", "OR": "$or"}
_SECTIONS = {"config": "config.", "summary": "summary_metrics.", "keys_info": "keys_info.keys.", "run": ""}


class BetaReport(Attrs):
    """A report. One that came from a path is fetched when more than its title and id is asked for.

    Args:
        transport: How to reach the server.
        attrs: Its node, or the parts of it that are known: at least `id`.
        entity: User or team that owns the project.
        project: Name of the project.

    Raises:
        NotFoundError: On the first attribute that needs the server: there is no such report.
    """

    def __init__(self, transport: Transport, attrs: Mapping[str, Any], entity: str, project: str) -> None:
        self._transport = transport
        self._attrs = dict(attrs)
        self.entity = entity
        self.project = project
        self._spec: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The server's identifier of the report."""
        return str(self._attrs["id"])

    @property
    def name(self) -> str | None:
        """What the server calls it; people see `display_name`."""
        name: str | None = self._attr("name")
        return name

    @property
    def display_name(self) -> str | None:
        """The title."""
        title: str | None = self._attr("displayName")
        return title

    @property
    def description(self) -> str | None:
        """The line below the title."""
        text: str | None = self._attr("description")
        return text

    @property
    def user(self) -> dict[str, Any] | None:
        """Who wrote it: `username`, `photoUrl`, `email`."""
        user: dict[str, Any] | None = self._attr("user")
        return user

    @property
    def created_at(self) -> str:
        """When it was created, ISO 8601."""
        return str(self._attr("createdAt"))

    @property
    def updated_at(self) -> str | None:
        """When it was last saved, ISO 8601."""
        moment: str | None = self._attr("updatedAt")
        return moment

    @property
    def spec(self) -> dict[str, Any]:
        """All that the report shows, as the app stores it."""
        if self._spec is None:
            self._spec = parse_object(self._attr("spec"), f"spec of report {self.id}")
        return self._spec

    @property
    def sections(self) -> list[dict[str, Any]]:
        """Its groups of panels, each with the sets of runs that it shows."""
        groups = self.spec.get("panelGroups")
        if groups is None:
            blocks = self.spec.get("blocks") or []
            groups = [block.get("metadata") or {} for block in blocks if block.get("type") == "panel-grid"]
        return list(groups)

    @property
    def url(self) -> str:
        """The report's page in the W&B app."""
        title = re.sub(r"-+", "-", re.sub(r"\W", "-", self.display_name or "")).strip("-")
        entity, project = quote(self.entity, safe=""), quote(self.project, safe="")
        page = f"{quote(title)}--{self.id.replace('=', '')}"
        return f"{self._transport.settings.app_url}/{entity}/{project}/reports/{page}"

    def runs(self, section: Mapping[str, Any], per_page: int = 50, only_selected: bool = True) -> Runs:
        """The runs that a section shows.

        Args:
            section: One of `sections`.
            per_page: Runs per request.
            only_selected: Leave out what is switched off in the section's list of runs.

        Raises:
            UsageError: That is not a section, or its filters are none that the server knows.
        """
        try:
            run_set = section["runSets"][section.get("openRunSet", 0)]
            filters = [found for found in (_mongo(run_set.get("filters") or {}),) if found]
            if only_selected and (chosen := _selected(run_set.get("selections") or {})):
                filters.append(chosen)
            order = _order(run_set.get("sort") or {})
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UsageError("That is not a section of a report", where=f"report {self.id}") from error
        wanted = {"$and": filters} if filters else None
        return Runs(self._transport, self.entity, self.project, wanted, order, per_page)

    def to_html(self, height: int = 1024, hidden: bool = False) -> str:
        """HTML that shows the report in a notebook."""
        return iframe(self.url, height=height, hidden=hidden, what="report")

    def load(self) -> dict[str, Any]:
        """The report's node, asked for anew.

        Raises:
            NotFoundError: There is no such report, or this account may not see it.
        """
        where = f"{self.entity}/{self.project}/reports/{self.id}"
        # Addresses leave the padding of the id out.
        variables = {"id": self.id + "=" * (-len(self.id) % 4)}
        node = execute(self._transport, documents.VIEW, variables, where=where).get("view")
        if node is None:
            raise NotFoundError("There is no such report", where=where)
        self._attrs = dict(node)
        self._spec = None
        return self._attrs

    def _attr(self, field: str) -> Any:
        if field not in self._attrs and "spec" not in self._attrs:
            self.load()
        return self._attrs[field]

    def __repr__(self) -> str:
        return f"<BetaReport {self.entity}/{self.project}/{self.id}>"


class Reports(SizedPaginator[BetaReport]):
    """The reports of a project: iterate, index, slice, `len()` (which loads all: the server has no count).

    Args:
        transport: How to reach the server.
        entity: User or team that owns the project.
        project: Name of the project.
        name: Only the reports of that name.
        per_page: Reports per request.

    Raises:
        NotFoundError: On the first page: there is no such project.
    """

    def __init__(
        self, transport: Transport, entity: str, project: str, name: str | None = None, per_page: int = 50
    ) -> None:
        self._transport = transport
        self.entity = entity
        self.project = project
        self.name = name
        super().__init__(per_page=per_page, where=f"reports of {entity}/{project}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "entity": self.entity,
            "project": self.project,
            "viewName": self.name,
            "reportCursor": cursor,
            "reportLimit": per_page,
        }
        data = execute(self._transport, documents.PROJECT_VIEWS, variables, where=self._where)
        project = data.get("project")
        if project is None:
            raise NotFoundError("There is no such project", where=f"{self.entity}/{self.project}")
        return connection_page(project.get("allViews"), where=self._where)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[BetaReport]:
        return [BetaReport(self._transport, node, self.entity, self.project) for node in nodes]

    def __repr__(self) -> str:
        return f"<Reports {self.entity}/{self.project}>"


# -- the app's filters in the server's language --------------------------------------------------------------


def _field(key: Mapping[str, Any]) -> str:
    section = str(key["section"])
    if section not in _SECTIONS and section != "tags":
        raise UsageError(f"A report filters by {section!r}, which is no field of a run")
    return f"{_SECTIONS.get(section, 'tags.')}{key['name']}"


def _mongo(node: Mapping[str, Any]) -> dict[str, Any] | None:
    """A filter of the app's as a query; None for one that says nothing."""
    if node.get("filters") is not None:
        parts = [part for part in map(_mongo, node["filters"]) if part]
        return {_GROUPS[node["op"]]: parts} if parts else None
    if node.get("key") is None:
        return None
    key, operator, value = node["key"], node["op"], node.get("value")
    silent = value is None and operator not in {"=", "!="}
    if not key["name"] or node.get("disabled") or silent:
        return None
    if key["section"] == "tags":
        if operator == "IN":
            return {"tags": {"$in": value}}
        return {"tags": {"$ne": key["name"]} if value is False else key["name"]}
    return {_field(key): value if operator == "=" else {_OPERATORS[operator]: value}}


def _selected(selections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The runs that are switched on: those in the tree, or, when all are on by default, all but those."""
    tree = [name for name in selections.get("tree") or [] if isinstance(name, str)]
    if selections.get("root"):
        return {"name": {"$nin": tree}} if tree else None
    return {"name": {"$in": tree}} if "tree" in selections else None


def _order(sort: Mapping[str, Any]) -> str | None:
    first = (sort.get("keys") or [{}])[0] if "keys" in sort else sort
    if not first.get("key"):
        return None
    return ("+" if first.get("ascending") else "-") + _field(first["key"])
