"""Weights & Biases: hooks for Airflow."""

from __future__ import annotations
