"""Lists of automations and integrations, loaded page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import automations as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.protocol.storage import server_features
from wandb_ops.public.automations.actions import Integration, SlackIntegration, WebhookIntegration
from wandb_ops.public.automations.automations import Automation
from wandb_ops.public.paginator import Paginator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport


class Automations(Paginator[Automation]):
    """Automations of an entity, or of every entity that the account belongs to, loaded page by page.

    Args:
        transport: How to reach the server.
        entity: User, team or an organisation's entity; None is all that the account belongs to.
        name: Only those of that name.
        per_page: Automations per request.
        start: `cursor` of an earlier list.

    Raises:
        NotFoundError: On first use: there is no such entity, or this account may not see it.
        UnsupportedServer: On first use: the server is older than 0.83.
    """

    def __init__(
        self, transport: Transport, entity: str | None, name: str | None, per_page: int, start: str | None
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._entities: list[str] | None = None if entity is None else [entity]
        self._filters = None if name is None else values.dumps({"name": name})
        super().__init__(per_page=per_page, start=start, where=f"automations of {entity or 'the account'}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        if self._entities is None:
            self._entities = _visible_entities(self._transport)
        if self._entity is not None:
            return self._page_of(self._entity, cursor, per_page)
        # All entities, one after the other: the cursor names the entity and the place in it.
        name, _, inner = (cursor or "").partition(":")
        if cursor is None:
            name = self._entities[0] if self._entities else ""
        if name not in self._entities:
            return Page((), None, False)
        page, position = self._page_of(name, inner or None, per_page), self._entities.index(name)
        if page.has_next:
            return Page(page.nodes, f"{name}:{page.end_cursor}", True)
        last = position + 1 == len(self._entities)
        return Page(page.nodes, None if last else f"{self._entities[position + 1]}:", not last)

    def _page_of(self, entity: str, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        operation = documents.for_server(documents.GET_AUTOMATIONS, server_features(self._transport))
        variables = {"entity": entity, "cursor": cursor, "perPage": per_page, "filters": self._filters}
        where = f"automations of {entity}"
        node = execute(self._transport, operation, variables, where=where).get("entity")
        if not node:
            raise NotFoundError("There is no such entity", where=entity)
        return connection_page(node["triggers"], where=where)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Automation]:
        return [Automation.read(node) for node in nodes]


class _Integrations(Paginator[Any]):
    """Pages of an entity's integrations of the kinds in `_kinds`; unknown kinds are left out."""

    _kinds: tuple[str, ...] = ("SlackIntegration", "GenericWebhookIntegration")

    def __init__(self, transport: Transport, entity: str, per_page: int, start: str | None) -> None:
        self._transport = transport
        self._entity = entity
        super().__init__(per_page=per_page, start=start, where=f"integrations of {entity}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {"entity": self._entity, "cursor": cursor, "perPage": per_page}
        data = execute(self._transport, documents.GET_INTEGRATIONS, variables, where=self._where)
        if not data.get("entity"):
            raise NotFoundError("There is no such entity", where=self._entity)
        page = connection_page(data["entity"]["integrations"], where=self._where)
        nodes = tuple(node for node in page.nodes if node.get("__typename") in self._kinds)
        return Page(nodes, page.end_cursor, page.has_next)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Any]:
        return [_integration(node) for node in nodes]


class Integrations(_Integrations, Paginator[Integration]):
    """The integrations of an entity, loaded page by page."""


class SlackIntegrations(_Integrations, Paginator[SlackIntegration]):
    """The Slack integrations of an entity, loaded page by page."""

    _kinds = ("SlackIntegration",)


class WebhookIntegrations(_Integrations, Paginator[WebhookIntegration]):
    """The webhooks of an entity, loaded page by page."""

    _kinds = ("GenericWebhookIntegration",)


def _integration(node: Mapping[str, Any]) -> Integration:
    if node["__typename"] == "SlackIntegration":
        return SlackIntegration(str(node["id"]), str(node["teamName"]), str(node["channelName"]))
    return WebhookIntegration(str(node["id"]), str(node["name"]), str(node["urlEndpoint"]))


def _visible_entities(transport: Transport) -> list[str]:
    viewer = execute(transport, documents.VISIBLE_ENTITIES, {}, where="viewer").get("viewer") or {}
    teams = [edge["node"]["name"] for edge in (viewer.get("teams") or {}).get("edges") or ()]
    owners = [each.get("orgEntity") or {} for each in viewer.get("organizations") or ()]
    names = [viewer.get("entity"), *teams, *(owner.get("name") for owner in owners)]
    return list(dict.fromkeys(name for name in names if name))
