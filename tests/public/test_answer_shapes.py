"""The embedded server's answers, read by the SDK's own generated pydantic models: one per operation.

Every operation that the SDK generates is sent as it is, over plain HTTP, and its answer must pass for the
model of that name, with what was asked for really in it.
"""

from __future__ import annotations

import base64
import functools
import importlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.sdk

PACKAGES = (
    "wandb.apis._generated",
    "wandb.automations._generated",
    "wandb.sdk.artifacts._generated",
    "wandb.sdk.internal._generated",
)
_numbers = itertools.count()


@functools.cache
def operations() -> dict[str, tuple[str, Any]]:
    """Name of each generated operation -> (its text, its model)."""
    from graphql import OperationDefinitionNode, parse

    found = {}
    for package in PACKAGES:
        models = importlib.import_module(package)
        texts = vars(importlib.import_module(f"{package}.operations"))
        for constant, text in texts.items():
            if constant.endswith("_GQL"):
                (node,) = (
                    each for each in parse(text).definitions if isinstance(each, OperationDefinitionNode)
                )
                assert node.name is not None
                found[node.name.value] = (text, getattr(models, node.name.value))
    return found


class Sender:
    """Sends operations as ann, and makes what they need."""

    def __init__(self, world: Any) -> None:
        self.world, self.server = world, world.company.server
        self.session = requests.Session()
        self.session.trust_env = False

    def send(self, query: str, variables: dict[str, Any], who: str = "ann") -> dict[str, Any]:
        key = self.world.company.users[who].api_key
        answer = self.session.post(
            f"{self.server.url}/graphql",
            json={"query": query, "variables": variables},
            auth=("api", key),
            timeout=30,
        ).json()
        assert not answer.get("errors"), answer
        data: dict[str, Any] = answer["data"]
        return data

    @functools.cached_property
    def ours(self) -> Any:
        return self.world.company.ours("ann", entity="crew")

    @functools.cached_property
    def run(self) -> Any:
        return self.ours.create_run(run_id="shapes", entity="crew", project="made")

    def version(self) -> Any:
        """A new artifact in a collection of its own."""
        import wandb_ops

        artifact = wandb_ops.Artifact(f"shape{next(_numbers)}", "model", metadata={"n": 1})
        artifact.add_bytes(b"x", "f.txt")
        self.run.log_artifact(artifact)
        return self.ours.artifact(f"crew/made/{artifact.name.partition(':')[0]}:v0")

    def sequence(self) -> str:
        return str(self.version().collection.id)

    def portfolio(self) -> str:
        name = f"Acme-org/wandb-registry-model/shape{next(_numbers)}"
        return str(self.version().link(name).collection.id)

    def registry(self) -> Any:
        return self.ours.create_registry(f"shape{next(_numbers)}", "organization", "Acme")

    def with_members(self) -> Any:
        registry = self.registry()
        return registry.add_members(self.ours.team("crew"), self.world.company.ours("root").user("bob"))

    def automation(self) -> dict[str, Any]:
        return {
            "name": f"shape{next(_numbers)}",
            "description": "d",
            "enabled": True,
            "scopeType": "PROJECT",
            "scopeID": self.ours.project("work", "crew").id,
            "triggeringEventType": "RUN_STATE",
            "eventFilter": json.dumps({"run_filter": "{}", "run_state_filter": {"states": ["FAILED"]}}),
            "triggeredActionType": "NO_OP",
            "triggeredActionConfig": {"noOpActionInput": {"noOp": True}},
            "clientMutationId": "1",
        }


def user_id(sender: Sender, name: str) -> str:
    return str(sender.world.company.ours("root").user(name).id)


def weights(s: Sender) -> Any:
    return s.ours.artifact("crew/work/weights:v1")


def aliases(s: Sender, name: str) -> dict[str, Any]:
    version = s.version()
    collection = version.name.partition(":")[0]
    place = {"entityName": "crew", "projectName": "made", "artifactCollectionName": collection}
    return {"input": {"artifactID": version.id, "aliases": [{**place, "alias": name}]}}


def tags(s: Sender) -> dict[str, Any]:
    name = s.version().name.partition(":")[0]
    place = {"entityName": "crew", "projectName": "made", "artifactCollectionName": name}
    return {"input": {**place, "tags": [{"tagName": "t"}]}}


WORK = {"entity": "crew", "project": "work"}
ACME: dict[str, Any] = {"organization": "Acme", "cursor": None, "perPage": 10, "order": None}
#: Operation -> its variables.
VARIABLES: dict[str, Callable[[Sender], dict[str, Any]]] = {
    "AddAliases": lambda s: aliases(s, "shape"),
    "AddArtifactCollectionTags": tags,
    "ArtifactByID": lambda s: {"id": weights(s).id, "includeAliases": True},
    "ArtifactCollectionAliases": lambda s: {"id": weights(s).collection.id, "perPage": 10},
    "ArtifactCreatedBy": lambda s: {"id": weights(s).id},
    "ArtifactMembershipByName": lambda s: {**WORK, "name": "weights:v1", "includeAliases": True},
    "ArtifactMembershipFiles": lambda s: {**WORK, "collection": "weights", "alias": "v1", "perPage": 10},
    "ArtifactType": lambda s: {**WORK, "name": "weights:v1"},
    "ArtifactTypeArtifactCollections": lambda s: {**WORK, "type": "model", "perPage": 10},
    "ArtifactUsedBy": lambda s: {"id": s.ours.artifact("crew/work/weights:v2").id},
    "CreateAutomation": lambda s: {"input": s.automation()},
    "CreateGenericWebhookIntegration": lambda s: {
        "input": {"entityName": "crew", "name": "shape", "urlEndpoint": "https://hooks.example/x"}
    },
    "CreateInvite": lambda s: {"entity": "crew", "email": f"i{next(_numbers)}@example.org", "admin": False},
    "CreateProject": lambda s: {"input": {"name": f"shape{next(_numbers)}", "entityName": "crew"}},
    "CreateRegistryMembers": lambda s: {
        "input": {"projectId": s.registry().id, "userIds": [user_id(s, "bob")], "teamIds": []}
    },
    "CreateServiceAccount": lambda s: {"entity": "crew", "description": f"robot {next(_numbers)}"},
    "CreateTeam": lambda s: {"teamName": f"shape{next(_numbers)}"},
    "CreateUserFromAdmin": lambda s: {"email": f"u{next(_numbers)}@example.org", "admin": False},
    "DeleteAliases": lambda s: aliases(s, "latest"),
    "DeleteApiKey": lambda s: {"id": api_key(s)},
    "DeleteArtifact": lambda s: {"input": {"artifactID": s.version().id, "deleteAliases": True}},
    "DeleteArtifactCollectionTags": tags,
    "DeleteArtifactPortfolio": lambda s: {"id": s.portfolio()},
    "DeleteArtifactSequence": lambda s: {"id": s.sequence()},
    "DeleteAutomation": lambda s: {"id": made_automation(s)},
    "DeleteInvite": lambda s: {"id": invite(s), "entity": "crew"},
    "DeleteRegistry": lambda s: {"id": s.registry().id},
    "DeleteRegistryMembers": lambda s: {
        "input": {"projectId": s.with_members().id, "userIds": [user_id(s, "bob")], "teamIds": []}
    },
    "FetchAdvancedRegistryFeatures": lambda s: {"organization": "Acme"},
    "FetchArtifactManifest": lambda s: {"id": weights(s).id},
    "FetchLinkedArtifacts": lambda s: {"artifactID": s.ours.artifact("crew/work/weights:v2").id},
    "FetchOrgInfoFromEntity": lambda s: {"entity": "crew"},
    "FetchOrganization": lambda s: {"org": "Acme"},
    "FetchRegistries": lambda s: ACME,
    "FetchRegistry": lambda s: {"name": "wandb-registry-model", "entity": "Acme-org"},
    "GenerateApiKey": lambda s: {"description": "shape"},
    "GetAgentRuns": lambda s: {**WORK, "agentID": s.world.agent, "sweep": s.world.sweep, "first": 10},
    "GetArtifactMembershipFileUrls": lambda s: {
        **WORK,
        "collection": "weights",
        "alias": "v1",
        "perPage": 10,
    },
    "GetAutomationsLegacy": lambda s: {"perPage": 10},
    "GetDefaultEntity": lambda s: {},
    "GetEntityAutomations": lambda s: {"entity": "crew", "perPage": 10},
    "GetEntityAutomationsLegacy": lambda s: {"entity": "crew", "perPage": 10},
    "GetOrgAutomations": lambda s: {"org": "Acme", "perPage": 10},
    "GetProject": lambda s: {"name": "work", "entity": "crew"},
    "GetProjects": lambda s: {"entity": "crew", "perPage": 10},
    "GetSweep": lambda s: {**WORK, "name": s.world.sweep},
    "GetSweepAgent": lambda s: {**WORK, "agentID": s.world.agent, "sweep": s.world.sweep},
    "GetSweepAgents": lambda s: {**WORK, "sweep": s.world.sweep},
    "GetSweepLegacy": lambda s: {**WORK, "name": s.world.sweep},
    "GetSweeps": lambda s: {**WORK, "filters": "{}", "perPage": 10},
    "GetTeamEntity": lambda s: {"name": "crew"},
    "GetViewer": lambda s: {},
    "IntegrationsByEntity": lambda s: {"entity": "crew", "perPage": 10},
    "IsProjectReadOnly": lambda s: WORK,
    "LinkArtifact": lambda s: {"input": link(s), "includeAliases": True},
    "ProjectArtifactCollection": lambda s: {**WORK, "type": "model", "name": "weights"},
    "ProjectArtifactCollections": lambda s: {**WORK, "perPage": 10},
    "ProjectArtifactType": lambda s: {**WORK, "type": "model"},
    "ProjectArtifactTypes": lambda s: {**WORK, "perPage": 10},
    "ProjectArtifacts": lambda s: {
        **WORK,
        "type": "model",
        "collection": "weights",
        "perPage": 10,
        "includeAliases": True,
    },
    "RegistryCollections": lambda s: {
        **ACME,
        "registryFilter": '{"name": "wandb-registry-model"}',
        "collectionFilter": "{}",
        "collectionTypes": ["PORTFOLIO"],
    },
    "RegistryTeamMembers": lambda s: {"project": s.with_members().full_name, "entity": "Acme-org"},
    "RegistryUserMembers": lambda s: {"project": s.with_members().full_name, "entity": "Acme-org"},
    "RegistryVersions": lambda s: {
        **ACME,
        "registryFilter": "{}",
        "collectionFilter": "{}",
        "artifactFilter": "{}",
        "includeAliases": True,
    },
    "RenameRegistry": lambda s: {
        "input": {
            "entityName": "Acme-org",
            "oldProjectName": s.registry().full_name,
            "newProjectName": f"wandb-registry-renamed{next(_numbers)}",
        }
    },
    "RunInputArtifacts": lambda s: {**WORK, "run": "a1", "perPage": 10, "includeAliases": True},
    "RunOutputArtifacts": lambda s: {**WORK, "run": "a0", "perPage": 10, "includeAliases": True},
    "SearchUsers": lambda s: {"query": "ann"},
    "ServerFeaturesQuery": lambda s: {},
    "UnlinkArtifact": lambda s: {"input": unlink(s)},
    "UpdateArtifact": lambda s: {
        "input": {
            "artifactID": s.version().id,
            "description": "new",
            "metadata": "{}",
            "ttlDurationSeconds": None,
            "tagsToAdd": [{"tagName": "t"}],
            "tagsToDelete": [],
        },
        "includeAliases": True,
    },
    "UpdateArtifactPortfolio": lambda s: {
        "input": {"artifactPortfolioID": s.portfolio(), "description": "d"}
    },
    "UpdateArtifactSequence": lambda s: {"input": {"artifactSequenceID": s.sequence(), "description": "d"}},
    "UpdateArtifactSequenceType": lambda s: {
        "input": {"artifactSequenceID": s.sequence(), "destinationArtifactTypeName": "other"}
    },
    "UpdateAutomation": lambda s: {"input": {"id": made_automation(s), "enabled": False}},
    "UpdateTeamRegistryRole": lambda s: {
        "input": {
            "projectId": s.with_members().id,
            "teamId": s.ours.team("crew").id,
            "teamProjectRole": "member",
        }
    },
    "UpdateUserRegistryRole": lambda s: {
        "input": {"projectId": s.with_members().id, "userId": user_id(s, "bob"), "userProjectRole": "member"}
    },
    "UpsertRegistry": lambda s: {
        "input": {
            "entityName": "Acme-org",
            "name": f"wandb-registry-shape{next(_numbers)}",
            "access": "PRIVATE",
            "allowAllArtifactTypesInRegistry": True,
            "artifactTypes": [],
        }
    },
}
#: Those that only an administrator of the server may send.
AS_ROOT = {"CreateUserFromAdmin"}


def api_key(s: Sender) -> str:
    query = 'mutation K { generateApiKey(input: {description: "x"}) { apiKey { id } } }'
    return str(s.send(query, {})["generateApiKey"]["apiKey"]["id"])


def made_automation(s: Sender) -> str:
    query = "mutation M($i: CreateFilterTriggerInput!) { createFilterTrigger(input: $i) { trigger { id } } }"
    return str(s.send(query, {"i": s.automation()})["createFilterTrigger"]["trigger"]["id"])


def invite(s: Sender) -> str:
    query = "mutation I($i: CreateInviteInput!) { createInvite(input: $i) { invite { id } } }"
    given = {"entityName": "crew", "email": f"d{next(_numbers)}@example.org"}
    return str(s.send(query, {"i": given})["createInvite"]["invite"]["id"])


def link(s: Sender) -> dict[str, Any]:
    return {
        "artifactID": s.version().id,
        "artifactPortfolioName": f"shape{next(_numbers)}",
        "entityName": "Acme-org",
        "projectName": "wandb-registry-model",
        "aliases": [],
    }


def unlink(s: Sender) -> dict[str, Any]:
    given = link(s)
    query = "mutation L($i: LinkArtifactInput!) { linkArtifact(input: $i) { versionIndex } }"
    s.send(query, {"i": given})
    name = f"Acme-org/wandb-registry-model/{given['artifactPortfolioName']}"
    found = s.ours.artifact(f"{name}:v0")
    return {"artifactID": found.id, "artifactPortfolioID": found.collection.id}


@pytest.fixture(scope="module")
def sender(world: Any) -> Sender:
    return Sender(world)


def test_every_generated_operation_has_a_case() -> None:
    assert set(VARIABLES) == set(operations())


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_an_answer_passes_for_the_sdks_own_model(sender: Sender, name: str) -> None:
    text, model = operations()[name]
    data = sender.send(text, VARIABLES[name](sender), who="root" if name in AS_ROOT else "ann")
    read = model.model_validate_json(json.dumps(data))
    # What was asked for is there: an answer of nulls would pass for most models.
    values = [value for value in read.__dict__.values() if value is not None]
    assert values
    assert [value for value in data.values() if value]


def test_ids_of_users_and_entities_are_what_the_sdk_takes_apart(sender: Sender) -> None:
    for identifier, kind in ((user_id(sender, "bob"), "User"), (sender.ours.team("crew").id, "Entity")):
        found, _, number = base64.b64decode(identifier).decode().partition(":")
        assert (found, number.isdigit()) == (kind, True)
