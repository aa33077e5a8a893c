"""The command line: one thin command per step."""

from __future__ import annotations

from wandb_ops.cli.main import main

__all__ = ["main"]
