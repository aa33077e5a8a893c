"""Automations as values: what happened (event), where (scope), and what W&B does then (action).

W&B's SDK writes these with operators of its own (`event >> action`, `RunEvent.metric("loss") > 1`). Here they
are plain constructors of frozen dataclasses that need no pydantic; what is sent is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from wandb_ops.public.automations.actions import AutomationAction
from wandb_ops.public.automations.events import AutomationEvent, AutomationScope

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class NewAutomation:
    """An automation to create: `Api.create_automation(NewAutomation(event, action, name=...))`."""

    event: AutomationEvent
    action: AutomationAction
    name: str | None = None
    description: str | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Automation:
    """An automation as it was on the server. `Api.update_automation(automation, enabled=False)` changes it.

    Attributes:
        id: The server's identifier.
        created_at: ISO 8601.
        updated_at: ISO 8601; None when it was never changed.
    """

    id: str
    name: str
    description: str | None
    enabled: bool
    scope: AutomationScope
    event: AutomationEvent
    action: AutomationAction
    created_at: str
    updated_at: str | None

    @classmethod
    def read(cls, node: Mapping[str, Any]) -> Self:
        """The automation of a node."""
        updated = node.get("updatedAt")
        return cls(
            str(node["id"]),
            str(node["name"]),
            node.get("description"),
            bool(node["enabled"]),
            AutomationScope.read(node["scope"]),
            AutomationEvent.read(node["event"]),
            AutomationAction.read(node["action"]),
            str(node["createdAt"]),
            None if updated is None else str(updated),
        )
