"""Weights & Biases: links for Airflow."""

from __future__ import annotations
