"""The database: SQLite in WAL mode, one writer behind a lock, a pool of readers.

An acknowledged write survives ``kill -9``: every answer follows the commit, and the log is in the operating
system's hands by then (``synchronous=NORMAL``). A power cut may lose the last commits but not the database.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from wandb_ops.local.database.artifacttables import ARTIFACTS
from wandb_ops.local.database.automationtables import AUTOMATIONS
from wandb_ops.local.database.charttables import CUSTOM_CHARTS
from wandb_ops.local.database.membertables import REGISTRY_MEMBERS
from wandb_ops.local.database.sweeptables import SWEEP_PROGRESS
from wandb_ops.local.errors import storage_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_VERSION = 2

_SCHEMA = """
CREATE TABLE organizations(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  entity INTEGER NOT NULL REFERENCES entities(id) ON DELETE CASCADE
);
CREATE TABLE entities(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, kind TEXT NOT NULL,
  organization INTEGER REFERENCES organizations(id) ON DELETE SET NULL, created_at INTEGER NOT NULL
);
CREATE TABLE users(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity INTEGER REFERENCES entities(id) ON DELETE CASCADE,
  username TEXT NOT NULL UNIQUE COLLATE NOCASE, name TEXT NOT NULL, email TEXT UNIQUE COLLATE NOCASE,
  admin INTEGER NOT NULL, service_team INTEGER REFERENCES entities(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL
);
CREATE TABLE api_keys(
  id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  hash TEXT NOT NULL UNIQUE, hint TEXT NOT NULL, description TEXT, is_primary INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL
);
CREATE TABLE members(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity INTEGER NOT NULL REFERENCES entities(id) ON DELETE CASCADE,
  user INTEGER REFERENCES users(id) ON DELETE CASCADE, email TEXT COLLATE NOCASE, role TEXT NOT NULL,
  created_at INTEGER NOT NULL, UNIQUE(entity, user), UNIQUE(entity, email)
);
CREATE TABLE projects(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity TEXT NOT NULL, name TEXT NOT NULL, description TEXT,
  access TEXT NOT NULL, views TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  runs_made INTEGER NOT NULL DEFAULT 0, user INTEGER REFERENCES users(id) ON DELETE SET NULL,
  UNIQUE(entity, name)
);
CREATE TABLE registries(
  project INTEGER PRIMARY KEY REFERENCES projects(id) ON DELETE CASCADE, allow_all INTEGER NOT NULL
);
CREATE TABLE runs(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE, name TEXT NOT NULL,
  display_name TEXT NOT NULL, description TEXT, notes TEXT, group_name TEXT, job_type TEXT, commit_hash TEXT,
  config TEXT NOT NULL, summary TEXT NOT NULL, tags TEXT NOT NULL, host TEXT, program TEXT, repo TEXT,
  sweep TEXT, state TEXT NOT NULL, exitcode INTEGER, stop_requested INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, heartbeat_at INTEGER NOT NULL,
  history_lines INTEGER NOT NULL DEFAULT 0, events_lines INTEGER NOT NULL DEFAULT 0,
  log_lines INTEGER NOT NULL DEFAULT 0, exported_lines INTEGER NOT NULL DEFAULT 0,
  exported_step INTEGER NOT NULL DEFAULT -1, user INTEGER REFERENCES users(id) ON DELETE SET NULL,
  UNIQUE(project, name)
);
CREATE INDEX runs_created ON runs(project, created_at, id);
CREATE TABLE lines(
  run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE, file INTEGER NOT NULL, line INTEGER NOT NULL,
  step INTEGER, text TEXT NOT NULL, PRIMARY KEY(run, file, line)
) WITHOUT ROWID;
CREATE INDEX lines_step ON lines(run, step) WHERE step IS NOT NULL;
CREATE TABLE history_keys(
  run INTEGER PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE, upto INTEGER NOT NULL, counts TEXT NOT NULL
);
CREATE TABLE files(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  name TEXT NOT NULL, size INTEGER NOT NULL DEFAULT 0, md5 TEXT, mimetype TEXT, blob TEXT,
  updated_at INTEGER NOT NULL, UNIQUE(run, name)
);
CREATE TABLE resource_configs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity TEXT NOT NULL, resource TEXT NOT NULL, config TEXT NOT NULL,
  template_variables TEXT NOT NULL
);
CREATE TABLE queues(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE, name TEXT NOT NULL,
  access TEXT NOT NULL,
  prioritization_mode TEXT NOT NULL, external_links TEXT NOT NULL,
  config INTEGER REFERENCES resource_configs(id), created_at INTEGER NOT NULL, UNIQUE(project, name)
);
CREATE TABLE queue_items(
  id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL REFERENCES queues(id) ON DELETE CASCADE,
  run_spec TEXT NOT NULL, priority INTEGER NOT NULL, state TEXT NOT NULL, associated_run TEXT, error TEXT,
  warning TEXT, agent INTEGER, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE INDEX queue_items_state ON queue_items(queue, state, priority, id);
CREATE TABLE launch_agents(
  id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  hostname TEXT NOT NULL, queues TEXT NOT NULL, status TEXT NOT NULL, config TEXT, version TEXT,
  heartbeat_at INTEGER NOT NULL
);
CREATE INDEX runs_sweep ON runs(project, sweep) WHERE sweep IS NOT NULL;
CREATE TABLE run_alerts(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  title TEXT NOT NULL, text TEXT NOT NULL, severity TEXT NOT NULL, wait INTEGER NOT NULL,
  created_at INTEGER NOT NULL
);
CREATE INDEX run_alerts_run ON run_alerts(run, title);
CREATE TABLE sweeps(
  id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name TEXT NOT NULL, display_name TEXT, description TEXT, config TEXT NOT NULL, parsed TEXT NOT NULL,
  controller TEXT, scheduler TEXT, state TEXT NOT NULL, suggested INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, heartbeat_at INTEGER, UNIQUE(project, name)
);
CREATE TABLE sweep_agents(
  id INTEGER PRIMARY KEY AUTOINCREMENT, sweep INTEGER NOT NULL REFERENCES sweeps(id) ON DELETE CASCADE,
  name TEXT NOT NULL, host TEXT NOT NULL, state TEXT NOT NULL, created_at INTEGER NOT NULL,
  heartbeat_at INTEGER NOT NULL
);
CREATE INDEX sweep_agents_sweep ON sweep_agents(sweep);
CREATE TABLE sweep_trials(
  id INTEGER PRIMARY KEY AUTOINCREMENT, sweep INTEGER NOT NULL REFERENCES sweeps(id) ON DELETE CASCADE,
  run TEXT NOT NULL, config TEXT NOT NULL, agent INTEGER, given INTEGER NOT NULL DEFAULT 0, UNIQUE(sweep, run)
);
CREATE TABLE views(
  id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name TEXT NOT NULL, display_name TEXT, description TEXT, type TEXT NOT NULL, spec TEXT NOT NULL,
  author TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE INDEX views_project ON views(project, id);
"""


class Store:
    """Connections to one data folder's database.

    Args:
        path: The database file; made when absent.
        clock: Seconds since the epoch.

    Raises:
        RuntimeError: The file was written by another version, or is damaged.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._opened: list[sqlite3.Connection] = []
        self._closed = False
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            for connection in self._opened:
                connection.close()
            if storage_problem(error) is None:
                raise
            raise RuntimeError(
                f"{path} cannot be used: {error}. Restore the folder from a copy, or begin with an empty one"
            ) from error

    def _prepare(self) -> None:
        """Open the writer, and make the tables that are missing."""
        path = self._path
        self._writer = self._open()
        self._writer.execute("PRAGMA journal_mode=WAL")
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise RuntimeError(f"{path} was written by a newer version of this server")
        if 0 < version < _VERSION:
            raise RuntimeError(
                f"{path} was written by an older version of this server; begin with an empty folder"
            )
        if version == 0:
            self._writer.executescript(
                f"BEGIN IMMEDIATE;{_SCHEMA}{ARTIFACTS}PRAGMA user_version={_VERSION};COMMIT;"
            )
        later = f"{AUTOMATIONS}{REGISTRY_MEMBERS}{CUSTOM_CHARTS}{SWEEP_PROGRESS}"
        self._writer.executescript(f"BEGIN IMMEDIATE;{later}COMMIT;")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-32000")
        self._opened.append(connection)
        return connection

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * 1000)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The one writer, in a transaction: committed at the end, rolled back by an exception."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk ends it by itself
                    self._writer.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A reader that sees everything committed so far."""
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = self._open()
        try:
            yield connection
        except BaseException:
            # The exception may keep a statement open, and with it an old view of the database.
            self._opened.remove(connection)
            connection.close()
            raise
        self._readers.put(connection)

    def close(self) -> None:
        """Close every connection; the last one folds the log into the database."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for connection in reversed(self._opened):
                connection.close()
