"""Which run and project are meant: a run's id comes from who asks, so a retried task finds its own again."""

from __future__ import annotations

import hashlib
import re

from wandb_ops.errors import UsageError

_READABLE = 20  # characters of the first part kept for people
_DIGEST = 11  # characters of base-32 digest: 55 bits, no clash in any fleet of runs


def stable_run_id(*parts: str | int | None) -> str:
    """The W&B run id for whoever the parts name; the same parts give the same id, for ever.

    Args:
        parts: What makes the caller unique: `(dag_id, run_id, task_id, map_index)` in Airflow,
            `(job, asset key, partition)` in Dagster. `None` counts as a part of its own.

    Returns:
        At most 32 characters of `[a-z0-9-]`: the first part, shortened, then a digest of all parts.

    Raises:
        UsageError: No part was given, or all are empty: every caller would share one run.
    """
    if not any(part not in (None, "") for part in parts):
        raise UsageError("stable_run_id needs at least one part that is not empty")
    digest = hashlib.sha256()
    for part in parts:
        # Type and length first, so that ("a", "bc"), ("ab", "c"), (1,) and ("1",) all differ.
        text = "" if part is None else str(part)
        digest.update(f"{type(part).__name__}:{len(text)}:{text}\0".encode("utf-8", "surrogatepass"))
    number = int.from_bytes(digest.digest()[:8], "big")
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    tail = "".join(letters[(number >> (5 * i)) & 31] for i in range(_DIGEST))
    head = re.sub(r"[^a-z0-9]+", "-", str(parts[0] or "run").lower()).strip("-")[:_READABLE].strip("-")
    return f"{head}-{tail}" if head else tail


def bare_project(project: str) -> str:
    """`project` itself.

    Raises:
        UsageError: It is a path, or empty.
    """
    owner, slash, name = project.strip("/").rpartition("/")
    if slash and owner and name:
        raise UsageError(
            f"{project!r} is a path, not the name of a project",
            hint=f"Pass entity={owner!r}, project={name!r}.",
        )
    if not name or project != name:
        raise UsageError(f"{project!r} is not the name of a project")
    return project
