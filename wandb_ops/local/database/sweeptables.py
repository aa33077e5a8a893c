"""How far each run of a sweep with early termination was read. Added to folders that were made before."""

from __future__ import annotations

SWEEP_PROGRESS = """
CREATE TABLE IF NOT EXISTS sweep_progress(
  run INTEGER PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE, rule TEXT NOT NULL, upto INTEGER NOT NULL,
  count INTEGER NOT NULL, best REAL, bands TEXT NOT NULL
);
"""
