"""Several users on one server: what one may not see does not exist for him, whatever way he asks.

Over plain HTTP. Each refusal is compared, word for word, with the answer to the same question about something
that never was.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from wandb_ops.local.errors import Refused
from wandb_ops.local.graphql import schema
from wandb_ops.local.serve import LocalServer

ADMIN_KEY = "an-admin-key-of-the-tests"


class Person:
    """Requests as one user."""

    def __init__(self, server: LocalServer, key: str, entity: str) -> None:
        self.server, self.key, self.entity = server, key, entity
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.auth = ("api", key)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self.http.post(
            f"{self.server.url}/graphql", json={"query": query, "variables": variables}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        envelope: dict[str, Any] = answer.json()
        return envelope

    def data(self, query: str, **variables: Any) -> Any:
        envelope = self.ask(query, **variables)
        assert "errors" not in envelope, envelope
        return envelope["data"]

    def write(self, entity: str, project: str, run: str) -> dict[str, Any]:
        """A run with history, a file and a queue beside it; returns the ids that a client could keep."""
        made = self.data(
            "mutation M($r: UpsertBucketInput!, $f: CreateRunFilesInput!, $q: UpsertRunQueueInput!,"
            " $p: PushToRunQueueByNameInput!, $a: CreateLaunchAgentInput!,"
            " $c: CreateDefaultResourceConfigInput!)"
            " { upsertBucket(input: $r) { bucket { id } } createRunFiles(input: $f) { files { uploadUrl } }"
            " upsertRunQueue(input: $q) { success } pushToRunQueueByName(input: $p) { runQueueItemId }"
            " createLaunchAgent(input: $a) { launchAgentId }"
            " createDefaultResourceConfig(input: $c) { defaultResourceConfigID } }",
            r={"entityName": entity, "modelName": project, "name": run, "config": '{"secret":{"value":1}}'},
            f={"entityName": entity, "projectName": project, "runName": run, "files": ["secret.txt"]},
            q={
                "entityName": entity,
                "projectName": project,
                "queueName": "q",
                "resourceType": "kubernetes",
                "resourceConfig": "{}",
            },
            p={"entityName": entity, "projectName": project, "queueName": "q", "runSpec": '{"s":1}'},
            a={"entityName": entity, "projectName": project, "hostname": "h", "runQueues": []},
            c={"entityName": entity, "resource": "kubernetes", "config": "{}", "templateVariables": "{}"},
        )
        uploaded = requests.put(made["createRunFiles"]["files"][0]["uploadUrl"], data=b"secret", timeout=10)
        assert uploaded.status_code == 200
        assert self.stream(entity, project, run).status_code == 200
        found = self.data(
            "query Q($e: String!, $p: String!, $r: String!) { project(entityName: $e, name: $p)"
            ' { id runQueue(name: "q") { id } run(name: $r) { id files { edges { node { id } } } } } }',
            e=entity,
            p=project,
            r=run,
        )["project"]
        return {
            "project": found["id"],
            "run": found["run"]["id"],
            "file": found["run"]["files"]["edges"][0]["node"]["id"],
            "queue": found["runQueue"]["id"],
            "item": made["pushToRunQueueByName"]["runQueueItemId"],
            "agent": made["createLaunchAgent"]["launchAgentId"],
            **self.make_more(entity, project, run),
            "config": made["createDefaultResourceConfig"]["defaultResourceConfigID"],
        }

    def make_more(self, entity: str, project: str, run: str) -> dict[str, Any]:
        """A sweep with an agent, a report, and an artifact that is not committed."""
        place = {"entityName": entity, "projectName": project}
        sweep = self.data(
            "mutation M($s: UpsertSweepInput!) { upsertSweep(input: $s) { sweep { id name } } }",
            s={**place, "config": '{"method": "random", "parameters": {"a": {"min": 0.0, "max": 1.0}}}'},
        )["upsertSweep"]["sweep"]
        made = self.data(
            "mutation M($a: CreateAgentInput!, $v: UpsertViewInput!, $c: CreateArtifactInput!)"
            " { createAgent(input: $a) { agent { id } } upsertView(input: $v) { view { id } }"
            " createArtifact(input: $c) { artifact { id artifactSequence { id } } } }",
            a={**place, "sweep": sweep["name"], "host": "h"},
            v={**place, "name": "v", "type": "runs", "spec": "{}"},
            c={
                **place,
                "runName": run,
                "artifactTypeName": "secret",
                "artifactCollectionName": "secret",
                "digest": "0" * 32,
                "digestAlgorithm": "MANIFEST_MD5",
                "enableDigestDeduplication": True,
                "clientID": f"client-of-{entity}-{project}-{run}",
            },
        )
        artifact = made["createArtifact"]["artifact"]
        content = self.data(
            "mutation M($m: CreateArtifactManifestInput!, $f: CreateArtifactFilesInput!)"
            " { createArtifactManifest(input: $m) { artifactManifest { id } }"
            " createArtifactFiles(input: $f) { files { edges { node { uploadMultipartUrls"
            " { uploadID } } } } } }",
            m={"artifactID": artifact["id"], "digest": "0" * 32, "name": "m", "type": "FULL"},
            f={
                "artifactFiles": [
                    {
                        "artifactID": artifact["id"],
                        "name": "f",
                        "md5": "AAAAAAAAAAAAAAAAAAAAAA==",
                        "uploadPartsInput": [{"partNumber": 1, "hexMD5": "0" * 32}],
                    }
                ]
            },
        )
        (edge,) = content["createArtifactFiles"]["files"]["edges"]
        watched = base64.b64encode(f"Project:v1:{project}:{entity}".encode()).decode()
        automation = self.data(
            "mutation M($t: CreateFilterTriggerInput!, $w: CreateGenericWebhookIntegrationInput!)"
            " { createFilterTrigger(input: $t) { trigger { id } }"
            " createGenericWebhookIntegration(input: $w) { integration { id } } }",
            t={
                "name": f"secret-{project}-{run}",
                "enabled": True,
                "scopeType": "PROJECT",
                "scopeID": watched,
                "triggeringEventType": "LINK_MODEL",
                "eventFilter": "{}",
                "triggeredActionType": "NO_OP",
                "triggeredActionConfig": {},
            },
            w={"entityName": entity, "name": "secret", "urlEndpoint": "https://hooks.example/secret"},
        )
        return {
            "trigger": automation["createFilterTrigger"]["trigger"]["id"],
            "entity": self.data("query Q($e: String) { entity(name: $e) { id } }", e=entity)["entity"]["id"],
            "sweep": sweep["id"],
            "sweep agent": made["createAgent"]["agent"]["id"],
            "view": made["upsertView"]["view"]["id"],
            "artifact": artifact["id"],
            "collection": artifact["artifactSequence"]["id"],
            "manifest": content["createArtifactManifest"]["artifactManifest"]["id"],
            "upload": edge["node"]["uploadMultipartUrls"]["uploadID"],
            "client": f"client-of-{entity}-{project}-{run}",
        }

    def stream(self, entity: str, project: str, run: str) -> requests.Response:
        line = json.dumps({"_step": 0, "secret": 1})
        return self.http.post(
            f"{self.server.url}/files/{entity}/{project}/{run}/file_stream",
            json={"files": {"wandb-history.jsonl": {"offset": 0, "content": [line]}}},
            timeout=10,
        )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(data=tmp_path_factory.mktemp("accounts"), admin_key=ADMIN_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def people(shared: LocalServer) -> dict[str, Person]:
    """ann and bob share the team crew; cid is in no team; the owner is the server's own user."""
    made = {name: shared.add_user(name) for name in ("ann", "bob", "cid")}
    shared.add_team("crew", members={"ann": "admin", "bob": "member"})
    owner = Person(shared, shared.api_key, shared.entity)
    return {name: Person(shared, user.api_key, name) for name, user in made.items()} | {"owner": owner}


@pytest.fixture(scope="module")
def ids(people: dict[str, Person]) -> dict[str, Any]:
    """What ann has in her own entity and what is in the team, by place."""
    ann = people["ann"]
    return {"ann": ann.write("ann", "private", "r1"), "crew": ann.write("crew", "common", "r1")}


# What cid knows of ann's things, and the same of things that never were: (query, variables of both).
ABSENT = {
    "project": "UHJvamVjdDp2MTpwcml2YXRlOm5vYm9keQ==",  # Project:v1:private:nobody
    "file": "RmlsZTp2MTo5OTk5",  # File:v1:9999
    "queue": "UnVuUXVldWU6djE6OTk5OQ==",  # RunQueue:v1:9999
    "item": "UnVuUXVldWVJdGVtOnYxOjk5OTk=",  # RunQueueItem:v1:9999
    "agent": "TGF1bmNoQWdlbnQ6djE6OTk5OQ==",  # LaunchAgent:v1:9999
    "config": "RGVmYXVsdFJlc291cmNlQ29uZmlnOnYxOjk5OTk=",  # DefaultResourceConfig:v1:9999
    "run": "UnVuOnYxOnIxOnByaXZhdGU6bm9ib2R5",  # Run:v1:r1:private:nobody
    "sweep agent": "QWdlbnQ6djE6OTk5OQ==",  # Agent:v1:9999
    "view": "Vmlldzo5OTk5",  # View:9999
    "client": "client-of-nobody",
}
BY_NAME = {
    "entity": "query Q($e: String) { entity(name: $e) { id members { username } storageBytes } }",
    "project": "query Q($e: String) { project(name: %p, entityName: $e) { id runCount } }",
    "model": "query Q($e: String) { model(name: %p, entityName: $e) { id } }",
    "projects": "query Q($e: String) { models(entityName: $e) { edges { node { name } } } }",
    "run": "query Q($e: String) { project(name: %p, entityName: $e) { run(name: %r) { id config } } }",
    "runs": "query Q($e: String) { project(name: %p, entityName: $e) { runs { edges { node { id } } } } }",
    "history": (
        "query Q($e: String) { project(name: %p, entityName: $e) { run(name: %r)"
        ' { history historyKeys sampledHistory(specs: ["{}"]) events } } }'
    ),
    "files": (
        "query Q($e: String) { project(name: %p, entityName: $e) { run(name: %r)"
        " { files { edges { node { name directUrl } } } } } }"
    ),
    "queues": (
        "query Q($e: String) { project(name: %p, entityName: $e)"
        ' { runQueues { id } runQueue(name: "q") { id runQueueItems { edges { node { id } } } } } }'
    ),
    "upsert project": (
        "mutation Q($e: String) { upsertModel(input: {name: %p, entityName: $e}) { inserted } }"
    ),
    "upsert run": (
        "mutation Q($e: String) { upsertBucket(input: {name: %r, modelName: %p, entityName: $e})"
        " { inserted } }"
    ),
    "declare files": (
        "mutation Q($e: String) { createRunFiles(input: {entityName: $e, projectName: %p, runName: %r,"
        ' files: ["a"]}) { files { uploadUrl } } }'
    ),
    "mark files": (
        "mutation Q($e: String) { markRunFilesUploaded(input: {entityName: $e, projectName: %p, runName: %r,"
        ' files: ["a"]}) { success } }'
    ),
    "create config": (
        'mutation Q($e: String) { createDefaultResourceConfig(input: {entityName: $e, resource: "kubernetes",'
        ' config: "{}", templateVariables: "{}"}) { success } }'
    ),
    "create queue": (
        "mutation Q($e: String) { createRunQueue(input: {entityName: $e, projectName: %p, queueName: %r})"
        " { success } }"
    ),
    "upsert queue": (
        "mutation Q($e: String) { upsertRunQueue(input: {entityName: $e, projectName: %p, queueName: %r,"
        ' resourceType: "kubernetes"}) { success } }'
    ),
    "push by name": (
        "mutation Q($e: String) { pushToRunQueueByName(input: {entityName: $e, projectName: %p,"
        ' queueName: "q", runSpec: "{}"}) { runQueueItemId } }'
    ),
    "pop": (
        "mutation Q($e: String) { popFromRunQueue(input: {entityName: $e, projectName: %p, queueName: %q})"
        " { runSpec } }"
    ),
    "create agent": (
        "mutation Q($e: String) { createLaunchAgent(input: {entityName: $e, projectName: %p, hostname: %r})"
        " { launchAgentId } }"
    ),
    "invite": (
        "mutation Q($e: String) { createInvite(input: {entityName: $e, username: %c, admin: true})"
        " { invite { id } } }"
    ),
    "leave": (
        'mutation Q($e: String) { deleteInvite(input: {entityName: $e, id: "TWVtYmVyOnYxOjE="}) { success } }'
    ),
    "service account": (
        "mutation Q($e: String) { createServiceAccount(input: {entityName: $e, description: %r})"
        " { user { id } } }"
    ),
    "automations": (
        "query Q($e: String) { entity(name: $e) { triggers { edges { node { name } } }"
        " integrations { edges { node { __typename } } } } }"
    ),
    "create webhook": (
        "mutation Q($e: String!) { createGenericWebhookIntegration(input: {entityName: $e, name: %r,"
        ' urlEndpoint: "https://hooks.example/x"}) { integration { id } } }'
    ),
    "organization": "query Q($e: String) { organization(name: $e) { id } }",
    "projects of": "query Q($e: String) { projects(entityName: $e) { edges { node { name } } } }",
    "upsert sweep": (
        "mutation Q($e: String) { upsertSweep(input: {entityName: $e, projectName: %p, config: %w})"
        " { sweep { id } } }"
    ),
    "sweep agent": (
        "mutation Q($e: String) { createAgent(input: {entityName: $e, projectName: %p, sweep: %r})"
        " { agent { id } } }"
    ),
    "upsert view": (
        "mutation Q($e: String) { upsertView(input: {entityName: $e, projectName: %p, name: %r, type: %r,"
        " spec: %e}) { inserted } }"
    ),
    "alert": (
        "mutation Q($e: String) { notifyScriptableRunAlert(input: {entityName: $e, projectName: %p,"
        " runName: %r, title: %r, text: %r}) { success } }"
    ),
    "rewind": (
        "mutation Q($e: String) { rewindRun(input: {entityName: $e, projectName: %p, runName: %r,"
        ' metricName: "_step", metricValue: 0}) { rewoundRun { id } } }'
    ),
    "custom chart": (
        "mutation Q($e: String!) { createCustomChart(input: {entity: $e, name: %r, displayName: %r,"
        ' type: "vega2", access: "PRIVATE", spec: %e}) { chart { id } } }'
    ),
    "rename project": (
        "mutation Q($e: String!) { renameProject(input: {entityName: $e, oldProjectName: %p,"
        " newProjectName: %r}) { inserted } }"
    ),
    "create artifact": (
        "mutation Q($e: String!) { createArtifact(input: {entityName: $e, projectName: %p,"
        " artifactTypeName: %r, artifactCollectionName: %r, digest: %r, digestAlgorithm: MANIFEST_MD5,"
        " enableDigestDeduplication: true}) { artifact { id } } }"
    ),
    "tag a collection": (
        "mutation Q($e: String!) { createArtifactCollectionTagAssignments(input: {entityName: $e,"
        ' projectName: %p, artifactCollectionName: "secret", tags: [{tagName: %r}]}) { tags { id } } }'
    ),
    "untag a collection": (
        "mutation Q($e: String!) { deleteArtifactCollectionTagAssignments(input: {entityName: $e,"
        ' projectName: %p, artifactCollectionName: "secret", tags: [{tagName: %r}]}) { success } }'
    ),
}
BY_ID = {
    "upsert run": ("run", "mutation Q($i: String) { upsertBucket(input: {id: $i, notes: %r}) { inserted } }"),
    "delete run": ("run", "mutation Q($i: ID) { deleteRun(input: {id: $i}) { clientMutationId } }"),
    "stop run": ("run", "mutation Q($i: ID) { stopRun(input: {id: $i}) { success } }"),
    "run state": ("run", "mutation Q($i: ID!) { updateRunState(input: {id: $i, state: %f}) { success } }"),
    "upsert project": ("project", "mutation Q($i: String) { upsertModel(input: {id: $i}) { inserted } }"),
    "delete file": ("file", "mutation Q($i: ID!) { deleteFiles(input: {files: [$i]}) { success } }"),
    "delete queue": ("queue", "mutation Q($i: ID!) { deleteRunQueues(input: {queueIDs: [$i]}) { success } }"),
    "push": (
        "queue",
        'mutation Q($i: ID) { pushToRunQueue(input: {queueID: $i, runSpec: "{}"}) { runQueueItemId } }',
    ),
    "acknowledge": (
        "item",
        "mutation Q($i: ID) { ackRunQueueItem(input: {runQueueItemId: $i, runName: %r}) { success } }",
    ),
    "fail item": (
        "item",
        "mutation Q($i: ID) { failRunQueueItem(input: {runQueueItemId: $i, message: %r}) { success } }",
    ),
    "warn": (
        "item",
        "mutation Q($i: ID) { updateRunQueueItemWarning(input: {runQueueItemId: $i}) { success } }",
    ),
    "agent": ("agent", "query Q($i: ID) { launchAgent(id: $i) { hostname } }"),
    "update agent": (
        "agent",
        "mutation Q($i: ID) { updateLaunchAgent(input: {launchAgentId: $i, agentStatus: %f}) { success } }",
    ),
    "agent's heartbeat": (
        "sweep agent",
        'mutation Q($i: ID) { agentHeartbeat(input: {id: $i, metrics: "{}", runState: "{}"}) { commands } }',
    ),
    "view": ("view", "query Q($i: ID!) { view(id: $i) { id spec } }"),
    "upsert view": ("view", "mutation Q($i: ID) { upsertView(input: {id: $i, spec: %e}) { inserted } }"),
    "delete view": ("view", "mutation Q($i: ID) { deleteView(input: {id: $i}) { success } }"),
    "artifact": ("artifact", "query Q($i: ID!) { artifact(id: $i) { id digest metadata } }"),
    "artifact by client": ("client", "query Q($i: ID!) { clientIDMapping(clientID: $i) { serverID } }"),
    "artifact's manifest": (
        "artifact",
        (
            "mutation Q($i: ID) { createArtifactManifest(input: {artifactID: $i, digest: %r,"
            " name: %r, type: FULL})"
            " { artifactManifest { id } } }"
        ),
    ),
    "artifact's files": (
        "artifact",
        (
            "mutation Q($i: String!) { createArtifactFiles(input: {artifactFiles:"
            " [{artifactID: $i, name: %r, md5: %r}]}) { files { edges { node { id } } } } }"
        ),
    ),
    "commit artifact": (
        "artifact",
        "mutation Q($i: ID) { commitArtifact(input: {artifactID: $i}) { artifact { id } } }",
    ),
    "update artifact": (
        "artifact",
        (
            "mutation Q($i: ID!) { updateArtifact(input: {artifactID: $i, description: %r}) {"
            " artifact { id } } }"
        ),
    ),
    "delete artifact": (
        "artifact",
        "mutation Q($i: ID!) { deleteArtifact(input: {artifactID: $i}) { artifact { id } } }",
    ),
    "link artifact": (
        "artifact",
        (
            "mutation Q($i: ID) { linkArtifact(input: {artifactID: $i, artifactPortfolioName:"
            " %r, entityName: %c,"
            " projectName: %r}) { versionIndex } }"
        ),
    ),
    "link artifact by client": (
        "client",
        (
            "mutation Q($i: ID) { linkArtifact(input: {clientID: $i, artifactPortfolioName: %r,"
            " entityName: %c,"
            " projectName: %r}) { versionIndex } }"
        ),
    ),
    "use artifact": (
        "artifact",
        (
            "mutation Q($i: ID!) { useArtifact(input: {artifactID: $i, entityName: %c, projectName: %p,"
            " runName: %r}) { artifact { id } } }"
        ),
    ),
    "add alias": (
        "artifact",
        (
            "mutation Q($i: ID!) { addAliases(input: {artifactID: $i, aliases: [{alias: %r, entityName: %c,"
            " projectName: %p, artifactCollectionName: %r}]}) { success } }"
        ),
    ),
    "delete alias": (
        "artifact",
        (
            "mutation Q($i: ID!) { deleteAliases(input: {artifactID: $i, aliases: [{alias: %r,"
            " entityName: %c, projectName: %p, artifactCollectionName: %r}]}) { success } }"
        ),
    ),
    "unlink artifact": (
        "collection",
        (
            "mutation Q($i: ID!) { unlinkArtifact(input: {artifactID: %a, artifactPortfolioID: $i})"
            " { success } }"
        ),
    ),
    "change manifest": (
        "manifest",
        (
            "mutation Q($i: ID) { updateArtifactManifest(input: {artifactManifestID: $i, digest: %r})"
            " { artifactManifest { id } } }"
        ),
    ),
    "complete upload": (
        "upload",
        (
            "mutation Q($i: String) { completeMultipartUploadArtifact(input: {uploadID: $i, artifactID: %a,"
            " completedParts: []}) { digest } }"
        ),
    ),
    "change portfolio": (
        "collection",
        (
            "mutation Q($i: ID!) { updateArtifactPortfolio(input: {artifactPortfolioID: $i, name: %r})"
            " { artifactCollection { id } } }"
        ),
    ),
    "delete portfolio": (
        "collection",
        (
            "mutation Q($i: ID) { deleteArtifactPortfolio(input: {artifactPortfolioID: $i})"
            " { artifactCollection { id } } }"
        ),
    ),
    "delete item": (
        "item",
        "mutation Q($i: ID) { deleteFromRunQueue(input: {queueID: %u, runQueueItemId: $i}) { success } }",
    ),
    "collection": ("collection", "query Q($i: ID!) { artifactCollection(id: $i) { id name } }"),
    "change collection": (
        "collection",
        (
            "mutation Q($i: ID!) { updateArtifactSequence(input: {artifactSequenceID: $i, name: %r})"
            " { artifactCollection { id } } }"
        ),
    ),
    "move collection": (
        "collection",
        (
            "mutation Q($i: ID!) { moveArtifactSequence(input: {artifactSequenceID: $i,"
            " destinationArtifactTypeName: %r}) { artifactCollection { id } } }"
        ),
    ),
    "delete collection": (
        "collection",
        (
            "mutation Q($i: ID!) { deleteArtifactSequence(input: {artifactSequenceID: $i})"
            " { artifactCollection { id } } }"
        ),
    ),
    "upsert sweep": (
        "sweep",
        "mutation Q($i: ID) { upsertSweep(input: {id: $i, state: %s}) { sweep { id } } }",
    ),
    "enqueue": ("sweep", "mutation Q($i: ID) { enqueueSweepRun(input: {id: $i, config: %e}) { id } }"),
    "add registry members": (
        "project",
        "mutation Q($i: ID!) { createProjectMembers(input: {projectId: $i}) { success } }",
    ),
    "remove registry members": (
        "project",
        "mutation Q($i: ID!) { deleteProjectMembers(input: {projectId: $i}) { success } }",
    ),
    "role of a registry's user": (
        "project",
        (
            'mutation Q($i: ID!) { updateProjectMember(input: {projectId: $i, userId: "VXNlcjox",'
            ' userProjectRole: "admin"}) { success } }'
        ),
    ),
    "role of a registry's team": (
        "project",
        (
            'mutation Q($i: ID!) { updateProjectTeamMember(input: {projectId: $i, teamId: "RW50aXR5OjE=",'
            ' teamProjectRole: "admin"}) { success } }'
        ),
    ),
    "delete project": (
        "project",
        "mutation Q($i: String) { deleteModel(input: {id: $i}) { success } }",
    ),
    "automation of a project": (
        "project",
        (
            "mutation Q($i: ID!) { createFilterTrigger(input: {name: %r, enabled: true, scopeType: PROJECT,"
            " scopeID: $i, triggeringEventType: LINK_MODEL, eventFilter: %e, triggeredActionType: NO_OP,"
            " triggeredActionConfig: {}}) { trigger { id } } }"
        ),
    ),
    "automation of a collection": (
        "collection",
        (
            "mutation Q($i: ID!) { createFilterTrigger(input: {name: %r, enabled: true,"
            " scopeType: ARTIFACT_COLLECTION, scopeID: $i, triggeringEventType: LINK_MODEL, eventFilter: %e,"
            " triggeredActionType: NO_OP, triggeredActionConfig: {}}) { trigger { id } } }"
        ),
    ),
    "automation of an entity": (
        "entity",
        (
            "mutation Q($i: ID!) { createFilterTrigger(input: {name: %r, enabled: true, scopeType: ENTITY,"
            " scopeID: $i, triggeringEventType: LINK_MODEL, eventFilter: %e, triggeredActionType: NO_OP,"
            " triggeredActionConfig: {}}) { trigger { id } } }"
        ),
    ),
    "change automation": (
        "trigger",
        "mutation Q($i: ID!) { updateFilterTrigger(input: {id: $i, enabled: false}) { trigger { id } } }",
    ),
    "delete automation": (
        "trigger",
        "mutation Q($i: ID) { deleteTrigger(input: {triggerID: $i}) { success } }",
    ),
    "config": (
        "config",
        'query Q($i: ID) { entity(name: "cid") { defaultResourceConfig(id: $i) { config } } }',
    ),
}


# Ids that a question needs beside the one it is about.
MARKS = {
    "%a": base64.b64encode(b"Artifact:v1:9999").decode(),
    "%u": base64.b64encode(b"RunQueue:v1:9999").decode(),
    "%w": json.dumps({"method": "random", "parameters": {"a": {"value": 1}}}),
}
# What concerns nobody but who asks; tested on its own below.
OWN = {"createTeam", "createUser", "generateApiKey", "deleteApiKey", "serverInfo", "viewer", "user", "users"}


def test_every_way_in_is_asked_by_a_stranger() -> None:
    texts = [*BY_NAME.values(), *(query for _, query in BY_ID.values())]
    asked = {name for text in texts for name in re.findall(r"\{ (\w+)\(", text)}
    types = (schema().query_type, schema().mutation_type)
    assert {name for each in types if each is not None for name in each.fields} - asked == OWN


def fill(query: str) -> str:
    for mark, text in {
        "%p": "private",
        "%r": "r1",
        "%q": "q",
        "%c": "cid",
        "%f": "failed",
        "%s": "CANCELED",
        "%e": "{}",
        **MARKS,
    }.items():
        query = query.replace(mark, json.dumps(text))
    return query


def same_words(envelope: dict[str, Any], *names: str) -> str:
    """The answer as text, without the name that the question named."""
    text = json.dumps(envelope, sort_keys=True)
    for name in names:
        text = text.replace(name, "X")
    return text


def like(known: str, place: str) -> str:
    """An id of the same shape, of something that never was: of nobody's, or with another number."""
    text = base64.b64decode(known).decode()
    head, _, last = text.rpartition(":")
    made = f"{head}:nobody" if last == place else f"{head}:{int(last) + 1000}"
    return base64.b64encode(made.encode()).decode()


def counts(server: LocalServer) -> dict[str, list[Any]]:
    """Everything in the tables that a stranger could have changed."""
    with server.service.store.reading() as db:
        return {
            table: db.execute(f"SELECT * FROM {table}").fetchall()
            for table in (
                "projects", "runs", "files", "queues", "queue_items", "launch_agents", "resource_configs",
                "members", "users", "entities", "lines", "sweeps", "sweep_agents", "views", "artifacts",
                "artifact_collections", "artifact_memberships", "artifact_manifests", "triggers",
                "integrations", "registry_members", "custom_charts",
            )
        }  # fmt: skip


@pytest.mark.parametrize("name", sorted(BY_NAME))
@pytest.mark.parametrize("who", ["cid", "owner"])
def test_a_stranger_who_knows_the_name_learns_and_changes_nothing(
    people: dict[str, Person], ids: dict[str, Any], shared: LocalServer, name: str, who: str
) -> None:
    query, before = fill(BY_NAME[name]), counts(shared)
    there = people[who].ask(query, e="ann")
    assert same_words(there, "ann") == same_words(people[who].ask(query, e="nix"), "nix")
    assert not any((there.get("data") or {}).values())
    assert counts(shared) == before


@pytest.mark.parametrize("name", sorted(BY_ID))
@pytest.mark.parametrize("place", ["ann", "crew"])
def test_a_stranger_who_knows_the_id_learns_and_changes_nothing(
    people: dict[str, Person], ids: dict[str, Any], shared: LocalServer, name: str, place: str
) -> None:
    kind, query = BY_ID[name]
    before, mine = counts(shared), ids[place][kind]
    there = people["cid"].ask(fill(query), i=mine)
    absent = ABSENT.get(kind) or like(mine, place)
    never = people["cid"].ask(fill(query), i=absent)
    assert same_words(there, "ann/private", "crew/common", "'ann'", "'crew'") == same_words(
        never, "nobody/private", "nobody/common", "'nobody'", "'ann'"
    )
    assert counts(shared) == before


def test_what_hangs_below_a_project_is_hidden_with_it(
    people: dict[str, Person], ids: dict[str, Any], shared: LocalServer
) -> None:
    for name in ("ann", "nix"):
        answer = people["cid"].ask(
            "query Q($e: String) { project(name: %p, entityName: $e) { sweeps { edges { node { id } } }"
            ' artifactTypes { edges { node { id } } } artifact(name: "secret:v0") { id }'
            " allViews { edges { node { id } } } } }".replace("%p", '"private"'),
            e=name,
        )
        assert answer == {"data": {"project": None}}


def test_a_link_shows_the_version_and_not_where_it_comes_from(shared: LocalServer) -> None:
    maker, reader = shared.add_user("link-maker"), shared.add_user("link-reader")
    shared.add_team("link-team", members=["link-maker", "link-reader"])
    one = Person(shared, maker.api_key, "link-maker")
    other = Person(shared, reader.api_key, "link-reader")
    one.write("link-maker", "private", "maker")
    artifact = one.data(
        'query { project(name: "private") { artifactCollection: artifactType(name: "secret")'
        ' { artifactCollection(name: "secret") { id } } } viewer { id } }'
    )
    assert artifact["project"]["artifactCollection"]["artifactCollection"]
    with shared.service.store.writing() as db:
        # As a commit would leave it; the way there is the artifacts' own tests' to go.
        pk = db.execute("SELECT max(id) FROM artifacts").fetchone()[0]
        db.execute("UPDATE artifacts SET state='COMMITTED' WHERE id=?", (pk,))
        sequence, now = db.execute("SELECT sequence, created_at FROM artifacts WHERE id=?", (pk,)).fetchone()
        db.execute(
            (
                "INSERT INTO artifact_memberships(collection, artifact, version_index, created_at)"
                " VALUES(?,?,0,?)"
            ),
            (sequence, pk, now),
        )
    identifier = base64.b64encode(f"Artifact:v1:{pk}".encode()).decode()
    one.data(
        "mutation L($i: ID) { linkArtifact(input: {artifactID: $i, artifactPortfolioName: %n, entityName: %t,"
        " projectName: %n}) { versionIndex } }".replace("%n", '"shown"').replace("%t", '"link-team"'),
        i=identifier,
    )
    query = (
        "query Q($i: ID!) { artifact(id: $i) { id digest"
        " artifactSequence { name project { name runs { edges { node { name } } } }"
        " artifacts { edges { node { id } } } artifactMemberships { edges { node { id } } } }"
        " artifactMemberships { edges { node { artifactCollection { name project { name } } } } }"
        " createdBy { ... on Run { name config } } usedBy { edges { node { name } } } usedCount"
        " aliases { alias artifactCollection { name } } } }"
    )
    seen, full = other.data(query, i=identifier)["artifact"], one.data(query, i=identifier)["artifact"]
    assert full["createdBy"]["name"] == "maker"
    assert full["artifactSequence"]["project"]["name"] == "private"
    assert len(full["artifactMemberships"]["edges"]) == 2
    assert seen["digest"] == full["digest"]
    assert seen["artifactSequence"] == {
        "name": "secret",
        "project": None,
        "artifacts": {"edges": []},
        "artifactMemberships": {"edges": []},
    }
    assert [edge["node"]["artifactCollection"]["name"] for edge in seen["artifactMemberships"]["edges"]] == [
        "shown"
    ]
    assert seen["createdBy"] is None
    assert "private" not in json.dumps(seen)


def test_a_queue_cannot_borrow_a_config_of_another_entity(
    people: dict[str, Person], ids: dict[str, Any]
) -> None:
    cid = people["cid"]
    cid.data('mutation { upsertModel(input: {name: "mine"}) { inserted } }')
    query = (
        "mutation Q($i: ID) { createRunQueue(input: {projectName: %m, queueName: %m,"
        " defaultResourceConfigID: $i}) { success } }"
    ).replace("%m", '"mine"')
    there, never = (cid.ask(query, i=each) for each in (ids["ann"]["config"], ABSENT["config"]))
    assert there == never
    assert there["errors"][0]["message"] == "default resource config not found"


@pytest.mark.parametrize("place", [("ann", "private"), ("crew", "common")])
def test_a_stranger_streams_into_nobodys_run(
    people: dict[str, Person], ids: dict[str, Any], shared: LocalServer, place: tuple[str, str]
) -> None:
    before = counts(shared)
    there = people["cid"].stream(*place, "r1")
    never = people["cid"].stream("nix", place[1], "r1")
    assert there.status_code == never.status_code == 404
    assert there.text.replace(place[0], "X") == never.text.replace("nix", "X")
    assert counts(shared) == before


@pytest.mark.parametrize(
    "path",
    [
        "ann",
        "ann/launch",
        "ann/private",
        "ann/private/charts.json",
        "ann/private/sweeps",
        "ann/private/reports",
        "ann/private/artifacts",
        "ann/private/artifacts/secret/secret",
        "ann/private/artifacts/secret/secret/v0",
        "ann/private/artifacts/secret/secret/v0/files/f",
        "ann/private/runs/r1",
        "ann/private/runs/r1/logs",
        "ann/private/runs/r1/system",
        "ann/private/runs/r1/system.json",
    ],
)
def test_the_page_shows_a_stranger_nothing(
    people: dict[str, Person], ids: dict[str, Any], shared: LocalServer, path: str
) -> None:
    with requests.Session() as browser:
        browser.get(f"{shared.url}/login", params={"key": people["cid"].key}, timeout=10)
        answers = [
            browser.get(f"{shared.url}/{each}", timeout=10) for each in (path, path.replace("ann", "nix"))
        ]
        files = browser.get(f"{shared.url}/ann/private/runs/r1/files/secret.txt", timeout=10)
        own = browser.get(f"{shared.url}/", timeout=10)
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace("ann", "X") == answers[1].text.replace("nix", "X")
    assert files.status_code == 404
    assert own.status_code == 200
    assert "private" not in own.text


def test_the_page_shows_a_member_his_teams(
    people: dict[str, Person], ids: dict[str, Any], shared: LocalServer
) -> None:
    with requests.Session() as browser:
        browser.get(f"{shared.url}/login", params={"key": people["bob"].key}, timeout=10)
        assert "crew" in browser.get(f"{shared.url}/", timeout=10).text
        assert "common" in browser.get(f"{shared.url}/crew", timeout=10).text
        assert browser.get(f"{shared.url}/crew/common/runs/r1", timeout=10).status_code == 200


def test_a_cookie_ends_with_its_key(shared: LocalServer, people: dict[str, Person]) -> None:
    ann = people["ann"]
    made = ann.data('mutation { generateApiKey(input: {description: "page"}) { apiKey { id name } } }')
    with requests.Session() as browser:
        browser.get(
            f"{shared.url}/login", params={"key": made["generateApiKey"]["apiKey"]["name"]}, timeout=10
        )
        assert browser.get(f"{shared.url}/ann", timeout=10, allow_redirects=False).status_code == 200
        cookie = browser.cookies["wandb_ops_page"]
        expires, key, signature = cookie.split(".")
        for forged in (
            f"{int(expires) + 1}.{key}.{signature}",
            f"{expires}.1.{signature}",
            f"{expires}.{key}.",
        ):
            cookies = {"wandb_ops_page": forged}
            answer = requests.get(f"{shared.url}/ann", cookies=cookies, timeout=10, allow_redirects=False)
            assert answer.status_code == 303
        ann.data(
            "mutation D($i: String) { deleteApiKey(input: {id: $i}) { success } }",
            i=made["generateApiKey"]["apiKey"]["id"],
        )
        assert browser.get(f"{shared.url}/ann", timeout=10, allow_redirects=False).status_code == 303


def test_members_share_a_team_and_see_who_did_what(people: dict[str, Person], ids: dict[str, Any]) -> None:
    bob = people["bob"]
    bob.data(
        "mutation M($r: UpsertBucketInput!) { upsertBucket(input: $r) { inserted } }",
        r={"entityName": "crew", "modelName": "common", "name": "by-bob"},
    )
    query = (
        "query Q($f: JSONString) { project(entityName: %e, name: %p) { user { username } runs(filters: $f)"
        " { edges { node { name user { username email } } } } } }"
    ).replace("%e", '"crew"').replace("%p", '"common"')  # fmt: skip
    project = people["ann"].data(query)["project"]
    assert project["user"] == {"username": "ann"}
    assert {edge["node"]["name"]: edge["node"]["user"] for edge in project["runs"]["edges"]} == {
        "r1": {"username": "ann", "email": "ann@localhost"},
        "by-bob": {"username": "bob", "email": "bob@localhost"},
    }
    found = people["ann"].data(query, f='{"username": "bob"}')["project"]["runs"]["edges"]
    assert [edge["node"]["name"] for edge in found] == ["by-bob"]
    assert bob.stream("crew", "common", "r1").status_code == 200


def test_the_viewer_has_his_own_entity_and_teams(people: dict[str, Person]) -> None:
    query = "{ viewer { username entity admin teams { edges { node { name isTeam } } } } }"
    assert people["bob"].data(query)["viewer"] == {
        "username": "bob",
        "entity": "bob",
        "admin": False,
        "teams": {
            "edges": [{"node": {"name": "bob", "isTeam": False}}, {"node": {"name": "crew", "isTeam": True}}]
        },
    }
    assert people["owner"].data("{ viewer { admin } }")["viewer"]["admin"] is True


def test_of_others_only_those_who_share_a_team_are_found(people: dict[str, Person]) -> None:
    query = (
        "query Q($q: String) { users(query: $q)"
        " { edges { node { username apiKeys { edges { node { id } } } } } } }"
    )

    def found(who: str) -> list[str]:
        return sorted(edge["node"]["username"] for edge in people[who].data(query, q="")["users"]["edges"])

    assert found("ann") == ["ann", "bob"]
    assert found("cid") == ["cid"]
    assert set(found("owner")) >= {"ann", "bob", "cid", "local"}
    (own,) = people["bob"].data(query, q="ann")["users"]["edges"]
    assert own["node"]["apiKeys"] is None


def test_a_users_projects_are_his_own_and_not_the_askers(
    people: dict[str, Person], ids: dict[str, Any]
) -> None:
    fields = "projects { edges { node { name } } }"
    names = people["bob"].data(
        "{ entity(name: %c) { members { username } %f }"
        " project(entityName: %c, name: %p) { user { username %f } } }"
        .replace("%c", '"crew"').replace("%p", '"common"').replace("%f", fields)
    )  # fmt: skip
    assert {edge["node"]["name"] for edge in names["entity"]["projects"]["edges"]} == {"common"}
    assert names["project"]["user"] == {"username": "ann", "projects": {"edges": []}}
    assert people["ann"].data(f"{{ viewer {{ {fields} }} }}")["viewer"]["projects"]["edges"] == [
        {"node": {"name": "private"}}
    ]


def test_storage_is_counted_per_entity(people: dict[str, Person], ids: dict[str, Any]) -> None:
    assert people["ann"].data("{ entity { storageBytes } }")["entity"]["storageBytes"] == len("secret")
    assert people["cid"].data("{ entity { storageBytes } }")["entity"]["storageBytes"] == 0


# -- teams -------------------------------------------------------------------------------------------------

MEMBERS = (
    "query Q($t: String) { entity(name: $t)"
    " { members { id username email admin pending accountType apiKey } } }"
)
CREATE = (
    "mutation M($t: String, $a: String) { createTeam(input: {teamName: $t, teamAdminUserName: $a})"
    " { entity { name isTeam limits } } }"
)
INVITE = (
    "mutation M($t: String, $u: String, $m: String, $a: Boolean) { createInvite(input:"
    " {entityName: $t, username: $u, email: $m, admin: $a}) { invite { id email toUser { name } } } }"
)
REMOVE = "mutation M($t: String, $i: String) { deleteInvite(input: {entityName: $t, id: $i}) { success } }"
SERVICE = (
    "mutation M($t: String, $d: String) { createServiceAccount(input: {entityName: $t, description: $d})"
    " { user { id } } }"
)


def members(person: Person, team: str) -> dict[str, Any]:
    found = person.data(MEMBERS, t=team)["entity"]["members"]
    return {each["username"] or each["email"]: each for each in found}


def message(envelope: dict[str, Any]) -> str:
    (error,) = envelope["errors"]
    return str(error["message"])


def test_a_team_grows_and_shrinks(people: dict[str, Person]) -> None:
    ann, bob, cid = people["ann"], people["bob"], people["cid"]
    made = ann.data(CREATE, t="fleet")["createTeam"]["entity"]
    assert made == {"name": "fleet", "isTeam": True, "limits": None}
    assert [(each["username"], each["admin"]) for each in members(ann, "fleet").values()] == [("ann", True)]
    assert ann.data(INVITE, t="fleet", u="cid")["createInvite"]["invite"]["toUser"] == {"name": "cid"}
    assert set(members(cid, "fleet")) == {"ann", "cid"}
    # A member that is no administrator changes nobody but himself.
    assert message(cid.ask(INVITE, t="fleet", u="bob")).startswith("permission denied")
    assert message(cid.ask(REMOVE, t="fleet", i=members(cid, "fleet")["ann"]["id"])).startswith("permission")
    assert message(cid.ask(SERVICE, t="fleet", d="x")).startswith("permission denied")
    assert message(ann.ask(INVITE, t="fleet", u="cid")) == "already a member of 'fleet', or invited"
    assert message(ann.ask(INVITE, t="fleet", u="nix")) == "user 'nix' not found"
    assert message(ann.ask(REMOVE, t="fleet", i=members(ann, "fleet")["ann"]["id"])) == (
        "the last administrator of 'fleet' cannot be removed"
    )
    assert bob.ask(MEMBERS, t="fleet")["data"] == {"entity": None}
    assert cid.data(REMOVE, t="fleet", i=members(cid, "fleet")["cid"]["id"])["deleteInvite"]["success"]
    assert cid.ask(MEMBERS, t="fleet")["data"] == {"entity": None}
    for taken in ("fleet", "FLEET", "ann", "graphql", "a/b", ""):
        assert "errors" in bob.ask(CREATE, t=taken), taken


def test_a_member_of_one_team_is_not_removed_through_another(people: dict[str, Person]) -> None:
    ann = people["ann"]
    ann.data(CREATE, t="other")
    outside = members(people["bob"], "crew")["bob"]["id"]
    assert message(ann.ask(REMOVE, t="other", i=outside)) == "'other' has no such member"
    assert set(members(ann, "crew")) == {"ann", "bob"}


def test_a_team_for_somebody_else_keeps_its_maker_as_a_member(people: dict[str, Person]) -> None:
    owner = people["owner"]
    owner.data(CREATE, t="given", a="bob")
    assert {name: each["admin"] for name, each in members(owner, "given").items()} == {
        "bob": True, "local": False,
    }  # fmt: skip
    assert message(people["cid"].ask(CREATE, t="grabbed", a="ann")) == "user 'ann' not found"


def test_an_invite_waits_for_its_address(people: dict[str, Person], shared: LocalServer) -> None:
    ann = people["ann"]
    ann.data(INVITE, t="crew", m="new@example.org", a=True)
    waiting = members(ann, "crew")["new@example.org"]
    assert (waiting["pending"], waiting["username"], waiting["admin"]) == (True, None, True)
    assert "errors" in ann.ask(INVITE, t="crew", m="NEW@example.org")
    made = people["owner"].data(
        'mutation { createUser(input: {email: "new@example.org"}) { user { username email admin } } }'
    )["createUser"]["user"]
    assert made == {"username": "new", "email": "new@example.org", "admin": False}
    joined = members(ann, "crew")["new"]
    assert (joined["pending"], joined["id"]) == (False, waiting["id"])
    assert ann.data(REMOVE, t="crew", i=joined["id"])["deleteInvite"]["success"]


def test_only_administrators_of_the_server_create_users(people: dict[str, Person]) -> None:
    refused = people["ann"].ask('mutation { createUser(input: {email: "x@example.org"}) { user { id } } }')
    assert message(refused).startswith("permission denied")
    twice = 'mutation { createUser(input: {email: "ann@example.org"}) { user { username } } }'
    assert people["owner"].data(twice)["createUser"]["user"]["username"] == "ann-2"
    assert "exists already" in message(people["owner"].ask(twice))


def test_a_service_account_acts_for_its_team_alone(people: dict[str, Person], shared: LocalServer) -> None:
    ann = people["ann"]
    ann.data(SERVICE, t="crew", d="nightly job")
    shown = list(members(ann, "crew").values())[-1]
    assert shown["accountType"] == "SERVICE"
    assert list(members(people["bob"], "crew").values())[-1]["apiKey"] is None, (
        "only its maker is shown the key"
    )
    service = Person(shared, shown["apiKey"], "crew")
    viewer = service.data("{ viewer { username entity teams { edges { node { name } } } } }")["viewer"]
    assert viewer["entity"] == "crew"
    assert viewer["teams"]["edges"] == [{"node": {"name": "crew"}}]
    service.write("crew", "nightly", "r1")
    assert service.ask('{ project(entityName: "ann", name: "private") { id } }')["data"] == {"project": None}
    assert message(service.ask(CREATE, t="uprising")).startswith("permission denied")
    assert ann.data(REMOVE, t="crew", i=shown["id"])["deleteInvite"]["success"]
    gone = service.http.post(f"{shared.url}/graphql", json={"query": "{ viewer { id } }"}, timeout=10)
    assert gone.status_code == 401


# -- keys --------------------------------------------------------------------------------------------------

GENERATE = (
    "mutation M($d: String) { generateApiKey(input: {description: $d}) { apiKey { id name description } } }"
)
DELETE_KEY = "mutation M($i: String) { deleteApiKey(input: {id: $i}) { success } }"
KEYS = "{ viewer { apiKeys { edges { node { id name description } } } } }"


def test_a_key_is_shown_once_works_and_ends(people: dict[str, Person], shared: LocalServer) -> None:
    cid = people["cid"]
    made = cid.data(GENERATE, d="laptop")["generateApiKey"]["apiKey"]
    fresh = Person(shared, made["name"], "cid")
    assert fresh.data("{ viewer { username } }")["viewer"]["username"] == "cid"
    listed = [edge["node"] for edge in cid.data(KEYS)["viewer"]["apiKeys"]["edges"]]
    assert [key["description"] for key in listed] == [None, "laptop"]
    assert made["name"] not in json.dumps(listed)
    assert listed[1]["name"] == made["name"][:8] + "…"
    assert message(people["ann"].ask(DELETE_KEY, i=made["id"])) == "API key not found"
    assert message(people["ann"].ask(DELETE_KEY, i="QXBpS2V5OnYxOjk5OTk=")) == "API key not found"
    assert cid.data(DELETE_KEY, i=made["id"])["deleteApiKey"]["success"]
    answer = fresh.http.post(f"{shared.url}/graphql", json={"query": "{ viewer { id } }"}, timeout=10)
    assert answer.status_code == 401


def test_no_key_lies_in_the_database(people: dict[str, Person], shared: LocalServer) -> None:
    shared.add_service_account("crew", "for the dump")
    with sqlite3.connect(shared.data / "server.db") as connection:
        dump = "\n".join(connection.iterdump())
    for person in people.values():
        assert person.key not in dump
    assert "api_keys" in dump


def test_the_servers_own_key_stays(people: dict[str, Person]) -> None:
    owner = people["owner"]
    (key,) = [edge["node"] for edge in owner.data(KEYS)["viewer"]["apiKeys"]["edges"]]
    assert message(owner.ask(DELETE_KEY, i=key["id"])) == "the server's own API key cannot be deleted"


def test_accounts_survive_a_restart_and_a_new_key_of_the_server_ends_the_old(tmp_path: Path) -> None:
    with LocalServer(data=tmp_path, api_key="a" * 40) as server:
        ann = server.add_user("ann")
        server.add_team("crew", members=["ann"])
    with LocalServer(data=tmp_path, api_key="b" * 40) as server:
        viewer = "{ viewer { username teams { edges { node { name } } } } }"
        again = Person(server, ann.api_key, "ann").data(viewer)["viewer"]
        assert [edge["node"]["name"] for edge in again["teams"]["edges"]] == ["ann", "crew"]
        assert Person(server, "b" * 40, "local").data(viewer)["viewer"]["username"] == "local"
        old = requests.post(
            f"{server.url}/graphql", json={"query": viewer}, auth=("api", "a" * 40), timeout=10
        )
        assert old.status_code == 401
    for wrong in ({"entity": "crew"}, {"api_key": ann.api_key}):
        with pytest.raises(RuntimeError):
            LocalServer(data=tmp_path, **wrong).start()


def test_what_is_taken_or_no_name_is_refused(people: dict[str, Person], shared: LocalServer) -> None:
    attempts: list[Callable[[], Any]] = [
        lambda: shared.add_user("ann"),
        lambda: shared.add_user("Ann"),
        lambda: shared.add_user("crew"),
        lambda: shared.add_user("admin"),
        lambda: shared.add_user("-x"),
        lambda: shared.add_user("dot", email="no address"),
        lambda: shared.add_user("dup", email="ANN@localhost"),
        lambda: shared.add_user("dup", api_key=people["ann"].key),
        lambda: shared.add_user("dup", teams=["nix"]),
        lambda: shared.add_team("crew"),
        lambda: shared.add_team("new-team", members=["nix"]),
        lambda: shared.add_team("new-team", members={"ann": "king"}),
        lambda: shared.add_team("new-team", organization="nix"),
        lambda: shared.add_service_account("ann", "no team"),
    ]
    before = counts(shared)
    for attempt in attempts:
        with pytest.raises(Refused):
            attempt()
    assert counts(shared) == before


# -- organisations and the admin API -----------------------------------------------------------------------


def test_an_organization_is_seen_by_its_members_and_teams(shared: LocalServer) -> None:
    insider, outsider = shared.add_user("org-in"), shared.add_user("org-out")
    shared.add_team("org-team", members=["org-in"])
    made = shared.add_organization("Example Org", teams=["org-team"])
    query = (
        'query Q { organization(name: "Example Org") { id name orgEntity { name entityType isTeam } }'
        ' entity(name: "org-team") { organization { name orgEntity { name } } }'
        " viewer { organizations { name } teams { edges { node { name } } } } }"
    )
    seen = Person(shared, insider.api_key, "org-in").data(query)
    assert made.entity == "Example-Org-org"
    assert seen["organization"]["orgEntity"] == {
        "name": made.entity, "entityType": "organization", "isTeam": False,
    }  # fmt: skip
    assert seen["entity"]["organization"] == {"name": "Example Org", "orgEntity": {"name": made.entity}}
    assert seen["viewer"]["organizations"] == [{"name": "Example Org"}]
    assert [edge["node"]["name"] for edge in seen["viewer"]["teams"]["edges"]] == ["org-in", "org-team"]
    unseen = Person(shared, outsider.api_key, "org-out").data(query)
    assert (unseen["organization"], unseen["entity"], unseen["viewer"]["organizations"]) == (None, None, [])


class Admin:
    """The admin API."""

    def __init__(self, server: LocalServer, key: str = ADMIN_KEY) -> None:
        self.server, self.headers = server, {"Authorization": f"Bearer {key}"}

    def __call__(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(
            method, f"{self.server.url}/admin/v1/{path}", json=body, headers=self.headers, timeout=10
        )


def test_the_admin_api_provisions_and_removes_everything(shared: LocalServer) -> None:
    admin = Admin(shared)
    made = admin("POST", "users", {"username": "dan", "email": "dan@example.org", "name": "Dan"})
    assert made.status_code == 201
    key = made.json()["api_key"]
    assert made.json() == {
        "username": "dan", "name": "Dan", "email": "dan@example.org", "admin": False, "entities": ["dan"],
        "api_key": key,
    }  # fmt: skip
    team = admin("POST", "teams", {"name": "dans", "admins": ["dan"]})
    assert (team.status_code, team.json()["members"][0]["role"]) == (201, "admin")
    robot = admin("POST", "teams/dans/service-accounts", {"description": "ci"}).json()
    organization = admin("POST", "organizations", {"name": "dan-inc", "teams": ["dans"], "members": ["dan"]})
    assert organization.json()["teams"] == ["dans"]
    second = admin("POST", "users/dan/keys", {"description": "more"}).json()["api_key"]
    dan = Person(shared, second, "dan")
    dan.write("dan", "p", "r")
    dan.write("dans", "p", "r")
    Person(shared, robot["api_key"], "dans").write("dans", "p2", "r")
    assert "dan" in [user["username"] for user in admin("GET", "users").json()["users"]]
    assert "dans" in [each["name"] for each in admin("GET", "teams").json()["teams"]]
    assert "dan-inc" in [each["name"] for each in admin("GET", "organizations").json()["organizations"]]
    stored = set((shared.data / "storage").iterdir())
    for path in ("organizations/dan-inc", "teams/dans", "users/dan"):
        assert admin("DELETE", path).status_code == 204
        assert admin("DELETE", path).status_code == 404
    for gone in (key, second, robot["api_key"]):
        answer = requests.post(
            f"{shared.url}/graphql", json={"query": "{ viewer { id } }"}, auth=("api", gone), timeout=10
        )
        assert answer.status_code == 401
    assert len(stored - set((shared.data / "storage").iterdir())) == 3
    with shared.service.store.reading() as db:
        assert db.execute("SELECT count(*) FROM projects WHERE entity IN ('dan', 'dans')").fetchone()[0] == 0
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"username": "ann"}, 409, "taken"),
        ({"username": ""}, 400, "missing"),
        ({}, 400, "missing"),
        ({"username": 1}, 400, "username must be a text"),
        ({"username": "e", "admin": "yes"}, 400, "admin must be true or false"),
        ({"username": "e", "teams": "crew"}, 400, "teams must be a list of texts"),
        ({"username": "e", "teams": ["nix"]}, 404, "team 'nix' not found"),
        ({"username": "e", "color": "red"}, 400, "unknown field 'color'"),
        ([], 400, "must be a JSON object"),
    ],
)
def test_the_admin_api_says_what_is_wrong(
    people: dict[str, Person], shared: LocalServer, body: Any, status: int, says: str
) -> None:
    before = counts(shared)
    answer = Admin(shared)("POST", "users", body)
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text
    assert counts(shared) == before


def test_the_servers_own_user_cannot_be_deleted(shared: LocalServer) -> None:
    assert Admin(shared)("DELETE", f"users/{shared.entity}").status_code == 409


@pytest.mark.parametrize("path", ["users", "teams", "organizations"])
def test_the_admin_api_needs_its_own_key(shared: LocalServer, path: str) -> None:
    for key in ("", "wrong", shared.api_key):
        assert Admin(shared, key)("GET", path).status_code == 401
        assert Admin(shared, key)("POST", path, {}).status_code == 401
    assert Admin(shared)("GET", path).status_code == 200


def test_without_an_admin_key_there_is_no_admin_api(server: LocalServer) -> None:
    for key in ("", "None", server.api_key):
        answer = Admin(server, key)("GET", "users")
        assert answer.status_code == 404


def test_the_command_opens_the_admin_api_with_a_key_from_the_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wandb_ops.cli", "local", "--data", str(tmp_path)]
    environment = {**os.environ, "WANDB_OPS_ADMIN_KEY": ADMIN_KEY}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("ready ")
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        made = requests.post(f"{url}/admin/v1/users", json={"username": "ann"}, headers=headers, timeout=10)
        assert made.status_code == 201
        process.terminate()
        shown, _ = process.communicate(timeout=30)
        assert ADMIN_KEY not in shown
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
