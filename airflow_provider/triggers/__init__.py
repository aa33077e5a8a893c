"""Weights & Biases: triggers for Airflow."""

from __future__ import annotations
