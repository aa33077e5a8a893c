"""W&B's public API under W&B's own names: `Api` and the objects it gives out.

`wandb_ops.Api` is the way in; the classes are here to be named in annotations and isinstance checks.
"""

from __future__ import annotations

from wandb_ops.public.api import Api
from wandb_ops.public.files import File, Files
from wandb_ops.public.histogram import Histogram
from wandb_ops.public.history import HistoryScan
from wandb_ops.public.launch import QueuedRun, RunQueue
from wandb_ops.public.projects import Project, Projects
from wandb_ops.public.run import Run
from wandb_ops.public.runs import Runs
from wandb_ops.public.summary import HTTPSummary
from wandb_ops.public.users import User

__all__ = [
    "Api",
    "File",
    "Files",
    "HTTPSummary",
    "Histogram",
    "HistoryScan",
    "Project",
    "Projects",
    "QueuedRun",
    "Run",
    "RunQueue",
    "Runs",
    "User",
]
