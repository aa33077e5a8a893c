"""The members of registries. The table is added to folders that were made before there was one."""

from __future__ import annotations

REGISTRY_MEMBERS = """
CREATE TABLE IF NOT EXISTS registry_members(
  id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  user INTEGER REFERENCES users(id) ON DELETE CASCADE,
  team INTEGER REFERENCES entities(id) ON DELETE CASCADE, role TEXT NOT NULL, UNIQUE(project, user),
  UNIQUE(project, team)
);
"""
