"""What `Api` offers on automations and integrations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import Conflict, GraphQLError, NotFoundError, StatusError, UnsupportedServer, UsageError
from wandb_ops.protocol.documents import automations as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.storage import server_features

if TYPE_CHECKING:
    from wandb_ops.protocol.graphql import Operation
    from wandb_ops.public.automations.actions import AutomationAction
    from wandb_ops.public.automations.automations import Automation, NewAutomation
    from wandb_ops.public.automations.events import AutomationEvent, AutomationScope, Scoped
    from wandb_ops.public.automations.lists import (
        Automations,
        Integrations,
        SlackIntegrations,
        WebhookIntegrations,
    )
    from wandb_ops.transport.session import Transport

_NOT_FOUND = 404


class AutomationMethods(ABC):
    """Methods of `Api`; made part of it there."""

    @property
    @abstractmethod
    def transport(self) -> Transport:
        """How the server is reached."""

    @abstractmethod
    def entity_or_default(self, entity: str | None) -> str:
        """`entity`, or the default one."""

    def integrations(
        self, entity: str | None = None, *, per_page: int = 50, start: str | None = None
    ) -> Integrations:
        """The Slack and webhook integrations of an entity.

        Args:
            entity: User or team; None is the default one.
            per_page: Integrations per request.
            start: `cursor` of an earlier list, to go on from there.

        Raises:
            NotFoundError: On first use: there is no such entity, or this account may not see it.
        """
        from wandb_ops.public.automations.lists import Integrations

        return Integrations(self.transport, self.entity_or_default(entity), per_page, start)

    def webhook_integrations(
        self, entity: str | None = None, *, per_page: int = 50, start: str | None = None
    ) -> WebhookIntegrations:
        """The webhooks of an entity; arguments as for `integrations`."""
        from wandb_ops.public.automations.lists import WebhookIntegrations

        return WebhookIntegrations(self.transport, self.entity_or_default(entity), per_page, start)

    def slack_integrations(
        self, *, entity: str | None = None, per_page: int = 50, start: str | None = None
    ) -> SlackIntegrations:
        """The Slack integrations of an entity; arguments as for `integrations`."""
        from wandb_ops.public.automations.lists import SlackIntegrations

        return SlackIntegrations(self.transport, self.entity_or_default(entity), per_page, start)

    def automations(
        self,
        entity: str | None = None,
        *,
        name: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Automations:
        """Automations of an entity and of what is in it.

        Args:
            entity: User, team or an organisation's entity; None is each that the account belongs to.
            name: Only those of that name.
            per_page: Automations per request.
            start: `cursor` of an earlier list, to go on from there.

        Raises:
            NotFoundError: On first use: there is no such entity, or this account may not see it.
            UnsupportedServer: On first use: the server cannot list them by entity.
        """
        from wandb_ops.public.automations.lists import Automations

        return Automations(self.transport, entity, name, per_page, start)

    def automation(self, name: str, *, entity: str | None = None) -> Automation:
        """The automation of that name.

        Args:
            name: Its name.
            entity: As for `automations`.

        Raises:
            NotFoundError: (a ValueError) There is none.
            UsageError: (a ValueError) There are several.
        """
        found = self.automations(entity, name=name)[:2]
        if not found:
            raise NotFoundError("There is no such automation", where=name)
        if len(found) > 1:
            raise UsageError(f"There are several automations named {name!r}", hint="Pass entity=.")
        return found[0]

    def create_automation(
        self,
        obj: NewAutomation | None = None,
        *,
        fetch_existing: bool = False,
        name: str | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        scope: AutomationScope | Scoped | None = None,
        event: AutomationEvent | None = None,
        action: AutomationAction | None = None,
    ) -> Automation:
        """Create an automation.

            event = wandb_ops.AutomationEvent.run_metric(api.project("p", "team"), "loss", ">", 10)
            action = wandb_ops.AutomationAction.webhook(api.webhook_integrations("team")[0])
            api.create_automation(name="too large", event=event, action=action)

        Args:
            obj: The automation; what is named beside it comes before what it says.
            fetch_existing: Return the automation of the same name and scope, where there is one.
            name: Its name.
            description: Free text.
            enabled: Whether it is on; None is on.
            scope: What it watches, where this is not the event's scope.
            event: What sets it off.
            action: What it does.

        Raises:
            UsageError: (a ValueError) Name, event, scope or action are missing, or there is an automation of
                that name.
            GraphQLError: The server refused.
            AmbiguousOutcome: The answer was lost; the automation may have been made.
        """
        from wandb_ops.public.automations.events import AutomationScope

        name = name or (obj.name if obj else None)
        event = event or (obj.event if obj else None)
        action = action or (obj.action if obj else None)
        watched = scope or (event.scope if event else None)
        if not name or event is None or action is None or watched is None:
            raise UsageError("An automation needs a name, an event with its scope, and an action")
        given = {
            "name": name,
            "description": description if description is not None else (obj.description if obj else None),
            "enabled": enabled if enabled is not None else (obj.enabled if obj else True),
            **_input(AutomationScope.of(watched), event, action),
        }
        try:
            return self._send(documents.CREATE_AUTOMATION, "createFilterTrigger", given, name)
        except UnsupportedServer:
            raise
        except (Conflict, GraphQLError) as error:
            if not isinstance(error, Conflict) and "already" not in " ".join(error.messages):
                raise
            if fetch_existing:
                for found in self.automations(name=name):
                    if found.scope.id == given["scopeID"]:
                        return found
            raise UsageError(f"There is an automation {name!r} already") from error

    def update_automation(
        self,
        obj: Automation,
        *,
        create_missing: bool = False,
        name: str | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        scope: AutomationScope | Scoped | None = None,
        event: AutomationEvent | None = None,
        action: AutomationAction | None = None,
    ) -> Automation:
        """Change an automation; the changed one is returned, `obj` stays as it is.

        Args:
            obj: The automation; all that it says is sent, and what is named beside it comes before that.
            create_missing: Create it where it is gone.
            name: A new name.
            description: A new description; "" is none.
            enabled: Whether it is on.
            scope: What it watches from now on.
            event: What sets it off from now on; its scope counts, too.
            action: What it does from now on.

        Raises:
            NotFoundError: (a ValueError) The automation is gone.
            UsageError: (a ValueError) Its action is one that cannot be sent.
            GraphQLError: The server refused.
        """
        from wandb_ops.public.automations.automations import NewAutomation
        from wandb_ops.public.automations.events import AutomationScope

        watched = AutomationScope.of(scope or (event.scope if event else None) or obj.scope)
        wanted = NewAutomation(
            event or obj.event,
            action or obj.action,
            name or obj.name,
            obj.description if description is None else description,
            obj.enabled if enabled is None else enabled,
        )
        given = {
            "id": obj.id,
            "name": wanted.name,
            "description": wanted.description,
            "enabled": wanted.enabled,
            **_input(watched, wanted.event, wanted.action),
        }
        try:
            return self._send(documents.UPDATE_AUTOMATION, "updateFilterTrigger", given, obj.name)
        except (StatusError, GraphQLError) as error:
            if not _is_gone(error):
                raise
            if not create_missing:
                raise NotFoundError("There is no such automation", where=obj.name) from error
        return self.create_automation(wanted, scope=watched)

    def delete_automation(self, obj: Automation | str) -> Literal[True]:
        """Delete an automation.

        Args:
            obj: The automation, or its id.

        Raises:
            NotFoundError: (a ValueError) It is gone already, or this account may not see it.
            GraphQLError: The server refused.
        """
        identifier = obj if isinstance(obj, str) else obj.id
        try:
            data = execute(
                self.transport, documents.DELETE_AUTOMATION, {"id": identifier}, where="automation"
            )
        except (StatusError, GraphQLError) as error:
            if _is_gone(error):
                raise NotFoundError("There is no such automation", where=identifier) from error
            raise
        if not (data.get("deleteTrigger") or {}).get("success"):
            raise GraphQLError("DeleteAutomation: the server did not delete it", where=identifier)
        return True

    def _send(self, operation: Operation, field: str, given: dict[str, Any], name: str) -> Automation:
        from wandb_ops.public.automations.automations import Automation

        known = documents.for_server(operation, server_features(self.transport))
        data = execute(self.transport, known, {"input": given}, where=f"automation {name}")
        node = (data.get(field) or {}).get("trigger")
        if not node:
            raise GraphQLError(f"{operation.name}: the server saved nothing", where=f"automation {name}")
        return Automation.read(node)


def _input(scope: AutomationScope, event: AutomationEvent, action: AutomationAction) -> dict[str, Any]:
    return {
        "scopeType": scope.scope_type,
        "scopeID": scope.id,
        "triggeringEventType": event.event_type,
        "eventFilter": event.text(),
        "triggeredActionType": action.action_type,
        "triggeredActionConfig": action.config(),
    }


def _is_gone(error: StatusError | GraphQLError) -> bool:
    """Whether the server said that the automation itself, and not something in it, is not there."""
    if isinstance(error, StatusError):
        return error.status == _NOT_FOUND
    return any(
        "automation not found" in message or "trigger not found" in message for message in error.messages
    )
