"""Tables of automations and integrations. Added to folders that were made before there were any."""

from __future__ import annotations

AUTOMATIONS = """
CREATE TABLE IF NOT EXISTS integrations(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity INTEGER NOT NULL REFERENCES entities(id) ON DELETE CASCADE,
  kind TEXT NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL, created_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS triggers(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity INTEGER NOT NULL REFERENCES entities(id) ON DELETE CASCADE,
  project INTEGER REFERENCES projects(id) ON DELETE CASCADE,
  collection INTEGER REFERENCES artifact_collections(id) ON DELETE CASCADE,
  name TEXT NOT NULL, description TEXT, enabled INTEGER NOT NULL DEFAULT 1, event_type TEXT NOT NULL,
  filter TEXT NOT NULL, action_type TEXT NOT NULL, action TEXT NOT NULL, created_at INTEGER NOT NULL,
  updated_at INTEGER, UNIQUE(entity, name)
);
"""
