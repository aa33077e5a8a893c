"""Weights & Biases for Airflow: thin, idempotent operators over `wandb_ops.steps`.

Nothing is imported here: a DAG file pays only for the modules it names, and those import neither pandas nor
pyarrow before a task runs.
"""

from __future__ import annotations
