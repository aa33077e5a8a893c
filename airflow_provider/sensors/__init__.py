"""Weights & Biases: sensors for Airflow."""

from __future__ import annotations
