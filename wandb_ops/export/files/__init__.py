"""Exports to files: `writing` makes one of a history, `sink` a folder of them of a project."""

from __future__ import annotations
