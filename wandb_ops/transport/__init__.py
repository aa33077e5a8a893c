"""HTTP to W&B: one origin for the key, typed retries, total deadlines, one rate budget per process."""

from __future__ import annotations

from wandb_ops.transport.retry import Kind, RetryPolicy
from wandb_ops.transport.session import Transport

__all__ = ["Kind", "RetryPolicy", "Transport"]
