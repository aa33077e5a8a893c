"""Automations and integrations: what the real SDK makes we list and change, and the other way round."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import requests

import wandb_ops
from wandb_ops import (
    Api,
    AutomationAction,
    AutomationEvent,
    NewAutomation,
    NotFoundError,
    UnsupportedServer,
    UsageError,
)
from wandb_ops.local.errors import Refused
from wandb_ops.local.serve import LocalServer

HOOK = (
    "mutation M($i: CreateGenericWebhookIntegrationInput!)"
    " { createGenericWebhookIntegration(input: $i) { integration { id } } }"
)


def post(company: Any, name: str, query: str, **variables: Any) -> dict[str, Any]:
    """One request over plain HTTP."""
    answer = requests.post(
        f"{company.server.url}/graphql",
        json={"query": query, "variables": variables},
        auth=("api", company.users[name].api_key),
        timeout=10,
    )
    envelope: dict[str, Any] = answer.json()
    return envelope


@pytest.fixture(scope="module")
def crew(company: Any) -> Any:
    """A team with projects, a collection, a registry, two Slack channels and a webhook."""
    company.server.add_organization("Acme", teams=["crew"])
    api = company.ours("ann")
    api.create_project("work", "crew")
    api.create_run(run_id="maker", project="work", entity="crew").log_artifact(
        wandb_ops.Artifact("rows", "dataset")
    )
    api.create_registry("model", "organization", organization="Acme")
    company.server.add_slack_integration("crew", team="Acme Inc", channel="#alerts")
    company.server.add_slack_integration("crew", team="Acme Inc", channel="#noise")
    given = {"entityName": "crew", "name": "deploy", "urlEndpoint": "https://hooks.example/deploy"}
    assert "errors" not in post(company, "ann", HOOK, i=given)
    return company


def scope(api: Any, kind: str) -> Any:
    """What an automation watches, from either library."""
    if kind == "project":
        return api.project("work", "crew")
    if kind == "registry":
        return api.registry("model", "Acme")
    if kind == "collection":
        return api.artifact_collection("dataset", "crew/work/rows")
    if kind == "organization":
        return api.organization("Acme")
    return api.team("crew")


def theirs_event(api: Any, name: str) -> Any:
    from wandb import automations as sdk

    metric = sdk.RunEvent.metric
    where = scope(api, EVENTS[name][0])
    made = {
        "threshold": lambda: sdk.OnRunMetric(scope=where, filter=metric("loss").avg(5).gt(1.5)),
        "single": lambda: sdk.OnRunMetric(scope=where, filter=metric("loss") <= 3),
        "runs": lambda: sdk.OnRunMetric(
            scope=where, filter=(metric("loss") > 1) & (sdk.RunEvent.name == "r1")
        ),
        "change": lambda: sdk.OnRunMetric(scope=where, filter=metric("acc").max(3).changes_by(frac=0.25)),
        "zscore": lambda: sdk.OnRunMetric(
            scope=where, filter=sdk.MetricZScoreFilter(name="acc", window=10, threshold=2.0)
        ),
        "state": lambda: sdk.OnRunState(scope=where, filter=sdk.RunEvent.state.in_(["failed", "finished"])),
        "alias": lambda: sdk.OnAddArtifactAlias(scope=where, filter=sdk.ArtifactEvent.alias.eq("prod")),
        "link": lambda: sdk.OnLinkArtifact(scope=where),
        "create": lambda: sdk.OnCreateArtifact(scope=where),
        "tag": lambda: sdk.OnRemoveCollectionTag(scope=where, filter=sdk.ArtifactEvent.tag.eq("old")),
    }
    return made[name]()


# Our event of the same meaning, by name: (kind of scope, constructor).
EVENTS: dict[str, tuple[str, Any]] = {
    "threshold": (
        "project",
        lambda at: AutomationEvent.run_metric(at, "loss", ">", 1.5, agg="avg", window=5),
    ),
    "single": ("team", lambda at: AutomationEvent.run_metric(at, "loss", "<=", 3)),
    "runs": (
        "project",
        lambda at: AutomationEvent.run_metric(at, "loss", ">", 1, run_filter={"display_name": "r1"}),
    ),
    "change": (
        "project",
        lambda at: AutomationEvent.run_metric_change(
            at, "acc", 0.25, change_type="relative", agg="max", window=3
        ),
    ),
    "zscore": ("organization", lambda at: AutomationEvent.run_metric_zscore(at, "acc", 2.0, window=10)),
    "state": ("project", lambda at: AutomationEvent.run_state(at, ["finished", "crashed"])),
    "alias": ("collection", lambda at: AutomationEvent.artifact(at, "ADD_ARTIFACT_ALIAS", {"alias": "prod"})),
    "link": ("registry", lambda at: AutomationEvent.artifact(at, "LINK_ARTIFACT")),
    "create": ("collection", lambda at: AutomationEvent.artifact(at, "CREATE_ARTIFACT")),
    "tag": ("project", lambda at: AutomationEvent.artifact(at, "REMOVE_COLLECTION_TAG", {"tag": "old"})),
}


@pytest.mark.sdk
@pytest.mark.parametrize("name", sorted(EVENTS))
def test_what_the_sdk_makes_we_list_and_delete(crew: Any, sdk_home: None, name: str) -> None:
    from wandb import automations as sdk

    theirs, ours = crew.theirs("ann"), crew.ours("bob")
    event = theirs_event(theirs, name)
    made = theirs.create_automation(event >> sdk.DoNothing(), name=f"sdk {name}", description="why")
    (found,) = ours.automations(event_entity(name), name=f"sdk {name}")
    assert (found.id, found.name, found.description, found.enabled) == (made.id, made.name, "why", True)
    kind, constructor = EVENTS[name]
    wanted = constructor(scope(ours, kind))
    assert found.event.event_type == wanted.event_type
    assert normal(found.event.filter) == normal(wanted.filter)
    assert found.scope == wanted.scope
    assert found.action == AutomationAction.no_op()
    assert ours.delete_automation(found) is True
    assert list(theirs.automations(event_entity(name), name=f"sdk {name}")) == []


@pytest.mark.sdk
@pytest.mark.parametrize("name", sorted(EVENTS))
def test_what_we_make_the_sdk_lists_changes_and_deletes(crew: Any, sdk_home: None, name: str) -> None:
    theirs, ours = crew.theirs("ann"), crew.ours("ann")
    kind, constructor = EVENTS[name]
    event = constructor(scope(ours, kind))
    made = ours.create_automation(NewAutomation(event, AutomationAction.no_op(), f"our {name}"))
    found = theirs.automation(f"our {name}", entity=event_entity(name))
    wanted = theirs_event(theirs, name)
    assert found.id == made.id
    assert found.event.event_type == wanted.event_type
    read = json.loads(found.event.model_dump()["filter"])
    sent = json.loads(wanted.model_dump()["filter"])
    assert normal(read) == normal(sent)
    assert found.scope.id == wanted.scope.id
    changed = theirs.update_automation(found, enabled=False, description="off")
    assert changed.enabled is False
    (again,) = ours.automations(event_entity(name), name=f"our {name}")
    assert (again.enabled, again.description, normal(again.event.filter)) == (
        False,
        "off",
        normal(event.filter),
    )
    assert theirs.delete_automation(found.id) is True
    assert list(ours.automations(event_entity(name), name=f"our {name}")) == []


def event_entity(name: str) -> str:
    return "Acme-org" if EVENTS[name][0] in {"registry", "organization"} else "crew"


def normal(value: Any) -> Any:
    """A filter with its JSON texts parsed, without absent values and W&B's outermost wrapping."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return value
        return normal(parsed) if isinstance(parsed, dict) else value
    if isinstance(value, list):
        return [normal(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"filter"}:
        return normal(value["filter"])
    if set(value) == {"$eq"}:
        return normal(value["$eq"])
    return {key: normal(each) for key, each in value.items() if each is not None}


@pytest.mark.sdk
def test_integrations_are_the_same(crew: Any, sdk_home: None) -> None:
    theirs, ours = crew.theirs("ann"), crew.ours("ann")
    for one, other in zip(
        [*ours.integrations("crew", per_page=1), *ours.slack_integrations(entity="crew")],
        [*theirs.integrations("crew", per_page=1), *theirs.slack_integrations(entity="crew")],
        strict=True,
    ):
        for attribute in ("id", "team_name", "channel_name", "name", "url_endpoint"):
            assert getattr(one, attribute, None) == getattr(other, attribute, None)
    (hook,) = ours.webhook_integrations("crew", per_page=1)
    (their_hook,) = theirs.webhook_integrations("crew")
    assert (hook.id, hook.name, hook.url_endpoint) == (
        their_hook.id,
        "deploy",
        "https://hooks.example/deploy",
    )
    assert [each.channel_name for each in ours.slack_integrations(entity="crew")] == ["#alerts", "#noise"]


@pytest.mark.sdk
def test_actions_pass_both_ways(crew: Any, sdk_home: None) -> None:
    from wandb import automations as sdk

    theirs, ours = crew.theirs("ann"), crew.ours("ann")
    slack, hook = ours.slack_integrations(entity="crew")[0], ours.webhook_integrations("crew")[0]
    event = AutomationEvent.run_state(ours.project("work", "crew"), "failed")
    actions = {
        "slack": AutomationAction.notification(slack, title="t", message="m", severity="WARN"),
        "hook": AutomationAction.webhook(hook, {"a": {"b": 1}}),
        "bare hook": AutomationAction.webhook(hook.id),
        "aria": AutomationAction.aria("what happened?"),
    }
    for name, action in actions.items():
        assert ours.create_automation(name=name, event=event, action=action).action == action
    found = {each.name: each.action for each in theirs.automations("crew") if each.name in actions}
    assert (found["slack"].integration.id, found["slack"].title, found["slack"].message) == (
        slack.id,
        "t",
        "m",
    )
    assert found["slack"].severity.value == "WARN"
    assert (found["hook"].integration.id, found["hook"].request_payload) == (hook.id, {"a": {"b": 1}})
    assert found["bare hook"].request_payload is None
    assert found["aria"].prompt == "what happened?"
    their_hook, their_slack = (
        next(theirs.webhook_integrations("crew")),
        next(theirs.slack_integrations(entity="crew")),
    )
    theirs.update_automation(
        theirs.automation("slack", entity="crew"),
        action=sdk.SendWebhook.from_integration(their_hook, payload={"x": 1}),
    )
    assert ours.automation("slack", entity="crew").action == AutomationAction.webhook(hook, {"x": 1})
    theirs.update_automation(
        theirs.automation("hook", entity="crew"),
        action=sdk.SendNotification.from_integration(their_slack, title="a", text="b"),
    )
    assert ours.automation("hook", entity="crew").action == AutomationAction.notification(
        slack, title="a", message="b"
    )
    for name in actions:
        ours.delete_automation(ours.automation(name, entity="crew"))


@pytest.mark.sdk
def test_the_sdk_walks_the_viewers_projects(crew: Any, sdk_home: None) -> None:
    ours, theirs = crew.ours("bob"), crew.theirs("bob")
    ours.create_project("own", "bob")
    event = AutomationEvent.run_state(ours.project("own", "bob"), "running")
    ours.create_automation(name="mine", event=event, action=AutomationAction.no_op())
    assert [each.name for each in theirs.automations()] == ["mine"]
    assert theirs.automation("mine").scope.name == "own"
    # compatibility: Api.automations (without an entity the SDK sees the viewer's own projects only)
    team = AutomationEvent.run_state(ours.team("crew"), "running")
    ours.create_automation(name="ours", event=team, action=AutomationAction.no_op())
    assert {each.name for each in ours.automations(per_page=1)} == {"mine", "ours"}
    ours.delete_automation(ours.automation("mine"))
    ours.delete_automation(ours.automation("ours"))


def test_a_name_is_given_once_and_the_existing_can_be_fetched(crew: Any) -> None:
    api = crew.ours("ann")
    event = AutomationEvent.run_state(api.project("work", "crew"), "failed")
    new = NewAutomation(event, AutomationAction.no_op(), "once")
    made = api.create_automation(new)
    with pytest.raises(UsageError, match="already"):
        api.create_automation(new)
    # compatibility: create_automation (with fetch_existing: the one of the same name and scope)
    assert api.create_automation(new, fetch_existing=True) == made
    renamed = api.update_automation(made, name="twice", description="d", event=event)
    assert (renamed.id, renamed.name, renamed.description) == (made.id, "twice", "d")
    assert renamed.updated_at is not None
    with pytest.raises(NotFoundError):
        api.automation("once", entity="crew")
    api.delete_automation(renamed)
    with pytest.raises(NotFoundError):
        api.delete_automation(renamed.id)
    with pytest.raises(NotFoundError):
        api.update_automation(renamed, enabled=False)
    # compatibility: update_automation (with create_missing: what the arguments say)
    back = api.update_automation(renamed, enabled=False, create_missing=True)
    assert (back.name, back.enabled, back.description) == ("twice", False, "d")
    api.delete_automation(back)


def test_a_list_goes_on_where_an_earlier_one_stopped(crew: Any) -> None:
    api = crew.ours("ann")
    for number in range(3):
        event = AutomationEvent.run_state(api.project("work", "crew"), "failed")
        api.create_automation(name=f"n{number}", event=event, action=AutomationAction.no_op())
    for entity in ("crew", None):
        begun = api.automations(entity, per_page=1)
        first = begun[0]
        rest = list(api.automations(entity, per_page=2, start=begun.cursor))
        assert [first.name, *(each.name for each in rest)] == ["n0", "n1", "n2"]
    for each in list(api.automations("crew")):
        api.delete_automation(each)


def test_what_one_may_not_see_is_not_there(crew: Any) -> None:
    ann, cid = crew.ours("ann"), crew.ours("cid")
    event = AutomationEvent.run_state(ann.project("work", "crew"), "failed")
    hook = ann.webhook_integrations("crew")[0]
    made = ann.create_automation(name="hidden", event=event, action=AutomationAction.webhook(hook))
    for ask in (
        lambda: list(cid.automations("crew")),
        lambda: list(cid.integrations("crew")),
        lambda: cid.delete_automation(made),
        lambda: cid.update_automation(made, enabled=False),
    ):
        with pytest.raises(NotFoundError):
            ask()
    cid.create_project("own", "cid")
    own = AutomationEvent.run_state(cid.project("own", "cid"), "failed")
    with pytest.raises(wandb_ops.GraphQLError, match="integration is not found"):
        cid.create_automation(name="borrow", event=own, action=AutomationAction.webhook(hook))
    with pytest.raises(wandb_ops.GraphQLError, match="project is not found"):
        cid.create_automation(name="spy", event=event, action=AutomationAction.no_op())
    assert list(cid.automations()) == []
    assert ann.automation("hidden", entity="crew") == made
    ann.delete_automation(made)


def test_what_an_automation_watches_takes_it_along(crew: Any) -> None:
    api = crew.ours("ann")
    api.create_registry("gone", "organization", organization="Acme")
    registry = api.registry("gone", "Acme")
    event = AutomationEvent.artifact(registry, "LINK_ARTIFACT")
    api.create_automation(name="follows", event=event, action=AutomationAction.no_op())
    assert [each.name for each in api.automations("Acme-org")] == ["follows"]
    answer = post(
        crew, "ann", 'query { organization(name: "Acme") { triggers { edges { node { name } } } } }'
    )
    assert answer["data"]["organization"]["triggers"]["edges"] == [{"node": {"name": "follows"}}]
    registry.delete()
    assert list(api.automations("Acme-org")) == []


def test_a_folder_from_before_automations_gets_them_and_keeps_them(tmp_path: Path) -> None:
    with LocalServer(data=tmp_path) as server:
        key = server.api_key
    with contextlib.closing(sqlite3.connect(tmp_path / "server.db")) as db:
        db.executescript("DROP TABLE triggers; DROP TABLE integrations;")
    for step in ("make", "read"):
        with LocalServer(data=tmp_path) as server:
            api = Api(overrides={"base_url": server.url}, api_key=key)
            if step == "make":
                server.add_slack_integration("local", team="Acme Inc", channel="#alerts")
                api.create_project("p", "local")
                event = AutomationEvent.run_state(api.project("p", "local"), "failed")
                action = AutomationAction.notification(api.slack_integrations()[0], message="m")
                made = api.create_automation(name="kept", event=event, action=action)
                with pytest.raises(Refused):
                    server.add_slack_integration("nix", team="Acme Inc", channel="#alerts")
            assert api.automation("kept") == made


@pytest.mark.parametrize(
    "wrong",
    [
        lambda at: AutomationEvent.run_metric(at, "loss", "==", 1),
        lambda at: AutomationEvent.run_metric(at, "", ">", 1),
        lambda at: AutomationEvent.run_metric(at, "loss", ">", float("nan")),
        lambda at: AutomationEvent.run_metric(at, "loss", ">", 1, window=0),
        lambda at: AutomationEvent.run_metric_change(at, "loss", -1),
        lambda at: AutomationEvent.run_metric_change(at, "loss", 1, change_dir="up"),
        lambda at: AutomationEvent.run_state(at, "asleep"),
        lambda at: AutomationEvent.run_state(at, []),
        lambda at: AutomationEvent.artifact(at, "CREATE_ARTIFACT"),
        lambda at: AutomationEvent.artifact(at, "NIX"),
        lambda _at: AutomationAction.aria(" "),
        lambda _at: AutomationAction.notification("id", severity="LOUD"),  # type: ignore[arg-type]  # is the test
        lambda _at: AutomationAction.webhook(wandb_ops.public.SlackIntegration("i", "t", "c")),
        lambda _at: AutomationEvent.run_state("work", "failed"),  # type: ignore[arg-type]  # is the test
    ],
)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(crew: Any, wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong(crew.ours("ann").project("work", "crew"))


def test_a_server_that_lacks_automations_is_named_as_such(crew: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb_ops.protocol.documents import automations as documents

    api = crew.ours("ann")
    older = documents.GET_AUTOMATIONS.text.replace("triggers(", "triggersOfTheFuture(")
    monkeypatch.setattr(
        documents, "GET_AUTOMATIONS", type(documents.GET_AUTOMATIONS)("GetEntityAutomations", older, "query")
    )
    with pytest.raises(UnsupportedServer, match="triggersOfTheFuture"):
        list(api.automations("crew"))


def test_what_an_older_server_does_not_know_is_not_asked_for() -> None:
    from wandb_ops.protocol.documents import automations as documents

    text = documents.for_server(documents.CREATE_AUTOMATION, ()).text
    assert "ARIATriggeredAction" not in text
    assert "on Entity" not in text
    everything = documents.for_server(
        documents.CREATE_AUTOMATION, {"AUTOMATION_ACTION_ARIA", "AUTOMATION_SCOPE_ENTITY"}
    )
    assert everything == documents.CREATE_AUTOMATION
