"""Automations as values: what happened (event), where (scope), and what W&B does then (action).

W&B's SDK writes these with operators of its own (`event >> action`, `RunEvent.metric("loss") > 1`). Here they
are plain constructors of frozen dataclasses that need no pydantic; what is sent is the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from wandb_ops.errors import UsageError
from wandb_ops.protocol import values
from wandb_ops.public.accounts.registries import Registry
from wandb_ops.public.accounts.teams import Organization, OrganizationEntity, Team
from wandb_ops.public.artifacts.collections import ArtifactCollection
from wandb_ops.public.projects import Project

Number = int | float
Severity = Literal["INFO", "WARN", "ERROR"]
Scoped = Project | Registry | ArtifactCollection | Team | Organization | OrganizationEntity

_COMPARISONS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_AGGREGATIONS = {"MAX": "MAX", "MIN": "MIN", "AVERAGE": "AVERAGE", "AVG": "AVERAGE", "MEAN": "AVERAGE"}
_CHANGES = frozenset({"ABSOLUTE", "RELATIVE"})
_DIRECTIONS = frozenset({"INCREASE", "DECREASE", "ANY"})
_STATES = {"RUNNING": "RUNNING", "FINISHED": "FINISHED", "FAILED": "FAILED", "CRASHED": "FAILED"}
_SEVERITIES = frozenset({"INFO", "WARN", "ERROR"})
#: Names of events of artifacts -> what the server calls them.
_ARTIFACT_EVENTS = {
    "CREATE_ARTIFACT": "CREATE_ARTIFACT",
    "LINK_ARTIFACT": "LINK_MODEL",
    "LINK_MODEL": "LINK_MODEL",
    "UNLINK_ARTIFACT": "UNLINK_ARTIFACT",
    "ADD_ARTIFACT_ALIAS": "ADD_ARTIFACT_ALIAS",
    "ADD_ARTIFACT_TAG": "ADD_ARTIFACT_TAG",
    "REMOVE_ARTIFACT_TAG": "REMOVE_ARTIFACT_TAG",
    "ADD_COLLECTION_TAG": "ADD_COLLECTION_TAG",
    "REMOVE_COLLECTION_TAG": "REMOVE_COLLECTION_TAG",
}
_SCOPE_TYPES = {"Project": "PROJECT", "Entity": "ENTITY"}
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
class AutomationScope:
    """What an automation watches.

    Attributes:
        id: The server's identifier.
        name: Name of the project (with `wandb-registry-` for a registry), collection or entity.
        scope_type: "PROJECT", "ARTIFACT_COLLECTION" or "ENTITY".
    """

    id: str
    name: str
    scope_type: str

    @classmethod
    def of(cls, watched: AutomationScope | Scoped) -> AutomationScope:
        """The scope that a project, registry, collection, team or organisation is.

        Raises:
            UsageError: It is none of these.
        """
        if isinstance(watched, AutomationScope):
            return watched
        if isinstance(watched, Organization):
            return cls(watched.org_entity.id, watched.org_entity.name, "ENTITY")
        if isinstance(watched, Team | OrganizationEntity):
            return cls(watched.id, watched.name, "ENTITY")
        if isinstance(watched, Registry):
            return cls(watched.id, watched.full_name, "PROJECT")
        if isinstance(watched, Project):
            return cls(watched.id, watched.name, "PROJECT")
        if isinstance(watched, ArtifactCollection):
            return cls(watched.id, watched.name, "ARTIFACT_COLLECTION")
        raise UsageError(
            f"An automation cannot watch a {type(watched).__name__}",
            hint="Pass a project, registry, artifact collection, team or organization.",
        )

    @classmethod
    def read(cls, node: Mapping[str, Any]) -> Self:
        """The scope of a node."""
        kind = _SCOPE_TYPES.get(node["__typename"], "ARTIFACT_COLLECTION")
        return cls(str(node.get("id", "")), str(node.get("name", "")), kind)


@dataclass(frozen=True, slots=True)
class AutomationEvent:
    """What sets an automation off; made by the class methods.

    Attributes:
        event_type: W&B's name: "RUN_METRIC", "RUN_STATE", "LINK_MODEL" and so on.
        filter: The conditions, in W&B's JSON form.
        scope: Where; None for an event that was read from the server (its automation has the scope).
    """

    event_type: str
    filter: dict[str, Any] = field(hash=False)
    scope: AutomationScope | None = None

    @classmethod
    def run_metric(
        cls,
        scope: AutomationScope | Scoped,
        name: str,
        comparison: str,
        threshold: Number,
        *,
        agg: str | None = None,
        window: int = 1,
        run_filter: Mapping[str, Any] | None = None,
    ) -> Self:
        """A metric passes a threshold: `run_metric(project, "loss", ">", 10)`.

        Args:
            scope: A project, team or organisation.
            name: Key in the history.
            comparison: ">", ">=", "<" or "<=".
            threshold: What the metric, or its aggregate, is compared with.
            agg: "MAX", "MIN" or "AVERAGE" of the last `window` values; None is the value itself.
            window: Number of values that are aggregated.
            run_filter: Which runs count, in MongoDB's query language (`display_name`, ...); None is all.

        Raises:
            UsageError: An argument is none of those.
        """
        condition = {
            "name": _text(name, "metric"),
            "agg_op": _aggregation(agg),
            "window_size": _window(window),
            "cmp_op": _one_of(comparison, {**_COMPARISONS, **{v: v for v in _COMPARISONS.values()}}),
            "threshold": _number(threshold),
        }
        return cls._of_run("RUN_METRIC", scope, run_filter, metric={"threshold_filter": condition})

    @classmethod
    def run_metric_change(
        cls,
        scope: AutomationScope | Scoped,
        name: str,
        amount: Number,
        *,
        change_type: str = "ABSOLUTE",
        change_dir: str = "ANY",
        agg: str | None = None,
        window: int = 1,
        prior_window: int | None = None,
        run_filter: Mapping[str, Any] | None = None,
    ) -> Self:
        """A metric changes by an amount from one window of values to the next.

        Args:
            scope: A project, team or organisation.
            name: Key in the history.
            amount: How much, above 0; 0.1 is 10 % of a relative change.
            change_type: "ABSOLUTE" or "RELATIVE".
            change_dir: "INCREASE", "DECREASE" or "ANY".
            agg: As for `run_metric`.
            window: Number of values in the current window.
            prior_window: Number of values in the window before; None is `window`.
            run_filter: As for `run_metric`.

        Raises:
            UsageError: An argument is none of those.
        """
        condition = {
            "name": _text(name, "metric"),
            "agg_op": _aggregation(agg),
            "current_window_size": _window(window),
            "prior_window_size": _window(window if prior_window is None else prior_window),
            "change_type": _one_of(change_type.upper(), {each: each for each in _CHANGES}),
            "change_dir": _one_of(change_dir.upper(), {each: each for each in _DIRECTIONS}),
            "change_amount": _positive(amount),
        }
        return cls._of_run("RUN_METRIC_CHANGE", scope, run_filter, metric={"change_filter": condition})

    @classmethod
    def run_metric_zscore(
        cls,
        scope: AutomationScope | Scoped,
        name: str,
        threshold: Number = 3.0,
        *,
        window: int = 30,
        change_dir: str = "ANY",
        run_filter: Mapping[str, Any] | None = None,
    ) -> Self:
        """A metric leaves its mean by so many standard deviations of the last `window` values.

        Raises:
            UsageError: An argument is not what `run_metric_change` takes.
        """
        condition = {
            "name": _text(name, "metric"),
            "window_size": _window(window),
            "threshold": _positive(threshold),
            "change_dir": _one_of(change_dir.upper(), {each: each for each in _DIRECTIONS}),
        }
        return cls._of_run("RUN_METRIC_ZSCORE", scope, run_filter, metric={"zscore_filter": condition})

    @classmethod
    def run_state(
        cls,
        scope: AutomationScope | Scoped,
        states: str | Sequence[str],
        *,
        run_filter: Mapping[str, Any] | None = None,
    ) -> Self:
        """A run changes to one of the states "running", "finished" and "failed" ("crashed" is the same).

        Raises:
            UsageError: It is no such state.
        """
        given = [states] if isinstance(states, str) else list(states)
        chosen = sorted({_one_of(each.upper(), _STATES) for each in given})
        if not chosen:
            raise UsageError("An event of run states needs a state")
        return cls._of_run("RUN_STATE", scope, run_filter, state={"states": chosen})

    @classmethod
    def artifact(
        cls,
        scope: AutomationScope | Scoped,
        event_type: str,
        filter: Mapping[str, Any] | None = None,
    ) -> Self:
        """Something happens to artifacts: `artifact(collection, "ADD_ARTIFACT_ALIAS", {"alias": "prod"})`.

        Args:
            scope: A project, registry, collection, team or organisation; "CREATE_ARTIFACT": a collection.
            event_type: "CREATE_ARTIFACT", "LINK_ARTIFACT", "UNLINK_ARTIFACT", "ADD_ARTIFACT_ALIAS",
                "ADD_ARTIFACT_TAG", "REMOVE_ARTIFACT_TAG", "ADD_COLLECTION_TAG" or "REMOVE_COLLECTION_TAG".
            filter: Conditions on `alias` or `tag`, in MongoDB's query language; None is none.

        Raises:
            UsageError: There is no such event, or its scope cannot be this one.
        """
        kind, where = _one_of(event_type.upper(), _ARTIFACT_EVENTS), AutomationScope.of(scope)
        if kind == "CREATE_ARTIFACT" and where.scope_type != "ARTIFACT_COLLECTION":
            raise UsageError("CREATE_ARTIFACT events need an artifact collection as their scope")
        # The server's own page reads no other form.
        return cls(kind, {"$or": [_all_of(filter)]}, where)

    @classmethod
    def _of_run(
        cls,
        kind: str,
        scope: AutomationScope | Scoped,
        run_filter: Mapping[str, Any] | None,
        *,
        metric: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
    ) -> Self:
        where = AutomationScope.of(scope)
        if where.scope_type == "ARTIFACT_COLLECTION":
            raise UsageError("Events of runs need a project, team or organization as their scope")
        found = {"run_metric_filter": metric} if metric is not None else {"run_state_filter": state}
        return cls(kind, {"run_filter": _all_of(run_filter), **found}, where)

    @classmethod
    def read(cls, node: Mapping[str, Any]) -> Self:
        """The event of a node."""
        found = _object(node.get("filter"))
        if set(found) == {"filter"}:
            found = _object(found["filter"])
        if "run_filter" in found:
            found = {**found, "run_filter": _object(found["run_filter"])}
        return cls(str(node.get("eventType")), found)

    def text(self) -> str:
        """The filter as it is sent: a filter of runs is JSON text within the JSON text."""
        found = dict(self.filter)
        if "run_filter" in found:
            found["run_filter"] = values.dumps(found["run_filter"])
        return values.dumps(found)


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
        level = _one_of(severity.upper(), {each: each for each in _SEVERITIES})
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
            request_payload=None if payload is None else _object(payload),
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


def _object(value: Any) -> dict[str, Any]:
    """A JSON object, however deeply the server wrapped it into texts."""
    found = values.loads(value) if isinstance(value, str) else value
    return dict(found) if isinstance(found, Mapping) else {}


def _all_of(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and set(given) == {"$and"}:
        return dict(given)
    return {"$and": [dict(given)] if given else []}


def _id(integration: Integration | str) -> str:
    return integration if isinstance(integration, str) else integration.id


def _one_of(given: str, known: Mapping[str, str]) -> str:
    if given not in known:
        raise UsageError(f"{given!r} is none of {', '.join(sorted(known))}")
    return known[given]


def _aggregation(given: str | None) -> str | None:
    return None if given is None else _one_of(given.upper(), _AGGREGATIONS)


def _text(given: str, what: str) -> str:
    if not isinstance(given, str) or not given:
        raise UsageError(f"A {what} is named by text, not {given!r}")
    return given


def _number(given: Number) -> Number:
    if isinstance(given, bool) or not isinstance(given, int | float) or math.isnan(given):
        raise UsageError(f"A threshold is a number, not {given!r}")
    return given


def _positive(given: Number) -> Number:
    if _number(given) <= 0:
        raise UsageError(f"This is to be above 0, not {given!r}")
    return given


def _window(given: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise UsageError(f"A window is a whole number of values from 1, not {given!r}")
    return given
