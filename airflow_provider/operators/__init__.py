"""Weights & Biases: operators for Airflow."""

from __future__ import annotations
