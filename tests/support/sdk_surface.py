"""The SDK's public classes beside ours, for the tests that compare them."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import wandb_ops.public as ours

#: Our class -> where the SDK's is.
PAIRS = {
    "Agent": "wandb.apis.public.sweeps",
    "AgentRuns": "wandb.apis.public",
    "Api": "wandb.apis.public",
    "Artifact": "wandb",
    "ArtifactCollection": "wandb.apis.public",
    "ArtifactCollections": "wandb.apis.public",
    "ArtifactFiles": "wandb.apis.public",
    "ArtifactManifestEntry": "wandb.sdk.artifacts.artifact_manifest_entry",
    "ArtifactType": "wandb.apis.public",
    "ArtifactTypes": "wandb.apis.public",
    "Artifacts": "wandb.apis.public",
    "Automations": "wandb.apis.public",
    "BetaReport": "wandb.apis.public",
    "ConsoleLogLine": "wandb.apis.public",
    "ConsoleLogs": "wandb.apis.public",
    "DownloadHistoryResult": "wandb.apis.public",
    "File": "wandb.apis.public",
    "Files": "wandb.apis.public",
    "HTTPSummary": "wandb.apis.public.summary",
    "HistoryScan": "wandb.apis.public",
    "Integrations": "wandb.apis.public",
    "Job": "wandb.apis.public",
    "Member": "wandb.apis.public",
    "Organization": "wandb.apis.public",
    "Project": "wandb.apis.public",
    "Projects": "wandb.apis.public",
    "QueuedRun": "wandb.apis.public",
    "Registries": "wandb.apis.public",
    "Registry": "wandb.apis.public",
    "Reports": "wandb.apis.public",
    "Run": "wandb.apis.public",
    "RunArtifacts": "wandb.apis.public",
    "RunQueue": "wandb.apis.public",
    "Runs": "wandb.apis.public",
    "SlackIntegrations": "wandb.apis.public",
    "Sweep": "wandb.apis.public",
    "Sweeps": "wandb.apis.public",
    "Team": "wandb.apis.public",
    "User": "wandb.apis.public",
    "WebhookIntegrations": "wandb.apis.public",
}


def pair(name: str) -> tuple[type, type]:
    """The SDK's class and ours."""
    return getattr(importlib.import_module(PAIRS[name]), name), getattr(ours, name)


#: Members that only serve the SDK's own classes: paging, parsing, names.
INTERNAL = {"QUERY", "convert_objects", "last_response", "length", "snake_to_camel", "update_variables"}


def pydantics(cls: type) -> set[str]:
    """What a class has only because it is a pydantic model."""
    from pydantic import BaseModel

    return set(dir(BaseModel)) if issubclass(cls, BaseModel) else set()


def function_of(cls: type, name: str) -> Any:
    found = inspect.getattr_static(cls, name, None)
    found = getattr(found, "__func__", found)
    return found if callable(found) and not inspect.isclass(found) else None
