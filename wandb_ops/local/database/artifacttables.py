"""The tables of artifacts: types, collections, versions, their files and who made and used them.

A *collection* is a sequence (versions that runs logged) or a portfolio (versions linked from elsewhere). A
*membership* is a version's place in a collection, with its number there and its aliases. Contents are kept
once per project and MD5 (``artifact_blobs``); what a version consists of is in ``artifact_entries``.
"""

from __future__ import annotations

ARTIFACTS = """
CREATE TABLE artifact_types(
  id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name TEXT NOT NULL, description TEXT, created_at INTEGER NOT NULL, UNIQUE(project, name)
);
CREATE TABLE artifact_collections(
  id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  type INTEGER NOT NULL REFERENCES artifact_types(id), kind TEXT NOT NULL, name TEXT NOT NULL,
  description TEXT, tags TEXT NOT NULL DEFAULT '[]', versions_made INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, UNIQUE(project, name)
);
CREATE TABLE artifacts(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sequence INTEGER NOT NULL REFERENCES artifact_collections(id) ON DELETE CASCADE,
  run INTEGER REFERENCES runs(id) ON DELETE SET NULL, digest TEXT NOT NULL, algorithm TEXT NOT NULL,
  state TEXT NOT NULL, description TEXT, metadata TEXT, tags TEXT NOT NULL, aliases TEXT NOT NULL,
  ttl INTEGER NOT NULL DEFAULT -1, history_step INTEGER, size INTEGER NOT NULL DEFAULT 0,
  storage_bytes INTEGER NOT NULL DEFAULT 0, file_count INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE INDEX artifacts_digest ON artifacts(sequence, digest);
CREATE INDEX artifacts_run ON artifacts(run);
CREATE TABLE artifact_clients(
  client TEXT PRIMARY KEY, artifact INTEGER REFERENCES artifacts(id) ON DELETE CASCADE,
  sequence INTEGER REFERENCES artifact_collections(id) ON DELETE CASCADE
);
CREATE INDEX artifact_clients_artifact ON artifact_clients(artifact);
CREATE INDEX artifact_clients_sequence ON artifact_clients(sequence);
CREATE TABLE artifact_memberships(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  collection INTEGER NOT NULL REFERENCES artifact_collections(id) ON DELETE CASCADE,
  artifact INTEGER NOT NULL REFERENCES artifacts(id) ON DELETE CASCADE, version_index INTEGER NOT NULL,
  created_at INTEGER NOT NULL, UNIQUE(collection, artifact), UNIQUE(collection, version_index)
);
CREATE INDEX artifact_memberships_artifact ON artifact_memberships(artifact);
CREATE TABLE artifact_aliases(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  membership INTEGER NOT NULL REFERENCES artifact_memberships(id) ON DELETE CASCADE,
  collection INTEGER NOT NULL REFERENCES artifact_collections(id) ON DELETE CASCADE, alias TEXT NOT NULL,
  UNIQUE(collection, alias)
);
CREATE INDEX artifact_aliases_membership ON artifact_aliases(membership);
CREATE TABLE artifact_manifests(
  id INTEGER PRIMARY KEY AUTOINCREMENT, artifact INTEGER NOT NULL REFERENCES artifacts(id) ON DELETE CASCADE,
  name TEXT NOT NULL, type TEXT NOT NULL, digest TEXT NOT NULL, base INTEGER, size INTEGER, blob TEXT,
  created_at INTEGER NOT NULL
);
CREATE INDEX artifact_manifests_artifact ON artifact_manifests(artifact);
CREATE TABLE artifact_entries(
  artifact INTEGER NOT NULL REFERENCES artifacts(id) ON DELETE CASCADE, name TEXT NOT NULL,
  digest TEXT NOT NULL, size INTEGER NOT NULL, ref TEXT, birth TEXT, PRIMARY KEY(artifact, name)
) WITHOUT ROWID;
CREATE INDEX artifact_entries_digest ON artifact_entries(digest);
CREATE TABLE artifact_blobs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  md5 TEXT NOT NULL, size INTEGER NOT NULL, blob TEXT NOT NULL, birth INTEGER NOT NULL,
  created_at INTEGER NOT NULL, UNIQUE(project, md5)
);
CREATE TABLE artifact_uploads(
  id INTEGER PRIMARY KEY AUTOINCREMENT, artifact INTEGER NOT NULL REFERENCES artifacts(id) ON DELETE CASCADE,
  name TEXT NOT NULL, md5 TEXT NOT NULL, UNIQUE(artifact, name)
);
CREATE INDEX artifact_uploads_md5 ON artifact_uploads(md5);
CREATE TABLE artifact_parts(
  upload INTEGER NOT NULL REFERENCES artifact_uploads(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  md5 TEXT NOT NULL, size INTEGER NOT NULL, blob TEXT NOT NULL, PRIMARY KEY(upload, number)
) WITHOUT ROWID;
CREATE TABLE artifact_runs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  artifact INTEGER NOT NULL REFERENCES artifacts(id) ON DELETE CASCADE, direction TEXT NOT NULL, used_as TEXT,
  created_at INTEGER NOT NULL, UNIQUE(run, artifact, direction)
);
CREATE INDEX artifact_runs_artifact ON artifact_runs(artifact);
"""
