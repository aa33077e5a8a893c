"""What an automation does, and the integrations that it acts through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from wandb_ops.errors import UsageError
from wandb_ops.protocol import values
from wandb_ops.public.automations.checks import one_of, read_object

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["INFO", "WARN", "ERROR"]

_SEVERITIES = frozenset({"INFO", "WARN", "ERROR"})
_ACTION_TYPES = {
    "NotificationTriggeredAction": "NOTIFICATION",
    "GenericWebhookTriggeredAction": "GENERIC_WEBHOOK",
    "NoOpTriggeredAction": "NO_OP",
    "ARIATriggeredAction": "ARIA",
    "QueueJobTriggeredAction": "QUEUE_JOB",
    "PushNotificationTriggeredAction": "PUSH_NOTIFICATION",
}
_LONGEST_PROMPT = 4000


@dataclass(frozen=True, slots=True)
class SlackIntegration:
    """A Slack channel that W&B may write to."""

    id: str
    team_name: str
    channel_name: str


@dataclass(frozen=True, slots=True)
class WebhookIntegration:
    """A URL that W&B may call."""

    id: str
    name: str
    url_endpoint: str


Integration = SlackIntegration | WebhookIntegration


@dataclass(frozen=True, slots=True)
class AutomationAction:
    """What an automation does; made by the class methods.

    Attributes:
        action_type: "NOTIFICATION", "GENERIC_WEBHOOK", "NO_OP" or "ARIA"; what the server has may also be
            "QUEUE_JOB" or "PUSH_NOTIFICATION", which cannot be sent.
        integration_id: The integration that a notification or webhook uses.
        title: Of a notification.
        message: Of a notification.
        severity: Of a notification: "INFO", "WARN" or "ERROR".
        request_payload: What a webhook sends.
        prompt: What ARIA is asked.
    """

    action_type: str
    integration_id: str | None = None
    title: str | None = None
    message: str | None = None
    severity: str | None = None
    request_payload: dict[str, Any] | None = field(default=None, hash=False)
    prompt: str | None = None

    @classmethod
    def notification(
        cls,
        integration: Integration | str,
        *,
        title: str = "",
        message: str = "",
        severity: Severity = "INFO",
    ) -> Self:
        """Write to a Slack channel.

        Args:
            integration: One of `Api.slack_integrations()`, or its id.
            title: Of the message.
            message: Its text.
            severity: "INFO", "WARN" or "ERROR".

        Raises:
            UsageError: It is a webhook, or no such severity.
        """
        if isinstance(integration, WebhookIntegration):
            raise UsageError("A notification goes to a Slack integration, not to a webhook")
        level = one_of(severity.upper(), {each: each for each in _SEVERITIES})
        return cls("NOTIFICATION", _id(integration), title=title, message=message, severity=level)

    @classmethod
    def webhook(cls, integration: Integration | str, payload: Mapping[str, Any] | None = None) -> Self:
        """Call a webhook.

        Args:
            integration: One of `Api.webhook_integrations()`, or its id.
            payload: What to send; may hold W&B's `${...}` variables.

        Raises:
            UsageError: It is a Slack integration.
        """
        if isinstance(integration, SlackIntegration):
            raise UsageError("A webhook needs a webhook integration, not a Slack channel")
        sent = None if payload is None else dict(payload)
        return cls("GENERIC_WEBHOOK", _id(integration), request_payload=sent)

    @classmethod
    def no_op(cls) -> Self:
        """Do nothing."""
        return cls("NO_OP")

    @classmethod
    def aria(cls, prompt: str) -> Self:
        """Ask ARIA, W&B's assistant.

        Raises:
            UsageError: The prompt is empty, or longer than 4000 bytes.
        """
        text = prompt.strip()
        if not text or len(text.encode()) > _LONGEST_PROMPT:
            raise UsageError(f"A prompt has between 1 and {_LONGEST_PROMPT} bytes")
        return cls("ARIA", prompt=text)

    @classmethod
    def read(cls, node: Mapping[str, Any]) -> Self:
        """The action of a node."""
        name, payload = str(node["__typename"]), node.get("requestPayload")
        return cls(
            _ACTION_TYPES.get(name, name),
            ((node.get("notified") or node.get("called")) or {}).get("id"),
            title=node.get("title"),
            message=node.get("message"),
            severity=node.get("severity"),
            request_payload=None if payload is None else read_object(payload),
            prompt=node.get("prompt"),
        )

    def config(self) -> dict[str, Any]:
        """The action as it is sent.

        Raises:
            UsageError: It is one that the server has and takes from nobody.
        """
        if self.action_type == "NOTIFICATION":
            texts = {"title": self.title, "message": self.message, "severity": self.severity}
            return {"notificationActionInput": {"integrationID": self.integration_id, **texts}}
        if self.action_type == "GENERIC_WEBHOOK":
            payload = None if self.request_payload is None else values.dumps(self.request_payload)
            given = {"integrationID": self.integration_id, "requestPayload": payload}
            return {"genericWebhookActionInput": given}
        if self.action_type == "NO_OP":
            return {"noOpActionInput": {"noOp": True}}
        if self.action_type == "ARIA":
            return {"ariaActionInput": {"prompt": self.prompt}}
        raise UsageError(f"{self.action_type} actions cannot be sent", hint="Pass another action=.")


def _id(integration: Integration | str) -> str:
    return integration if isinstance(integration, str) else integration.id
