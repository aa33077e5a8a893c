"""Which artifacts exist for who asks: those of projects that he sees, and those linked into such projects.

Whoever only sees a link may read the version; changing it takes the project that it was logged to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.errors import NotFound

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.artifacts.artifacts import Artifact, Collection
    from wandb_ops.local.resolvers.context import Context


def _linked_in_sight(context: Context, db: sqlite3.Connection, artifact: Artifact) -> bool:
    owners = (
        artifacts.collection_by_pk(db, place.collection)
        for place in artifacts.memberships(db, artifact=artifact.pk)
    )
    return any(owner is not None and context.sees_project(db, owner.project_pk) for owner in owners)


def find_readable(context: Context, db: sqlite3.Connection, value: str) -> Artifact | None:
    """The version with that opaque id, or None when it does not exist for who asks."""
    found = artifacts.find(db, value)
    if found is None or context.sees_project(db, found.project_pk):
        return found
    return found if _linked_in_sight(context, db, found) else None


def readable(context: Context, db: sqlite3.Connection, value: str) -> Artifact:
    """The version with that opaque id, or :class:`NotFound` when it does not exist for who asks."""
    found = find_readable(context, db, value)
    if found is None:
        raise NotFound("artifact not found")
    return found


def writable(context: Context, db: sqlite3.Connection, value: str) -> Artifact:
    """The version with that opaque id, or :class:`NotFound` when who asks may not change it."""
    found = artifacts.find(db, value)
    if found is None or not context.sees_project(db, found.project_pk):
        raise NotFound("artifact not found")
    return found


def collection(context: Context, db: sqlite3.Connection, value: str) -> Collection:
    """The collection with that opaque id, or :class:`NotFound` when it does not exist for who asks."""
    found = artifacts.collection_by_id(db, value)
    if not context.sees_project(db, found.project_pk):
        raise NotFound("artifact collection not found")
    return found
