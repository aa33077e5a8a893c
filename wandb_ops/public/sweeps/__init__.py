"""Sweeps: what they are, who works on them, and making one."""

from __future__ import annotations

from wandb_ops.public.sweeps.agents import Agent, AgentRuns
from wandb_ops.public.sweeps.book import SweepBook
from wandb_ops.public.sweeps.create import CreatedSweep, create_sweep, plain_config
from wandb_ops.public.sweeps.sweeps import Sweep, Sweeps

__all__ = [
    "Agent",
    "AgentRuns",
    "CreatedSweep",
    "Sweep",
    "SweepBook",
    "Sweeps",
    "create_sweep",
    "plain_config",
]
