"""Artifact types, collections, versions and memberships: rows, and how a name leads to one."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_ops.local.errors import NotFound
from wandb_ops.local.names import decode_number, encode_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

SEQUENCE, PORTFOLIO = "SEQUENCE", "PORTFOLIO"
PENDING, COMMITTED, DELETED = "PENDING", "COMMITTED", "DELETED"
LATEST = "latest"
INPUT, OUTPUT = "input", "output"

_VERSION = re.compile(r"v(\d{1,15})")
# Constants are all that is ever put into these texts.
_TYPE = "SELECT id, project, name, description, created_at FROM artifact_types"
_COLLECTION = (
    "SELECT c.id, c.project, p.entity, p.name, c.type, t.name, c.kind, c.name, c.description, c.tags,"
    " c.versions_made, c.created_at, c.updated_at FROM artifact_collections c"
    " JOIN projects p ON p.id=c.project JOIN artifact_types t ON t.id=c.type"
)
_ARTIFACT = (
    "SELECT a.id, a.sequence, c.project, a.run, a.digest, a.algorithm, a.state, a.description, a.metadata,"
    " a.tags, a.aliases, a.ttl, a.history_step, a.size, a.storage_bytes, a.file_count, a.created_at,"
    " a.updated_at, m.version_index FROM artifacts a JOIN artifact_collections c ON c.id=a.sequence"
    " LEFT JOIN artifact_memberships m ON m.artifact=a.id AND m.collection=a.sequence"
)
_MEMBERSHIP = (
    "SELECT m.id, m.collection, m.artifact, m.version_index, m.created_at FROM artifact_memberships m"
)


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """One row of ``artifact_types``."""

    pk: int
    project_pk: int
    name: str
    description: str | None
    created_at: int

    @property
    def id(self) -> str:
        """The opaque id of the type."""
        return encode_id("ArtifactType", self.pk)


@dataclass(frozen=True, slots=True)
class Collection:
    """One row of ``artifact_collections`` with the names of its project and type; times in milliseconds."""

    pk: int
    project_pk: int
    entity: str
    project: str
    type_pk: int
    type: str
    kind: str
    name: str
    description: str | None
    tags: str
    versions_made: int
    created_at: int
    updated_at: int

    @property
    def id(self) -> str:
        """The opaque id of the collection."""
        return encode_id("ArtifactCollection", self.pk)

    @property
    def tag_list(self) -> list[str]:
        """Its tags, in the order in which they were given."""
        tags: list[str] = json.loads(self.tags)
        return tags


@dataclass(frozen=True, slots=True)
class Artifact:
    """One row of ``artifacts``: a version of a sequence. ``version_index`` is None until it is committed.

    ``aliases`` are those it gets when it is committed; ``ttl`` is in seconds, -1 inherited, -2 off.
    """

    pk: int
    sequence: int
    project_pk: int
    run: int | None
    digest: str
    algorithm: str
    state: str
    description: str | None
    metadata: str | None
    tags: str
    aliases: str
    ttl: int
    history_step: int | None
    size: int
    storage_bytes: int
    file_count: int
    created_at: int
    updated_at: int
    version_index: int | None

    @property
    def id(self) -> str:
        """The opaque id of the version."""
        return encode_id("Artifact", self.pk)

    @property
    def tag_list(self) -> list[str]:
        """Its tags, in the order in which they were given."""
        tags: list[str] = json.loads(self.tags)
        return tags

    @property
    def commit_hash(self) -> str:
        """Twenty hexadecimal digits that name the version in its sequence."""
        text = f"{self.sequence}:{self.pk}:{self.digest}"
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Membership:
    """One row of ``artifact_memberships``: a version's place in a collection."""

    pk: int
    collection: int
    artifact: int
    version_index: int
    created_at: int

    @property
    def id(self) -> str:
        """The opaque id of the membership."""
        return encode_id("ArtifactCollectionMembership", self.pk)


@dataclass(frozen=True, slots=True)
class Alias:
    """One row of ``artifact_aliases``."""

    pk: int
    alias: str
    collection: int

    @property
    def id(self) -> str:
        """The opaque id of the alias."""
        return encode_id("ArtifactAlias", self.pk)


# -- types -------------------------------------------------------------------------------------------------


def find_type(db: sqlite3.Connection, project: int, name: str) -> ArtifactType | None:
    """The project's type of that name, or None."""
    row = db.execute(f"{_TYPE} WHERE project=? AND name=?", (project, name)).fetchone()
    return ArtifactType(*row) if row else None


def type_by_pk(db: sqlite3.Connection, pk: int) -> ArtifactType:
    """The type with that row number."""
    return ArtifactType(*db.execute(f"{_TYPE} WHERE id=?", (pk,)).fetchone())


def types(db: sqlite3.Connection, project: int) -> list[ArtifactType]:
    """The project's types, oldest first."""
    return [ArtifactType(*row) for row in db.execute(f"{_TYPE} WHERE project=? ORDER BY id", (project,))]


# -- collections -------------------------------------------------------------------------------------------


def find_collection(db: sqlite3.Connection, project: int, name: str) -> Collection | None:
    """The project's collection of that name, or None."""
    row = db.execute(f"{_COLLECTION} WHERE c.project=? AND c.name=?", (project, name)).fetchone()
    return Collection(*row) if row else None


def collection_by_pk(db: sqlite3.Connection, pk: int) -> Collection | None:
    """The collection with that row number, or None."""
    row = db.execute(f"{_COLLECTION} WHERE c.id=?", (pk,)).fetchone()
    return Collection(*row) if row else None


def collection_by_id(db: sqlite3.Connection, value: str) -> Collection:
    """The collection with that opaque id, or :class:`NotFound`."""
    found = collection_by_pk(db, decode_number("ArtifactCollection", value))
    if found is None:
        raise NotFound("artifact collection not found")
    return found


def collections(db: sqlite3.Connection, project: int, type_pk: int | None = None) -> list[Collection]:
    """The project's collections, of one type or of all, oldest first."""
    query = f"{_COLLECTION} WHERE c.project=? AND (? IS NULL OR c.type=?) ORDER BY c.id"
    return [Collection(*row) for row in db.execute(query, (project, type_pk, type_pk))]


# -- versions ----------------------------------------------------------------------------------------------


def by_pk(db: sqlite3.Connection, pk: int) -> Artifact | None:
    """The version with that row number, or None."""
    row = db.execute(f"{_ARTIFACT} WHERE a.id=?", (pk,)).fetchone()
    return Artifact(*row) if row else None


def find(db: sqlite3.Connection, value: str) -> Artifact | None:
    """The version with that opaque id, or None."""
    return by_pk(db, decode_number("Artifact", value))


def get(db: sqlite3.Connection, value: str) -> Artifact:
    """The version with that opaque id, or :class:`NotFound`."""
    found = find(db, value)
    if found is None:
        raise NotFound("artifact not found")
    return found


def by_digest(db: sqlite3.Connection, sequence: int, digest: str, algorithm: str) -> Artifact | None:
    """A version of the sequence with that content, a committed one before a pending one."""
    row = db.execute(
        f"{_ARTIFACT} WHERE a.sequence=? AND a.digest=? AND a.algorithm=?"
        " ORDER BY a.state=? DESC, a.id DESC LIMIT 1",
        (sequence, digest, algorithm, COMMITTED),
    ).fetchone()
    return Artifact(*row) if row else None


def latest(db: sqlite3.Connection, collection: int) -> Artifact | None:
    """The newest committed version of the collection."""
    row = db.execute(
        "SELECT artifact FROM artifact_memberships WHERE collection=? ORDER BY version_index DESC LIMIT 1",
        (collection,),
    ).fetchone()
    return by_pk(db, row[0]) if row else None


def of_run(db: sqlite3.Connection, run: int, direction: str) -> list[tuple[Artifact, int, str | None]]:
    """Versions that the run logged or used, in that order: each with its link's number and "used as"."""
    rows = db.execute(
        "SELECT artifact, id, used_as FROM artifact_runs WHERE run=? AND direction=? ORDER BY id",
        (run, direction),
    ).fetchall()
    found = [(by_pk(db, artifact), number, used_as) for artifact, number, used_as in rows]
    return [
        (artifact, number, used_as)
        for artifact, number, used_as in found
        if artifact is not None and artifact.state == COMMITTED
    ]


def used_by(db: sqlite3.Connection, artifact: int) -> list[tuple[int, int]]:
    """The numbers of the runs that used the version, each with its link's number."""
    rows = db.execute(
        "SELECT run, id FROM artifact_runs WHERE artifact=? AND direction=? ORDER BY id", (artifact, INPUT)
    )
    return [(run, number) for run, number in rows]


# -- memberships and aliases -------------------------------------------------------------------------------


def memberships(
    db: sqlite3.Connection, *, collection: int | None = None, artifact: int | None = None
) -> list[Membership]:
    """The places in a collection (newest first) or of a version (oldest first)."""
    if collection is not None:
        query, value = f"{_MEMBERSHIP} WHERE m.collection=? ORDER BY m.version_index DESC", collection
    else:
        query, value = f"{_MEMBERSHIP} WHERE m.artifact=? ORDER BY m.id", artifact or 0
    return [Membership(*row) for row in db.execute(query, (value,))]


def membership_of(db: sqlite3.Connection, collection: int, artifact: int) -> Membership | None:
    """The version's place in the collection, or None."""
    row = db.execute(
        f"{_MEMBERSHIP} WHERE m.collection=? AND m.artifact=?", (collection, artifact)
    ).fetchone()
    return Membership(*row) if row else None


def membership_at(db: sqlite3.Connection, collection: int, alias: str) -> Membership | None:
    """The place that ``v3`` or an alias means in the collection, or None."""
    if version := _VERSION.fullmatch(alias):
        query, value = f"{_MEMBERSHIP} WHERE m.collection=? AND m.version_index=?", int(version[1])
        row = db.execute(query, (collection, value)).fetchone()
    else:
        row = db.execute(
            f"{_MEMBERSHIP} JOIN artifact_aliases s ON s.membership=m.id WHERE s.collection=? AND s.alias=?",
            (collection, alias),
        ).fetchone()
    return Membership(*row) if row else None


def membership_named(db: sqlite3.Connection, project: int, name: str) -> Membership | None:
    """The place that ``collection:alias`` means in the project (no alias: the latest), or None."""
    collection_name, _, alias = name.partition(":")
    collection = find_collection(db, project, collection_name)
    return membership_at(db, collection.pk, alias or LATEST) if collection else None


def aliases(
    db: sqlite3.Connection,
    *,
    membership: int | None = None,
    artifact: int | None = None,
    collection: int | None = None,
) -> list[Alias]:
    """The aliases of a place, of a version anywhere, or of a collection."""
    rows: Sequence[tuple[int, str, int]] = db.execute(
        "SELECT s.id, s.alias, s.collection FROM artifact_aliases s"
        " JOIN artifact_memberships m ON m.id=s.membership"
        " WHERE (? IS NULL OR s.membership=?) AND (? IS NULL OR m.artifact=?)"
        " AND (? IS NULL OR s.collection=?) ORDER BY s.id",
        (membership, membership, artifact, artifact, collection, collection),
    ).fetchall()
    return [Alias(*row) for row in rows]


def is_version(alias: str) -> bool:
    """Whether the alias has the form of a version, which no alias may have."""
    return _VERSION.fullmatch(alias) is not None
