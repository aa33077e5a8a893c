"""Weights & Biases for pipelines: exact exports, TensorBoard sync, launch queues, snapshots.

`import wandb_ops as wandb` and the examples of W&B's public API run as they are; `wandb_ops.steps` holds the
same as idempotent steps for pipelines. Importing this is cheap: what is heavy loads with its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wandb_ops import errors
from wandb_ops.errors import (
    AmbiguousOutcome,
    AuthenticationError,
    CertificateError,
    ChecksumMismatch,
    CommError,
    Conflict,
    CredentialsError,
    CursorStuck,
    DataError,
    DeadlineExceeded,
    EntryNotFound,
    Error,
    GraphQLError,
    IncompleteHistory,
    IncompleteRunHistoryError,
    NotFoundError,
    OutcomeError,
    OutputError,
    PermissionDenied,
    ProtocolError,
    QueueItemFailed,
    RateLimited,
    ResponseTooLarge,
    RunConflict,
    RunFailed,
    ServerError,
    StatusError,
    TransportError,
    UnsafePath,
    UnsupportedServer,
    UsageError,
    UsageTypeError,
    VerificationFailed,
    WaitTimeout,
)
from wandb_ops.version import __version__

if TYPE_CHECKING:
    from wandb_ops import steps
    from wandb_ops.public.api import Api
    from wandb_ops.public.artifacts.artifacts import Artifact
    from wandb_ops.public.artifacts.attributes import ArtifactTTL
    from wandb_ops.public.automations.actions import AutomationAction
    from wandb_ops.public.automations.automations import NewAutomation
    from wandb_ops.public.automations.events import AutomationEvent
    from wandb_ops.public.media.html import Html
    from wandb_ops.public.media.image import Image
    from wandb_ops.public.media.table import Table
    from wandb_ops.public.runs.histogram import Histogram

__all__ = [
    "AmbiguousOutcome",
    "Api",
    "Artifact",
    "ArtifactTTL",
    "AuthenticationError",
    "AutomationAction",
    "AutomationEvent",
    "CertificateError",
    "ChecksumMismatch",
    "CommError",
    "Conflict",
    "CredentialsError",
    "CursorStuck",
    "DataError",
    "DeadlineExceeded",
    "EntryNotFound",
    "Error",
    "GraphQLError",
    "Histogram",
    "Html",
    "Image",
    "IncompleteHistory",
    "IncompleteRunHistoryError",
    "NewAutomation",
    "NotFoundError",
    "OutcomeError",
    "OutputError",
    "PermissionDenied",
    "ProtocolError",
    "QueueItemFailed",
    "RateLimited",
    "ResponseTooLarge",
    "RunConflict",
    "RunFailed",
    "ServerError",
    "StatusError",
    "Table",
    "TransportError",
    "UnsafePath",
    "UnsupportedServer",
    "UsageError",
    "UsageTypeError",
    "VerificationFailed",
    "WaitTimeout",
    "__version__",
    "errors",
    "steps",
]

# Name -> module that has it, or "" when the name is a module of its own.
_ON_FIRST_USE = {
    "Api": "wandb_ops.public.api",
    "Artifact": "wandb_ops.public.artifacts.artifacts",
    "ArtifactTTL": "wandb_ops.public.artifacts.attributes",
    "AutomationAction": "wandb_ops.public.automations.actions",
    "AutomationEvent": "wandb_ops.public.automations.events",
    "Histogram": "wandb_ops.public.runs.histogram",
    "Html": "wandb_ops.public.media.html",
    "Image": "wandb_ops.public.media.image",
    "Table": "wandb_ops.public.media.table",
    "NewAutomation": "wandb_ops.public.automations.automations",
    "steps": "",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    origin = _ON_FIRST_USE[name]
    value = (
        getattr(importlib.import_module(origin), name)
        if origin
        else importlib.import_module(f"{__name__}.{name}")
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
