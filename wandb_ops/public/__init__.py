"""W&B's public API under W&B's own names: `Api` and the objects it gives out.

`wandb_ops.Api` is the way in; the classes are here to be named in annotations and isinstance checks.
"""

from __future__ import annotations

from wandb_ops.errors import IncompleteRunHistoryError
from wandb_ops.public import late
from wandb_ops.public.accounts.registries import Registry
from wandb_ops.public.accounts.registry_list import Registries
from wandb_ops.public.accounts.registry_members import TeamMember, UserMember
from wandb_ops.public.accounts.registry_search import RegistryCollections, RegistryVersions
from wandb_ops.public.accounts.teams import Member, Organization, Team
from wandb_ops.public.accounts.users import User
from wandb_ops.public.api import Api
from wandb_ops.public.artifacts.artifacts import Artifact
from wandb_ops.public.artifacts.attributes import ArtifactTTL
from wandb_ops.public.artifacts.collections import ArtifactCollection, ArtifactCollections
from wandb_ops.public.artifacts.entries import ArtifactManifest, ArtifactManifestEntry
from wandb_ops.public.artifacts.files import ArtifactFile, ArtifactFiles
from wandb_ops.public.artifacts.types import ArtifactType, ArtifactTypes
from wandb_ops.public.artifacts.versions import Artifacts, RunArtifacts
from wandb_ops.public.automations.actions import AutomationAction, SlackIntegration, WebhookIntegration
from wandb_ops.public.automations.automations import Automation, NewAutomation
from wandb_ops.public.automations.events import AutomationEvent, AutomationScope
from wandb_ops.public.automations.lists import (
    Automations,
    Integrations,
    SlackIntegrations,
    WebhookIntegrations,
)
from wandb_ops.public.launch.jobs import Job
from wandb_ops.public.launch.launch import QueuedRun, RunQueue
from wandb_ops.public.projects import Project, Projects
from wandb_ops.public.reports import BetaReport, Reports
from wandb_ops.public.runs.console_logs import ConsoleLogLine, ConsoleLogs
from wandb_ops.public.runs.exports import DownloadHistoryResult
from wandb_ops.public.runs.files import File, Files
from wandb_ops.public.runs.histogram import Histogram
from wandb_ops.public.runs.history import HistoryScan
from wandb_ops.public.runs.run import Run
from wandb_ops.public.runs.runs import Runs
from wandb_ops.public.runs.summary import HTTPSummary
from wandb_ops.public.sweeps import Agent, AgentRuns, Sweep, SweepBook, Sweeps

late.collection_class = ArtifactCollection
late.run_class = Run
late.sweep_book_class = SweepBook
late.agent_class = Agent

__all__ = [
    "Agent",
    "AgentRuns",
    "Api",
    "Artifact",
    "ArtifactCollection",
    "ArtifactCollections",
    "ArtifactFile",
    "ArtifactFiles",
    "ArtifactManifest",
    "ArtifactManifestEntry",
    "ArtifactTTL",
    "ArtifactType",
    "ArtifactTypes",
    "Artifacts",
    "Automation",
    "AutomationAction",
    "AutomationEvent",
    "AutomationScope",
    "Automations",
    "BetaReport",
    "ConsoleLogLine",
    "ConsoleLogs",
    "DownloadHistoryResult",
    "File",
    "Files",
    "HTTPSummary",
    "Histogram",
    "HistoryScan",
    "IncompleteRunHistoryError",
    "Integrations",
    "Job",
    "Member",
    "NewAutomation",
    "Organization",
    "Project",
    "Projects",
    "QueuedRun",
    "Registries",
    "Registry",
    "RegistryCollections",
    "RegistryVersions",
    "Reports",
    "Run",
    "RunArtifacts",
    "RunQueue",
    "Runs",
    "SlackIntegration",
    "SlackIntegrations",
    "Sweep",
    "Sweeps",
    "Team",
    "TeamMember",
    "User",
    "UserMember",
    "WebhookIntegration",
    "WebhookIntegrations",
]
