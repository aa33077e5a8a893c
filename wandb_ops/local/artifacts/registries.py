"""Registries: projects of an organisation's entity, into whose collections versions are linked.

A registry takes artifacts of every type, or of the types it names; types once named stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.accounts import directory, registrymembers
from wandb_ops.local.accounts.accounts import ORGANIZATION
from wandb_ops.local.artifacts import artifacts, artifactwrites
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import check_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from wandb_ops.local.artifacts.artifacts import Artifact
    from wandb_ops.local.projects import Project

PREFIX = "wandb-registry-"
_ACCESS = "PRIVATE"


def settle(db: sqlite3.Connection, now: int, project: Project, given: Mapping[str, Any]) -> None:
    """Note what the input of ``upsertModel`` says of a registry; does nothing for other projects.

    Raises:
        Refused: It is to be seen by some of the organisation only, or to let go of a type.
    """
    if not project.name.startswith(PREFIX) or not _of_organization(db, project.entity):
        return
    if project.access != _ACCESS:
        raise Refused(
            "restricted registries are not supported by this server: everyone in the organization sees all"
        )
    wanted = given.get("allowAllArtifactTypesInRegistry")
    if db.execute("INSERT OR IGNORE INTO registries VALUES(?,1)", (project.pk,)).rowcount:
        registrymembers.found(db, project)
    if wanted is not None:
        db.execute("UPDATE registries SET allow_all=? WHERE project=?", (int(wanted), project.pk))
    for each in given.get("artifactTypes") or ():
        artifactwrites.ensure_type(db, now, project.pk, each["name"])


def _of_organization(db: sqlite3.Connection, entity: str) -> bool:
    found = directory.entity(db, entity)
    return found is not None and found.kind == ORGANIZATION


def allows_all(db: sqlite3.Connection, project: int) -> bool:
    """Whether artifacts of every type may be linked into the project."""
    row = db.execute("SELECT allow_all FROM registries WHERE project=?", (project,)).fetchone()
    return row is None or bool(row[0])


def check_type(db: sqlite3.Connection, project: int, artifact: Artifact) -> None:
    """:class:`Refused` when the project is a registry that does not take the artifact's type."""
    if allows_all(db, project):
        return
    sequence = artifacts.collection_by_pk(db, artifact.sequence)
    assert sequence is not None
    if artifacts.find_type(db, project, sequence.type) is None:
        raise Refused(f"the registry does not take artifacts of type {sequence.type!r}")


def target(db: sqlite3.Connection, now: int, entity: str, name: str, user: int | None = None) -> Project:
    """The project to link into: made when absent, but a registry must exist."""
    if _of_organization(db, entity):
        return projects.get(db, entity, name)
    return projects.upsert(db, now, entity, name, user=user)[0]


def rename(db: sqlite3.Connection, now: int, project: Project, name: str) -> Project:
    """Give a project another name.

    Raises:
        Refused: Another project of the entity has that name, or it cannot be one.
    """
    check_name("project", name)
    if projects.find(db, project.entity, name) is not None:
        raise Refused(f"project {project.entity}/{name} exists already")
    db.execute("UPDATE projects SET name=?, updated_at=? WHERE id=?", (name, now, project.pk))
    return projects.get(db, project.entity, name)


def delete_project(db: sqlite3.Connection, entity: str, name: str) -> directory.Gone:
    """Remove a project with all in it; returns what may leave the disk.

    Raises:
        NotFound: There is no such project.
    """
    found = projects.find(db, entity, name)
    if found is None:
        raise NotFound(f"project {entity}/{name} not found")
    runs = [row[0] for row in db.execute("SELECT id FROM runs WHERE project=?", (found.pk,))]
    db.execute("DELETE FROM projects WHERE id=?", (found.pk,))
    return directory.Gone([found.pk], runs)
