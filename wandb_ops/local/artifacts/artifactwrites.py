"""Making, committing, changing, linking and deleting artifacts: the rules.

A version is made PENDING and has no number; once its files and manifest are there it is committed, and only
then becomes ``vN`` of its sequence and ``latest``. A client id that was seen before leads to the version it
made, and content that the sequence has already is not made twice, so that every step may be repeated.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.artifacts.artifacts import (
    COMMITTED,
    LATEST,
    OUTPUT,
    PENDING,
    PORTFOLIO,
    SEQUENCE,
    Artifact,
    Collection,
    Membership,
)
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import loads_object
from wandb_ops.local.names import check_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_ops.local.projects import Project

_ALIAS = re.compile(r"[^/:\x00-\x1f\x7f]{1,128}")
_TAG = re.compile(r"[-\w]+( +[-\w]+)*")
_MAX_CLIENT_ID = 256
_TTL_OFF = -2


def check_alias(alias: str) -> str:
    """An alias that a user may give, or :class:`Refused`."""
    if not _ALIAS.fullmatch(alias) or artifacts.is_version(alias):
        raise Refused(f"invalid alias {alias!r}: up to 128 characters without / and :, and not like 'v3'")
    return alias


def tag_names(given: Iterable[Mapping[str, Any]] | None) -> list[str]:
    """Names of the tags in an input, or :class:`Refused`."""
    names = [str(tag["tagName"]) for tag in given or ()]
    for name in names:
        if len(name) > 128 or not _TAG.fullmatch(name):
            raise Refused(f"invalid tag {name!r}")
    return names


def _without_and_with(known: list[str], add: Iterable[str], remove: Iterable[str]) -> str:
    gone = set(remove)
    return json.dumps(list(dict.fromkeys([*(tag for tag in known if tag not in gone), *add])))


# -- types and collections ---------------------------------------------------------------------------------


def ensure_type(db: sqlite3.Connection, now: int, project: int, name: str) -> artifacts.ArtifactType:
    """The project's type of that name, made when absent."""
    check_name("artifact type", name)
    db.execute(
        "INSERT OR IGNORE INTO artifact_types(project, name, created_at) VALUES(?,?,?)", (project, name, now)
    )
    found = artifacts.find_type(db, project, name)
    assert found is not None
    return found


def ensure_collection(
    db: sqlite3.Connection, now: int, project: int, type_name: str, name: str, kind: str
) -> Collection:
    """The project's collection of that name, made when absent; refused when it is of another type or kind."""
    check_name("artifact", name)
    wanted = ensure_type(db, now, project, type_name)
    found = artifacts.find_collection(db, project, name)
    if found is None:
        db.execute(
            "INSERT INTO artifact_collections(project, type, kind, name, created_at, updated_at)"
            " VALUES(?,?,?,?,?,?)",
            (project, wanted.pk, kind, name, now, now),
        )
        found = artifacts.find_collection(db, project, name)
        assert found is not None
    if found.type_pk != wanted.pk:
        raise Refused(f"artifact collection {name!r} is of type {found.type!r}, not {type_name!r}")
    if found.kind != kind:
        raise Refused(f"artifact collection {name!r} is a {found.kind.lower()}, not a {kind.lower()}")
    return found


def change_collection(
    db: sqlite3.Connection, now: int, collection: Collection, given: Mapping[str, Any]
) -> None:
    """Rename or describe a collection; what is absent or null stays."""
    name = given.get("name") or collection.name
    if name != collection.name:
        check_name("artifact", name)
        if artifacts.find_collection(db, collection.project_pk, name) is not None:
            raise Refused(f"an artifact collection {name!r} exists already")
    description = given.get("description")
    db.execute(
        "UPDATE artifact_collections SET name=?, description=?, updated_at=? WHERE id=?",
        (name, collection.description if description is None else description, now, collection.pk),
    )


def move_collection(db: sqlite3.Connection, now: int, collection: Collection, type_name: str) -> None:
    """Give a sequence another type."""
    if collection.kind != SEQUENCE:
        raise Refused("only a sequence can change its type")
    wanted = ensure_type(db, now, collection.project_pk, type_name)
    db.execute(
        "UPDATE artifact_collections SET type=?, updated_at=? WHERE id=?", (wanted.pk, now, collection.pk)
    )


def tag_collection(
    db: sqlite3.Connection, now: int, collection: Collection, add: Iterable[str], remove: Iterable[str]
) -> None:
    """Change a collection's tags."""
    tags = _without_and_with(collection.tag_list, add, remove)
    db.execute("UPDATE artifact_collections SET tags=?, updated_at=? WHERE id=?", (tags, now, collection.pk))


def delete_collection(db: sqlite3.Connection, collection: Collection) -> None:
    """Remove a collection; a sequence takes its versions with it, wherever they are linked."""
    db.execute("DELETE FROM artifact_collections WHERE id=?", (collection.pk,))


# -- making and committing a version -----------------------------------------------------------------------


def _by_client(db: sqlite3.Connection, client: str | None) -> Artifact | None:
    if not client:
        return None
    row = db.execute("SELECT artifact FROM artifact_clients WHERE client=?", (client,)).fetchone()
    return artifacts.by_pk(db, row[0]) if row and row[0] is not None else None


def client_target(db: sqlite3.Connection, client: str) -> Artifact | Collection | None:
    """What a client id stands for, or None."""
    row = db.execute("SELECT artifact, sequence FROM artifact_clients WHERE client=?", (client,)).fetchone()
    if row is None:
        return None
    return artifacts.by_pk(db, row[0]) if row[0] is not None else artifacts.collection_by_pk(db, row[1])


def _note_client(
    db: sqlite3.Connection, client: str | None, artifact: int | None, sequence: int | None
) -> None:
    if not client:
        return
    if len(client) > _MAX_CLIENT_ID:
        raise Refused("the client id is too long")
    db.execute(
        "INSERT INTO artifact_clients(client, artifact, sequence) VALUES(?,?,?)"
        " ON CONFLICT(client) DO UPDATE SET artifact=excluded.artifact, sequence=excluded.sequence",
        (client, artifact, sequence),
    )


def create(
    db: sqlite3.Connection, now: int, project: Project, run: int | None, given: Mapping[str, Any]
) -> Artifact:
    """The version that an input asks for: known by its client id, known by its content, or a new one."""
    name = given.get("artifactCollectionName") or next(iter(given.get("artifactCollectionNames") or ()), None)
    if not name:
        raise Refused("artifactCollectionName is required")
    wanted = [check_alias(alias["alias"]) for alias in given.get("aliases") or ()]
    tags = tag_names(given.get("tags"))
    if given.get("metadata"):
        loads_object(given["metadata"], "metadata")
    collection = ensure_collection(db, now, project.pk, given["artifactTypeName"], name, SEQUENCE)
    found = _by_client(db, given.get("clientID"))
    if found is not None and found.sequence != collection.pk:
        raise Refused("the client id belongs to another artifact")
    if found is None and given.get("enableDigestDeduplication"):
        found = artifacts.by_digest(db, collection.pk, given["digest"], given["digestAlgorithm"])
    if found is None:
        ttl = given.get("ttlDurationSeconds")
        pk = db.execute(
            "INSERT INTO artifacts(sequence, run, digest, algorithm, state, description, metadata, tags,"
            " aliases, ttl, history_step, created_at, updated_at) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)"
            " RETURNING id",
            (
                collection.pk,
                run,
                given["digest"],
                given["digestAlgorithm"],
                PENDING,
                given.get("description"),
                given.get("metadata"),
                json.dumps(tags),
                json.dumps(wanted),
                -1 if ttl is None else ttl,
                given.get("historyStep"),
                now,
                now,
            ),
        ).fetchone()[0]
    else:
        pk = found.pk
        if found.state == COMMITTED:
            add_aliases(db, _place(db, found), wanted)
        else:
            merged = list(dict.fromkeys([*json.loads(found.aliases), *wanted]))
            db.execute("UPDATE artifacts SET aliases=? WHERE id=?", (json.dumps(merged), pk))
    _note_client(db, given.get("clientID"), pk, None)
    _note_client(db, given.get("sequenceClientID"), None, collection.pk)
    if run is not None:
        link_run(db, now, run, pk, OUTPUT, None)
    made = artifacts.by_pk(db, pk)
    assert made is not None
    return made


def link_run(
    db: sqlite3.Connection, now: int, run: int, artifact: int, direction: str, used_as: str | None
) -> None:
    """Note that a run logged or used a version."""
    db.execute(
        "INSERT INTO artifact_runs(run, artifact, direction, used_as, created_at) VALUES(?,?,?,?,?)"
        " ON CONFLICT(run, artifact, direction) DO UPDATE SET used_as=coalesce(excluded.used_as, used_as)",
        (run, artifact, direction, used_as, now),
    )


def _place(db: sqlite3.Connection, artifact: Artifact) -> Membership:
    place = artifacts.membership_of(db, artifact.sequence, artifact.pk)
    if place is None:
        raise Refused("the artifact is not committed yet")
    return place


def _join(db: sqlite3.Connection, now: int, collection: int, artifact: int) -> Membership:
    """A new place at the end of a collection."""
    number = db.execute(
        "UPDATE artifact_collections SET versions_made=versions_made+1, updated_at=? WHERE id=?"
        " RETURNING versions_made",
        (now, collection),
    ).fetchone()[0]
    db.execute(
        "INSERT INTO artifact_memberships(collection, artifact, version_index, created_at) VALUES(?,?,?,?)",
        (collection, artifact, number - 1, now),
    )
    place = artifacts.membership_of(db, collection, artifact)
    assert place is not None
    return place


def committed(db: sqlite3.Connection, now: int, artifact: Artifact, digest: str) -> Artifact:
    """The version, numbered, with its aliases and ``latest``."""
    db.execute(
        "UPDATE artifacts SET state=?, digest=?, updated_at=? WHERE id=?",
        (COMMITTED, digest, now, artifact.pk),
    )
    place = _join(db, now, artifact.sequence, artifact.pk)
    add_aliases(db, place, [*json.loads(artifact.aliases), LATEST])
    found = artifacts.by_pk(db, artifact.pk)
    assert found is not None
    return found


# -- changing ----------------------------------------------------------------------------------------------


def add_aliases(db: sqlite3.Connection, place: Membership, names: Iterable[str]) -> None:
    """Give a place aliases; each leaves the place that had it."""
    for name in names:
        db.execute(
            "INSERT INTO artifact_aliases(membership, collection, alias) VALUES(?,?,?)"
            " ON CONFLICT(collection, alias) DO UPDATE SET membership=excluded.membership",
            (place.pk, place.collection, check_alias(name)),
        )


def remove_aliases(db: sqlite3.Connection, place: Membership, names: Iterable[str]) -> None:
    """Take aliases from a place; one that it does not have is no matter."""
    db.executemany(
        "DELETE FROM artifact_aliases WHERE membership=? AND alias=?", [(place.pk, name) for name in names]
    )


def place_in(db: sqlite3.Connection, project: int, collection_name: str, artifact: Artifact) -> Membership:
    """The version's place in the collection of that name, or :class:`NotFound`."""
    collection = artifacts.find_collection(db, project, collection_name)
    place = artifacts.membership_of(db, collection.pk, artifact.pk) if collection else None
    if place is None:
        raise NotFound(f"the artifact is not in a collection {collection_name!r}")
    return place


def update(db: sqlite3.Connection, now: int, artifact: Artifact, given: Mapping[str, Any]) -> None:
    """Change a version; what is absent or null stays."""
    if given.get("metadata") is not None:
        loads_object(given["metadata"], "metadata")
    ttl = given.get("ttlDurationSeconds")
    if ttl is not None and (ttl < _TTL_OFF or ttl == 0):
        raise Refused("ttlDurationSeconds is a number of seconds, -1 (inherited) or -2 (off)")
    tags = _without_and_with(
        artifact.tag_list, tag_names(given.get("tagsToAdd")), tag_names(given.get("tagsToDelete"))
    )
    db.execute(
        "UPDATE artifacts SET description=coalesce(?, description), metadata=coalesce(?, metadata),"
        " ttl=coalesce(?, ttl), tags=?, updated_at=? WHERE id=?",
        (given.get("description"), given.get("metadata"), ttl, tags, now, artifact.pk),
    )
    if given.get("aliases") is not None:
        place = _place(db, artifact)
        db.execute("DELETE FROM artifact_aliases WHERE membership=?", (place.pk,))
        add_aliases(db, place, [alias["alias"] for alias in given["aliases"]])


def link(
    db: sqlite3.Connection,
    now: int,
    project: int,
    name: str,
    artifact: Artifact,
    names: Sequence[str],
) -> Membership:
    """Put a version into a portfolio, made when absent; one that is there keeps its number."""
    if artifact.state != COMMITTED:
        raise Refused("only a committed artifact can be linked")
    source = artifacts.collection_by_pk(db, artifact.sequence)
    assert source is not None
    portfolio = ensure_collection(db, now, project, source.type, name, PORTFOLIO)
    place = artifacts.membership_of(db, portfolio.pk, artifact.pk)
    if place is None:
        place = _join(db, now, portfolio.pk, artifact.pk)
        add_aliases(db, place, [LATEST])
    add_aliases(db, place, names)
    return place


def unlink(db: sqlite3.Connection, portfolio: Collection, artifact: Artifact) -> None:
    """Take a version out of a portfolio; one that is not in it is no matter."""
    if portfolio.kind != PORTFOLIO:
        raise Refused("an artifact can only be unlinked from a portfolio")
    db.execute(
        "DELETE FROM artifact_memberships WHERE collection=? AND artifact=?", (portfolio.pk, artifact.pk)
    )
    _point_latest(db, portfolio.pk)


def _point_latest(db: sqlite3.Connection, collection: int) -> None:
    """``latest`` is the newest that is left."""
    newest = artifacts.latest(db, collection)
    if newest is not None and artifacts.membership_at(db, collection, LATEST) is None:
        place = artifacts.membership_of(db, collection, newest.pk)
        assert place is not None
        add_aliases(db, place, [LATEST])


def delete(db: sqlite3.Connection, artifact: Artifact, *, with_aliases: bool) -> None:
    """Remove a version and its places; one that has aliases only when told so. Its number is not used again.

    The alias ``latest`` passes to the newest version that is left.
    """
    known = [alias.alias for alias in artifacts.aliases(db, artifact=artifact.pk)]
    if known and not with_aliases:
        raise Refused(f"the artifact has aliases ({', '.join(known)}): delete them, or say deleteAliases")
    collections = [place.collection for place in artifacts.memberships(db, artifact=artifact.pk)]
    db.execute("DELETE FROM artifacts WHERE id=?", (artifact.pk,))
    for collection in collections:
        _point_latest(db, collection)


def made_by(db: sqlite3.Connection, run: int) -> list[Artifact]:
    """The versions that a run made."""
    rows = db.execute("SELECT id FROM artifacts WHERE run=?", (run,)).fetchall()
    found = [artifacts.by_pk(db, row[0]) for row in rows]
    return [artifact for artifact in found if artifact is not None]
