"""Presets of custom charts. The table is added to folders that were made before there was one."""

from __future__ import annotations

CUSTOM_CHARTS = """
CREATE TABLE IF NOT EXISTS custom_charts(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity INTEGER NOT NULL REFERENCES entities(id) ON DELETE CASCADE,
  name TEXT NOT NULL, display_name TEXT NOT NULL, type TEXT NOT NULL, access TEXT NOT NULL,
  spec TEXT NOT NULL, created_at INTEGER NOT NULL, UNIQUE(entity, name)
);
"""
