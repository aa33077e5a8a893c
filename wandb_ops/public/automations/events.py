"""What sets an automation off: an event, and where it is watched for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from wandb_ops.errors import UsageError
from wandb_ops.protocol import values
from wandb_ops.public.accounts.registries import Registry
from wandb_ops.public.accounts.teams import Organization, OrganizationEntity, Team
from wandb_ops.public.artifacts.collections import ArtifactCollection
from wandb_ops.public.automations.checks import one_of, read_object
from wandb_ops.public.projects import Project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Number = int | float
Scoped = Project | Registry | ArtifactCollection | Team | Organization | OrganizationEntity

_COMPARISONS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_AGGREGATIONS = {"MAX": "MAX", "MIN": "MIN", "AVERAGE": "AVERAGE", "AVG": "AVERAGE", "MEAN": "AVERAGE"}
_CHANGES = frozenset({"ABSOLUTE", "RELATIVE"})
_DIRECTIONS = frozenset({"INCREASE", "DECREASE", "ANY"})
_STATES = {"RUNNING": "RUNNING", "FINISHED": "FINISHED", "FAILED": "FAILED", "CRASHED": "FAILED"}
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
            "cmp_op": one_of(comparison, {**_COMPARISONS, **{v: v for v in _COMPARISONS.values()}}),
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
            "change_type": one_of(change_type.upper(), {each: each for each in _CHANGES}),
            "change_dir": one_of(change_dir.upper(), {each: each for each in _DIRECTIONS}),
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
            "change_dir": one_of(change_dir.upper(), {each: each for each in _DIRECTIONS}),
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
        chosen = sorted({one_of(each.upper(), _STATES) for each in given})
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
        kind, where = one_of(event_type.upper(), _ARTIFACT_EVENTS), AutomationScope.of(scope)
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
        found = read_object(node.get("filter"))
        if set(found) == {"filter"}:
            found = read_object(found["filter"])
        if "run_filter" in found:
            found = {**found, "run_filter": read_object(found["run_filter"])}
        return cls(str(node.get("eventType")), found)

    def text(self) -> str:
        """The filter as it is sent: a filter of runs is JSON text within the JSON text."""
        found = dict(self.filter)
        if "run_filter" in found:
            found["run_filter"] = values.dumps(found["run_filter"])
        return values.dumps(found)


def _all_of(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and set(given) == {"$and"}:
        return dict(given)
    return {"$and": [dict(given)] if given else []}


def _aggregation(given: str | None) -> str | None:
    return None if given is None else one_of(given.upper(), _AGGREGATIONS)


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
